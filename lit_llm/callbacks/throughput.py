"""What a run has read and how long it took, in all and at each evaluation."""

from __future__ import annotations

import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lit_llm.batch import PackedBatch
from lit_llm.callbacks.watched import evaluates_a_fit


class Throughput(Callback):
    """Counts examples, tokens, filler and seconds of training steps; validation is not in them.

    The totals cover this process's rank; a resumed run goes on counting. A GPU is waited for in
    steps that are logged only: the time of those between is seen there.

    Attributes:
        evaluations: of each evaluation the ``step``, the ``tokens`` and ``seconds`` up to there,
            and the scores that the objective shows first.
    """

    def __init__(self) -> None:
        self.totals = {"examples": 0, "tokens": 0, "slots": 0, "seconds": 0.0}
        self.evaluations: list[dict[str, float]] = []
        self._started = 0.0
        self._tokens, self._seconds = 0, 0.0  # since the rate was logged last

    def state_dict(self) -> dict[str, Any]:
        """The totals, and the evaluations so far."""
        return {**self.totals, "evaluations": [dict(found) for found in self.evaluations]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint's totals."""
        self.totals = {name: state_dict[name] for name in self.totals}
        self.evaluations = [dict(found) for found in state_dict.get("evaluations", [])]

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

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Note what the score has cost."""
        if not evaluates_a_fit(trainer):
            return
        shown = {pl_module.monitor, *(f"val/{name}" for name in pl_module.headline)}
        scores = trainer.callback_metrics
        if self.evaluations and self.evaluations[-1]["step"] == trainer.global_step:
            del self.evaluations[-1]  # of a run resumed between a checkpoint and its evaluation
        self.evaluations.append(
            {
                "step": trainer.global_step,
                "tokens": self.totals["tokens"],
                "seconds": self.totals["seconds"],
                **{name: float(scores[name]) for name in sorted(shown) if name in scores},
            }
        )

    def summary(self) -> dict[str, float]:
        """Totals and the rates that follow from them."""
        slots, seconds = max(self.totals["slots"], 1), max(self.totals["seconds"], 1e-9)
        return {
            **self.totals,
            "filler_fraction": 1.0 - self.totals["tokens"] / slots,
            "tokens_per_second": self.totals["tokens"] / seconds,
        }
