"""Keep the best weights on the development set as a transformers directory."""

from __future__ import annotations

import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from safetensors import SafetensorError

from lit_llm.callbacks.watched import evaluates_a_fit, watched
from lit_llm.durable import flush_tree

FACTS = "best.json"
"""Beside the model's files: which metric, value, step and epoch it was saved at."""


def epochs_made(trainer: Trainer) -> float:
    """How often the training data was gone through, to four places."""
    batches = trainer.fit_loop.epoch_loop.batch_progress.total.completed
    return round(batches / max(trainer.num_training_batches, 1), 4)


class BestModel(Callback):
    """Saves ``best/`` whenever the monitored metric improves; at the end, if there is no dev set.

    Args:
        monitor: logged metric; default the objective's own, such as ``val/entity_f1``.
        mode: ``max`` or ``min``; default the objective's own.
        dirname: where, inside the trainer's ``default_root_dir``.
    """

    def __init__(
        self, monitor: str | None = None, mode: str | None = None, dirname: str = "best"
    ) -> None:
        self.monitor = monitor
        self.mode = mode
        self.dirname = dirname
        self.best: dict[str, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        """The best score and where it was reached."""
        return dict(self.best)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint's best score."""
        self.best = dict(state_dict)

    def directory(self, trainer: Trainer) -> Path:
        """Where the best model stands."""
        return Path(trainer.default_root_dir) / self.dirname

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put back what a process killed between two renames had set aside."""
        target = self.directory(trainer)
        aside = target.with_name(f".{self.dirname}.old")
        if trainer.is_global_zero and aside.exists() and not target.exists():
            os.replace(aside, target)
        facts = target / FACTS
        on_disk = json.loads(facts.read_text()) if self.best and facts.exists() else {}
        on_disk = trainer.strategy.broadcast(on_disk)
        if on_disk.get("step", 0) > self.best.get("step", 0) and on_disk["monitor"] != "last":
            self.best = on_disk  # saved after the checkpoint that the run goes on from

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare and save.

        Raises:
            ValueError: the monitored metric was not logged; the message names those that were.
        """
        if not evaluates_a_fit(trainer):
            return
        monitor = self.monitor or str(pl_module.monitor)
        mode = self.mode or pl_module.monitor_mode
        value = watched(trainer, monitor, "BestModel.monitor")
        sign = 1.0 if mode == "max" else -1.0
        if not math.isfinite(value):
            return
        if not self.best or sign * value > sign * self.best["value"]:
            self._save(trainer, pl_module, monitor, value)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Without a development set the last weights are the best."""
        self.complete(trainer, pl_module)

    def complete(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the weights as they are, if none were saved yet."""
        if not self.best:
            self._save(trainer, pl_module, "last", float("nan"))

    def _save(self, trainer: Trainer, pl_module: Any, monitor: str, value: float) -> None:
        self.best = {
            "monitor": monitor,
            "value": value,
            "step": trainer.global_step,
            "epoch": epochs_made(trainer),
        }
        failure = None
        if trainer.is_global_zero:
            try:
                self._replace(self.directory(trainer), pl_module)
            except (OSError, SafetensorError) as error:
                failure = f"{self.directory(trainer)} could not be written: {error}"
        failure = trainer.strategy.broadcast(failure)
        if failure:
            raise OSError(failure)
        what = f"best {monitor} so far, {value:.4f}"
        what = "the last model is kept: nothing was scored" if monitor == "last" else what
        rank_zero_info(f"step {trainer.global_step}: {what}")

    def _replace(self, target: Path, pl_module: Any) -> None:
        staging, old = (target.with_name(f".{self.dirname}.{end}") for end in ("new", "old"))
        for leftover in (staging, old):
            shutil.rmtree(leftover, ignore_errors=True)
        try:
            pl_module.save(staging)
            (staging / FACTS).write_text(json.dumps(self.best))
            flush_tree(staging)
            if target.exists():
                os.replace(target, old)
            os.replace(staging, target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
