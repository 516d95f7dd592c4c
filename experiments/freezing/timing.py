"""What a step costs with most layers frozen: ``python -m experiments.freezing.timing``.

One run, one model: blocks of steps with everything open and with the head and the highest block
alone take turns, so that a shared machine's drift meets both. Built-in reviews, bf16, AdamW.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer, seed_everything

from lit_llm.backbone.backbone import Backbone
from lit_llm.callbacks.progressive_unfreezing import ProgressiveUnfreezing
from lit_llm.data.batch_config import BatchConfig
from lit_llm.data.toy_reviews import ToyReviews
from lit_llm.environment import default_precision, environment
from lit_llm.freezing import FreezingConfig, PhaseConfig
from lit_llm.objectives.sequence_classification import SequenceClassification
from lit_llm.schedules import ScheduleConfig


class StepTimes(Callback):
    """Seconds of each step, and whether everything was open in it."""

    def __init__(self) -> None:
        self.seconds: list[tuple[bool, float]] = []

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """The clock begins."""
        self._began = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The clock ends, after the optimizer's step."""
        everything = all(p.requires_grad for p in pl_module.parameters())
        self.seconds.append((everything, time.perf_counter() - self._began))


def measure(backbone: str, tokens: int, blocks: int, steps: int, device: str) -> dict[str, Any]:
    """Seconds of every step but the first of each block."""
    top = Backbone(backbone, tokenizer="train:1000")
    highest = f"block {top.config.num_hidden_layers - 1}"
    phases = [
        PhaseConfig(["*"] if number % 2 == 0 else ["head", highest], step=number * steps)
        for number in range(blocks)
    ]
    freezing = FreezingConfig("custom", phases=phases)
    model = SequenceClassification(top, schedule=ScheduleConfig(freezing=freezing))
    times = StepTimes()
    trainer = Trainer(
        accelerator=device,
        devices=1,
        precision=default_precision(device),
        max_epochs=-1,
        max_steps=blocks * steps,
        limit_val_batches=0,
        callbacks=[ProgressiveUnfreezing(), times],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        gradient_clip_val=1.0,
    )
    trainer.fit(model, ToyReviews(batches=BatchConfig(tokens_per_batch=tokens)))
    kept = [pair for number, pair in enumerate(times.seconds) if number % steps]
    full, frozen = ([s for open_, s in kept if open_ == which] for which in (True, False))
    return {
        "backbone": backbone,
        "tokens": tokens,
        "seconds_full": full,
        "seconds_top": frozen,
        "ratio": statistics.median(frozen) / statistics.median(full),
    }


def main() -> None:
    """Print the ratio, append the row."""
    parser = argparse.ArgumentParser(prog="python -m experiments.freezing.timing")
    parser.add_argument("--backbone", default="base", help="a size, such as base (12x768)")
    parser.add_argument("--tokens", type=int, default=2048, help="of a step")
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--steps", type=int, default=5, help="of a block; its first is not counted")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--results", type=Path, default=Path("runs/freezing/timing.jsonl"))
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    seed_everything(0)
    row = measure(
        options.backbone, options.tokens, options.blocks, options.steps, options.device
    ) | {"environment": environment()}
    options.results.parent.mkdir(parents=True, exist_ok=True)
    with options.results.open("a") as file:
        file.write(json.dumps(row) + "\n")
    full, top = (statistics.median(row[key]) for key in ("seconds_full", "seconds_top"))
    print(
        f"{options.backbone}, {options.tokens} tokens: everything {full:.3f} s, head and highest "
        f"block {top:.3f} s, ratio {row['ratio']:.2f} (medians of {len(row['seconds_top'])})"
    )


if __name__ == "__main__":
    main()
