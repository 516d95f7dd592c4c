"""The time of a whole run, from the start of its first batch to the end of its last step."""

from __future__ import annotations

import time
from typing import Any

from torch import Tensor

from experiments.speed.meter import Meter


class WholeRunMeter(Meter):
    """A meter without warm-up: ``begin`` before each batch, ``step`` after each optimizer step.

    Attributes:
        teacher_matmul_dtype: what the teacher's first linear layer computes in.
    """

    def __init__(self, device: str) -> None:
        super().__init__(device, warmup_steps=1)
        self.teacher_matmul_dtype: str | None = None
        self._cpu_seconds: list[float] = []

    def begin(self) -> None:
        """Start the clock, once: a step of nothing stands where the warm-up would."""
        if not self.times:
            self.step(0, 0, 0)

    def step(self, tokens: int | Tensor, slots: int, examples: int) -> None:
        """One optimizer step is over."""
        super().step(tokens, slots, examples)
        self._cpu_seconds.append(time.process_time())

    def note_teacher(self, dtype: str) -> None:
        """The teacher has computed in it."""
        self.teacher_matmul_dtype = dtype

    def result(self) -> dict[str, Any]:
        """The figures of all steps; the first one of a cached run holds the teacher's pass."""
        return {
            **super().result(),
            "first_step_seconds": self.times[1] - self.times[0],
            "cpu_seconds": self._cpu_seconds[-1] - self._cpu_seconds[0],
            "teacher_matmul_dtype": self.teacher_matmul_dtype,
        }
