"""End a run when its development score no longer improves."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Trainer, callbacks
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason


class EarlyStopping(callbacks.EarlyStopping):
    """Lightning's, watching the objective's own metric unless another is named.

    A resumed run goes on counting from where it was, with the patience that is configured now:
    Lightning would take the checkpoint's.

    Args:
        patience: evaluations in a row without a better score before the run ends.
        monitor: logged metric; default the objective's own, such as ``val/entity_f1``.
        mode: ``max`` or ``min``; default the objective's own, and needed with ``monitor``.
        min_delta: what a better score has to be better by.

    Raises:
        ValueError: ``monitor`` without ``mode``.
    """

    def __init__(
        self,
        patience: int = 3,
        monitor: str | None = None,
        mode: str | None = None,
        min_delta: float = 0.0,
    ) -> None:
        if (monitor is None) != (mode is None):
            raise ValueError("EarlyStopping: give monitor and mode, or neither")
        super().__init__(monitor or "", min_delta, patience, mode=mode or "min")
        self._given = (min_delta, patience)

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Find out what the objective watches."""
        if not self.monitor:
            super().__init__(pl_module.monitor, *self._given, mode=pl_module.monitor_mode)
        super().setup(trainer, pl_module, stage)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The counters, not the settings: with more patience a stopped run goes on."""
        super().load_state_dict({**state_dict, "patience": self.patience})
        if self.wait_count < self.patience:
            self.stopping_reason = EarlyStoppingReason.NOT_STOPPED
