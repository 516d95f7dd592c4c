"""End a run when its tokens or its minutes are used up."""

from __future__ import annotations

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from lit_llm.batch import PackedBatch


class Budget(Callback):
    """Ends the training, on all ranks after the same optimizer step, and lets it be validated.

    What a run has used is kept when it is resumed. The learning rate's schedule is laid out over
    ``trainer.max_steps`` or ``max_epochs`` all the same; a budget of steps is ``max_steps``.

    Args:
        tokens: real tokens of all ranks; each rank counts its own, times the number of ranks.
        minutes: of training steps, without validation and start-up.

    Raises:
        ValueError: neither is given, or one is not above 0.
    """

    def __init__(self, tokens: int | None = None, minutes: float | None = None) -> None:
        for name, value in (("tokens", tokens), ("minutes", minutes)):
            if value is not None and not value > 0:
                raise ValueError(f"Budget.{name} must be above 0, not {value}")
        if tokens is None and minutes is None:
            raise ValueError("Budget: say how many tokens or minutes")
        self.tokens, self.minutes = tokens, minutes
        self.used = {"tokens": 0.0, "seconds": 0.0}
        self._started, self._tokens = 0.0, 0  # of the batch under way

    def state_dict(self) -> dict[str, Any]:
        """What is used; the limits are the configuration's."""
        return dict(self.used)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what a checkpoint had used."""
        self.used = dict(state_dict)

    @property
    def used_up(self) -> bool:
        """Whether nothing is left."""
        return self._is_used_up()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A run that had ended does not go on."""
        if self._is_used_up():
            trainer.should_stop = True

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: PackedBatch, batch_idx: int
    ) -> None:
        """The clock begins."""
        self._started, self._tokens = time.monotonic(), batch.num_tokens * trainer.world_size

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: Any, optimizer: Any) -> None:
        """Ask all ranks to end after this step; the answer comes with the loss."""
        if self._is_used_up(self._tokens, time.monotonic() - self._started):
            pl_module.requests.add("end")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: PackedBatch, batch_idx: int
    ) -> None:
        """The clock stops; the step was the last one where some rank asked for it."""
        self.used["tokens"] += self._tokens
        self.used["seconds"] += time.monotonic() - self._started
        if "end" in pl_module.agreed and not trainer.should_stop:
            trainer.should_stop = True
            rank_zero_info(
                f"the budget is used up after step {trainer.global_step}: "
                f"{self.used['tokens']:,.0f} tokens, {self.used['seconds'] / 60:.1f} minutes"
            )

    def _is_used_up(self, more_tokens: int = 0, more_seconds: float = 0.0) -> bool:
        tokens = self.used["tokens"] + more_tokens
        minutes = (self.used["seconds"] + more_seconds) / 60
        return (self.tokens is not None and tokens >= self.tokens) or (
            self.minutes is not None and minutes >= self.minutes
        )
