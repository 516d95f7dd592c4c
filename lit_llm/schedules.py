"""Pure functions of the step: what the learning rate is, and later what else changes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ScheduleConfig:
    """How the learning rate moves over a run.

    Attributes:
        name: what follows the warm-up: ``linear`` or ``cosine`` decay to ``final_fraction``, or
            ``constant``.
        warmup_steps: optimizer steps of linear warm-up from 0.
        warmup_fraction: the same as a fraction of all steps, used when ``warmup_steps`` is unset.
        final_fraction: the rate at the last step, as a fraction of the peak.
    """

    name: Literal["linear", "cosine", "constant"] = "linear"
    warmup_steps: int | None = None
    warmup_fraction: float = 0.1
    final_fraction: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in ("linear", "cosine", "constant"):
            raise ValueError(f"schedule.name is linear, cosine or constant, not {self.name!r}")
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
    schedules, which these equal for ``final_fraction = 0``.

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

    def factor(step: int) -> float:
        if step < warmup:
            return step / warmup
        progress = min((step - warmup) / max(total_steps - warmup, 1), 1.0)
        if config.name == "constant":
            decay = 1.0
        elif config.name == "linear":
            decay = 1.0 - progress
        else:
            decay = 0.5 * (1.0 + math.cos(math.pi * progress))
        return config.final_fraction + (1.0 - config.final_fraction) * decay

    return factor
