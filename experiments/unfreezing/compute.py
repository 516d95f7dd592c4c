"""How much arithmetic each way of unfreezing takes, as a part of full fine-tuning's.

    python -m experiments.unfreezing.compute --blocks 6 --steps 420

Counted are the products of the blocks: one unit for each block's forward pass, one for the gradient
of what enters it, if something below it or in it learns, and one for that of its weights, if it
learns. It is what seconds would say on a machine that does nothing else; the study's own were
measured while others ran.
"""

import argparse

from lit_llm.freezing import FreezingConfig
from lit_llm.freezing_plan import FreezingPlan, freezing_plan

SCHEDULES = ("full", "head_only", "two_step", "three_stage", "gradual", "chain_thaw")


def units(plan: FreezingPlan, step: int) -> int:
    """Of one optimizer step."""
    blocks = [group for group in plan.groups if group.startswith("block ")]
    open_now = plan.open_at(step)
    lower_learns = "embeddings" in open_now
    total = 0
    for block in blocks:  # from the input upwards
        learns = block in open_now
        lower_learns = lower_learns or learns
        total += 1 + lower_learns + learns
    return total


def parts(blocks: int, steps: int) -> dict[str, float]:
    """Each schedule's part of what ``full`` takes in so many steps."""
    groups = ["embeddings", *(f"block {i}" for i in range(blocks)), "head"]
    totals = {
        name: sum(
            units(freezing_plan(FreezingConfig(name), groups, steps, steps), step)
            for step in range(steps)
        )
        for name in SCHEDULES
    }
    return {name: total / totals["full"] for name, total in totals.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--steps", type=int, default=420)
    options = parser.parse_args()
    for name, part in parts(options.blocks, options.steps).items():
        print(f"{name:<12} {part:.2f}")


if __name__ == "__main__":
    main()
