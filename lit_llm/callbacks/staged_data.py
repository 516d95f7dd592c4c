"""Follow a run through the stages of its training data, and end those that wait for a metric."""

from __future__ import annotations

import math
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities import rank_zero_info

from lit_llm.callbacks.watched import evaluates_a_fit, next_step, watched

_KEY = "data.batches.stages"


class StagedData(Callback):
    """Acts on ``data.batches.stages``; without them it does nothing.

    Where a stage ends after a number of steps, the packing plan knows it by itself. Stored are the
    ends that a metric has decided.
    """

    def __init__(self) -> None:
        self.ends: dict[int, int] = {}
        self._stage = -1

    def state_dict(self) -> dict[str, Any]:
        """The step at which a metric ended a stage, by its number."""
        return {"ends": dict(self.ends)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """What has ended stays so."""
        self.ends = dict(state_dict["ends"])

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """After a checkpoint was read, before the first batch.

        Raises:
            ValueError: an entry that the run would never get to, or that nothing could end; it is
                named.
        """
        stages, plan = _stages(trainer)
        self._stage = -1
        if not stages:
            return
        plan.ends = self.ends
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        evaluates = trainer.limit_val_batches != 0 and data.has_split("val")
        waiting = [i for i, stage in enumerate(stages) if stage.until is not None]
        if waiting and not evaluates:
            raise ValueError(
                f"{_KEY}[{waiting[0]}].until waits for evaluations, and there is no development set"
            )
        total, begins = int(trainer.estimated_stepping_batches), 0
        whole = trainer.num_training_batches == len(plan)  # and not a trial of a few batches
        for number, stage in enumerate(stages):
            if begins >= total and whole:
                raise ValueError(
                    f"{_KEY}[{number}] begins at step {begins:,}, and the run ends after {total:,}:"
                    " give the entries before it fewer steps, or lengthen the run "
                    "(trainer.max_epochs, trainer.max_steps)"
                )
            begins += 0 if stage.until is not None else stage.steps or 0  # it may end at once

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Say which stage has begun."""
        stages, plan = _stages(trainer)
        if stages and plan.stage_at(trainer.global_step) != self._stage:
            self._stage = plan.stage_at(trainer.global_step)
            rank_zero_info(
                f"step {trainer.global_step}: data of {_KEY}[{self._stage}], entry "
                f"{self._stage + 1} of {len(stages)}"
            )

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """End a stage that has come to what it waited for.

        Raises:
            ValueError: its metric was not logged; the message names those that were.
        """
        if not evaluates_a_fit(trainer):
            return
        stages, plan = _stages(trainer)
        if not stages:
            return
        start = next_step(trainer)
        number = plan.stage_at(start)
        stage = stages[number]
        if stage.until is None or start <= plan.starts[number]:
            return
        value = watched(trainer, stage.monitor or pl_module.monitor, f"{_KEY}[{number}].monitor")
        sign = 1.0 if (stage.monitor_mode or pl_module.monitor_mode) == "max" else -1.0
        if math.isfinite(value) and sign * value >= sign * stage.until:
            self.ends[number] = start
            trainer.train_dataloader.order_changed()  # type: ignore[union-attr]

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Name the entries that the run did not get to."""
        stages, plan = _stages(trainer)
        last = plan.stage_at(trainer.global_step - 1) if stages else -1
        if stages and last + 1 < len(stages):
            rank_zero_info(
                f"{_KEY}: the run ended in entry {last + 1} of {len(stages)}; the later ones were "
                "not trained on"
            )


def _stages(trainer: Trainer) -> tuple[list[Any], Any]:
    """The entries and the plan that follows them; none where there is one stage."""
    data: Any = getattr(trainer, "datamodule", None)
    stages = getattr(getattr(data, "batches", None), "stages", None)
    loader: Any = trainer.train_dataloader
    return (stages, loader.plan) if stages else ([], None)
