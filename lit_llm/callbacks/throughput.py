"""How many real tokens a run reads per second, and how much filler stands between them."""

from __future__ import annotations

import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lit_llm.batch import PackedBatch


class Throughput(Callback):
    """Counts examples, tokens, filler and seconds of training steps; validation is not in them.

    The totals cover this process's rank; a resumed run goes on counting. A GPU is waited for in
    steps that are logged only: the time of those between is seen there.
    """

    def __init__(self) -> None:
        self.totals = {"examples": 0, "tokens": 0, "slots": 0, "seconds": 0.0}
        self._started = 0.0
        self._tokens, self._seconds = 0, 0.0  # since the rate was logged last

    def state_dict(self) -> dict[str, Any]:
        """The totals."""
        return dict(self.totals)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint's totals."""
        self.totals = dict(state_dict)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: PackedBatch, batch_idx: int
    ) -> None:
        """Start the clock."""
        self._started = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: PackedBatch,
        batch_idx: int,
    ) -> None:
        """Stop the clock and count."""
        waits = batch.input_ids.is_cuda
        due = not waits or (batch_idx + 1) % trainer.log_every_n_steps == 0  # type: ignore[attr-defined]
        if waits and due:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - self._started
        self.totals["examples"] += batch.num_examples
        self.totals["tokens"] += batch.num_tokens
        self.totals["slots"] += batch.input_ids.numel()
        self.totals["seconds"] += seconds
        self._tokens, self._seconds = self._tokens + batch.num_tokens, self._seconds + seconds
        if due:
            pl_module.log("train/tokens_per_second", self._tokens / self._seconds, prog_bar=True)
            self._tokens, self._seconds = 0, 0.0

    def summary(self) -> dict[str, float]:
        """Totals and the rates that follow from them."""
        slots, seconds = max(self.totals["slots"], 1), max(self.totals["seconds"], 1e-9)
        return {
            **self.totals,
            "filler_fraction": 1.0 - self.totals["tokens"] / slots,
            "tokens_per_second": self.totals["tokens"] / seconds,
        }
