"""An objective's optimizer and schedules, laid out over the run before its first step."""

from __future__ import annotations

import math
from typing import Any

from lightning.pytorch.utilities import rank_zero_info

from lit_llm.freezing_plan import FreezingPlan, freezing_plan
from lit_llm.optim import build_optimizer, build_schedule, joined, parameter_groups


def lay_out(objective: Any) -> dict[str, Any]:
    """What ``configure_optimizers`` returns; fills ``objective.freezing``.

    Raises:
        ValueError: the run has no end, so that no schedule can be laid out; or the freezing
            schedule does not fit model or run.
    """
    trainer, config = objective.trainer, objective.schedule_config
    total_steps = trainer.estimated_stepping_batches
    if not math.isfinite(total_steps):
        raise ValueError(
            "the learning-rate schedule needs the run's length: set trainer.max_epochs or "
            "trainer.max_steps"
        )
    steps = max(int(total_steps), 1)
    layers, settings, plan = objective.layer_groups(), objective.optimizer_config, None
    if config.freezing.freezes:
        names, per_epoch = [name for name, _ in layers], steps_per_epoch(trainer)
        trial = cut_short(trainer, trainer.limit_train_batches)
        objective.freezing = freezing_plan(config.freezing, names, steps, per_epoch, trial)
        if trial:
            starts = ", ".join(map(str, objective.freezing.starts))
            rank_zero_info(f"freezing: a run cut short; its phases begin at steps {starts}")

        def plan() -> FreezingPlan:  # it grows where phases wait for a metric
            found: FreezingPlan = objective.freezing
            return found

    elif settings.layer_decay == 1.0:
        layers = joined(layers)
    fused = trainer.precision != "16-mixed"  # the fused one unscales after clipping
    optimizer = build_optimizer(parameter_groups(layers, settings), settings, fused)
    schedule = build_schedule(optimizer, config, steps, plan)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def steps_per_epoch(trainer: Any) -> int:
    """Optimizer steps of one epoch of the trainer."""
    if math.isinf(trainer.num_training_batches):  # a run measured in steps alone
        trainer.fit_loop.setup_data()
    steps: int = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
    return steps


def check_gate(objective: Any) -> None:
    """Whether what the plan says is frozen is frozen.

    Raises:
        ValueError: no callback does it.
    """
    if objective.freezing is None:
        return
    learning = objective.freezing.open_at(objective.trainer.global_step)
    frozen = [p for name, layer in objective.layer_groups() if name not in learning for p in layer]
    if any(parameter.requires_grad for parameter in frozen):
        raise ValueError(
            "schedule.freezing: nothing freezes layers here; give the trainer the callback "
            "lit_llm.callbacks.progressive_unfreezing.ProgressiveUnfreezing"
        )


def cut_short(trainer: Any, limit: int | float) -> bool:
    """Whether a split's batches are cut short; 1.0 is all of them, 1 a single one."""
    everything = isinstance(limit, float) and limit == 1.0
    return bool(trainer.fast_dev_run or trainer.sanity_checking or not everything)
