"""Pure functions of the step: what the learning rate of a group of layers is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Literal, get_args

from lit_llm.freezing import FreezingConfig
from lit_llm.freezing_plan import FreezingPlan

Name = Literal["linear", "cosine", "constant", "slanted_triangular"]
SLANTED_RATIO = 32
"""How many times smaller than its peak a slanted triangle's rate is at both ends."""


@dataclass(frozen=True)
class ScheduleConfig:
    """What changes over a run: the learning rate, and which layers learn.

    Attributes:
        name: what follows the warm-up: ``linear`` or ``cosine`` decay to ``final_fraction``, or
            ``constant``. ``slanted_triangular`` is linear on both sides, from and to 1/32 of the
            peak (Howard and Ruder 2018, section 3.2, arXiv:1801.06146).
        warmup_steps: optimizer steps of linear warm-up from 0.
        warmup_fraction: the same as a fraction of all steps, used when ``warmup_steps`` is unset.
        final_fraction: the rate at the last step, as a fraction of the peak.
        freezing: which layers learn when.
        restart: a group of layers that opens later goes through the whole schedule, warm-up
            included, in what is left of the run; else all groups share one schedule.
    """

    name: Name = "linear"
    warmup_steps: int | None = None
    warmup_fraction: float = 0.1
    final_fraction: float = 0.0
    freezing: FreezingConfig = field(default_factory=FreezingConfig)
    restart: bool = False

    def __post_init__(self) -> None:
        if self.name not in get_args(Name):
            names = ", ".join(get_args(Name))
            raise ValueError(f"schedule.name is one of {names}, not {self.name!r}")
        if self.name == "slanted_triangular" and self.final_fraction:
            raise ValueError(
                "schedule.final_fraction: a slanted triangle ends at 1/32 of the peak; leave it out"
            )
        if self.restart and not self.freezing.opens_later:
            raise ValueError("schedule.restart: no group of layers opens later, see freezing.name")
        if self.warmup_steps is not None and self.warmup_steps < 0:
            raise ValueError(f"schedule.warmup_steps must be at least 0, not {self.warmup_steps}")
        if not 0 <= self.warmup_fraction <= 1:
            raise ValueError(
                f"schedule.warmup_fraction must lie in [0, 1], not {self.warmup_fraction}"
            )
        if not 0 <= self.final_fraction <= 1:
            raise ValueError(
                f"schedule.final_fraction must lie in [0, 1], not {self.final_fraction}"
            )


def learning_rate_factor(config: ScheduleConfig, total_steps: int) -> Callable[[int], float]:
    """The factor on the peak learning rate, as a function of the optimizer step.

    Step 0 is the first optimizer step; its rate is 0 when there is a warm-up, as in transformers'
    schedules, which these equal for ``final_fraction = 0``. A slanted triangle begins at 1/32.

    Args:
        config: which shape.
        total_steps: optimizer steps of the whole run, at least 1.

    Raises:
        ValueError: the warm-up is longer than the run.
    """
    warmup = config.warmup_steps
    if warmup is None:
        warmup = round(config.warmup_fraction * total_steps)
    if warmup > total_steps:
        raise ValueError(
            f"schedule.warmup_steps = {warmup} is more than the run's {total_steps} steps"
        )

    slanted = config.name == "slanted_triangular"
    first = 1 / SLANTED_RATIO if slanted else 0.0
    final = first if slanted else config.final_fraction

    def factor(step: int) -> float:
        if step < warmup:
            return first + (1.0 - first) * step / warmup
        progress = min((step - warmup) / max(total_steps - warmup, 1), 1.0)
        if config.name == "constant":
            decay = 1.0
        elif config.name == "cosine":
            decay = 0.5 * (1.0 + math.cos(math.pi * progress))
        else:
            decay = 1.0 - progress
        return final + (1.0 - final) * decay

    return factor


def group_factor(
    config: ScheduleConfig, group: str, plan: Callable[[], FreezingPlan], total_steps: int
) -> Callable[[int], float]:
    """The factor on the peak learning rate of one group of layers; 0 while it is frozen.

    What freezes a group is that its parameters take no gradient; the 0 is there to be read.

    Args:
        config: which shape.
        group: of ``plan().groups``.
        plan: what is open when, as far as is known by now.
        total_steps: optimizer steps of the whole run, at least 1.

    Raises:
        ValueError: the warm-up is longer than the run.
    """
    learning_rate_factor(config, total_steps)

    @cache
    def shape(start: int) -> Callable[[int], float]:
        left = max(total_steps - start, 1)
        warmup = config.warmup_steps
        own = config if warmup is None else replace(config, warmup_steps=min(warmup, left))
        return learning_rate_factor(own, left)

    def factor(step: int) -> float:
        if group not in plan().open_at(step):
            return 0.0
        start = plan().opened_at(group, step) if config.restart else 0
        return shape(start)(step - start)

    return factor
