"""Tokens, time and memory of a run's steady state, measured alike for every system."""

from __future__ import annotations

import ctypes
import gc
import itertools
import statistics
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import psutil
import torch
from torch import Tensor, nn

GB = 1e9


class PeakRSS:
    """The process's largest resident memory above its value at the start, by a sampling thread."""

    def __init__(self, interval_seconds: float = 0.01) -> None:
        self._process = psutil.Process()
        self._interval = interval_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.base = self.peak = 0

    def start(self) -> None:
        """Hand freed heap back to the kernel first: what loading left there is not free room."""
        gc.collect()
        if sys.platform == "linux":
            ctypes.CDLL(None).malloc_trim(0)
        self.base = self.peak = self._process.memory_info().rss
        self._thread.start()

    def stop(self) -> float:
        """End the sampling; the peak above the base in GB (1e9 bytes)."""
        self._stop.set()
        self._thread.join()
        return (self.peak - self.base) / GB

    def _sample(self) -> None:
        while not self._stop.wait(self._interval):
            self.peak = max(self.peak, self._process.memory_info().rss)


class Meter:
    """Fed by a callback of either trainer: ``start`` once, ``step`` after each optimizer step."""

    def __init__(self, device: str, warmup_steps: int) -> None:
        self.cuda = device == "cuda"
        self.warmup_steps = warmup_steps
        self.times: list[float] = []
        self.tokens: list[int | Tensor] = []
        self.slots: list[int] = []
        self.examples: list[int] = []
        self.matmul_dtype: str | None = None
        self._rss = PeakRSS()
        self._cuda_base = 0

    def start(self, model: nn.Module) -> None:
        """The model stands, nothing has been trained: memory is counted from here."""
        watch_matmul_dtype(model, self._note_dtype)
        if self.cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            self._cuda_base = torch.cuda.memory_allocated()
        self._rss.start()

    def step(self, tokens: int | Tensor, slots: int, examples: int) -> None:
        """One optimizer step is over.

        Args:
            tokens: of the step that are not padding; a tensor may stay on its device.
            slots: of the step's matrices, padding included.
            examples: of the step.
        """
        self.tokens.append(tokens)
        self.slots.append(slots)
        self.examples.append(examples)
        # Only the window's two ends wait for the GPU: a wait at each step would cost the faster
        # system its overlap.
        if self.cuda and len(self.tokens) == self.warmup_steps:
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())

    def result(self) -> dict[str, Any]:
        """The figures; the first ``warmup_steps`` steps count for memory only."""
        if self.cuda:
            torch.cuda.synchronize()
            self.times[-1] = time.perf_counter()
        if len(self.times) <= self.warmup_steps:
            raise ValueError(f"only {len(self.times)} steps ran: give fewer warm-up steps")
        first = self.warmup_steps
        seconds = self.times[-1] - self.times[first - 1]
        tokens = sum(int(count) for count in self.tokens[first:])
        ends = self.times[first - 1 :]
        steps = [b - a for a, b in itertools.pairwise(ends)]
        return {
            "tokens_per_second": tokens / seconds,
            "peak_rss_gb": self._rss.stop(),
            "peak_cuda_gb": self._cuda_peak(),
            "seconds": seconds,
            "step_seconds_median": statistics.median(steps),
            "timed_steps": len(steps),
            "timed_tokens": tokens,
            "examples_per_step": sum(self.examples[first:]) / len(steps),
            "tokens_used_fraction": tokens / sum(self.slots[first:]),
            "matmul_dtype": self.matmul_dtype,
        }

    def _cuda_peak(self) -> float | None:
        return (torch.cuda.max_memory_allocated() - self._cuda_base) / GB if self.cuda else None

    def _note_dtype(self, dtype: str) -> None:
        self.matmul_dtype = dtype


def watch_matmul_dtype(model: nn.Module, note: Callable[[str], None]) -> None:
    """Tell ``note``, once, what the first linear layer computes in: proof that autocast is on."""
    linear = next((m for m in model.modules() if isinstance(m, nn.Linear)), None)
    if linear is None:
        return

    def hook(module: nn.Module, args: Any, output: Tensor) -> None:
        note(str(output.dtype).removeprefix("torch."))
        handle.remove()

    handle = linear.register_forward_hook(hook)
