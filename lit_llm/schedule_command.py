"""``lit-llm schedule``: which layers would learn when, at what rate, before any training."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer

from lit_llm.callbacks.progressive_unfreezing import ProgressiveUnfreezing
from lit_llm.callbacks.staged_data import StagedData
from lit_llm.cli import RunCLI
from lit_llm.cli_options import own_options, wants_help
from lit_llm.freezing_plan import FreezingPlan
from lit_llm.objectives.layout import steps_per_epoch
from lit_llm.optim import layer_of
from lit_llm.tables.rates import draw_rates, rates_as_text


class _LaidOut(Exception):
    """The run stands, and is not to begin."""


class _Stop(Callback):
    """Looks at the optimizer of a run that is about to begin, and ends it there."""

    def __init__(self) -> None:
        self.rates: dict[str, list[float | None]] = {}
        self.steps_per_epoch = 0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Ask each group's schedule for every step; all that ``fit`` checks before it is done."""
        schedule: Any = trainer.lr_scheduler_configs[0].scheduler
        steps = range(max(int(trainer.estimated_stepping_batches), 1))
        groups = zip(
            schedule.optimizer.param_groups, schedule.base_lrs, schedule.lr_lambdas, strict=True
        )
        plan = pl_module.freezing
        for group, base, factor in groups:
            layer = layer_of(group["name"])
            self.rates[layer] = [
                base * factor(step) if plan is None or layer in plan.open_at(step) else None
                for step in steps
            ]
        self.steps_per_epoch = steps_per_epoch(trainer)
        raise _LaidOut


def show_schedule(words: list[str]) -> None:
    """Print the phases and the rates of a configuration, and draw them if asked to.

    Raises:
        ValueError: what ``fit`` would refuse of model, data and schedule before its first step.
    """
    flags = {"--plot": "also draw a figure: FILE.svg, .png or .pdf"}
    options, rest = own_options(words, "schedule", flags)
    if wants_help(rest):
        RunCLI(rest, None)
        return
    alone = ["--trainer.logger", "false", "--trainer.devices", "1", "--trainer.num_nodes", "1"]
    cli = RunCLI([*rest, *alone], None)
    stop = _Stop()
    callbacks: list[Callback] = cli.trainer.callbacks  # type: ignore[attr-defined]
    gates = [c for c in callbacks if isinstance(c, ProgressiveUnfreezing | StagedData)]
    callbacks[:] = [*gates, stop]
    with suppress(_LaidOut):
        cli.trainer.fit(cli.model, cli.datamodule)
    steps = len(next(iter(stop.rates.values())))
    print(f"\n{steps:,} optimizer steps, {stop.steps_per_epoch:,} in an epoch")
    if cli.model.freezing is not None:
        config = cli.model.schedule_config.freezing
        print(_phases(cli.model.freezing, stop.steps_per_epoch, config.patience))
    for number, stage in enumerate(cli.datamodule.batches.stages or []):
        print(f"  data of batches.stages[{number}]: {_end_of(stage)}")
    print(f"\n{rates_as_text(stop.rates)}")
    if options.plot:
        draw_rates(stop.rates, Path(options.plot), _title(cli.model))
        print(f"written: {options.plot}")


def _phases(plan: FreezingPlan, steps_per_epoch: int, patience: int | None) -> str:
    lines = []
    for number, phase in enumerate(plan.phases):
        if number < len(plan.starts):
            start = plan.starts[number]
            when = f"from step {start:,} (epoch {start / steps_per_epoch:.2f})"
        else:
            when = f"after {patience} evaluations that are no better"
        lines.append(f"  {when}: {plan.in_words(phase)}")
    return "\n".join(lines)


def _end_of(stage: Any) -> str:
    ends = [] if stage.steps is None else [f"for {stage.steps:,} steps"]
    if stage.until is not None:
        ends.append(f"until {stage.monitor or 'the development score'} reaches {stage.until:g}")
    return " or ".join(ends) or "to the end"


def _title(model: Any) -> str:
    schedule = model.schedule_config
    decay = model.optimizer_config.layer_decay
    parts = [schedule.freezing.name, f"layer decay {decay:g}" if decay < 1 else "", schedule.name]
    return ", ".join(part.replace("_", " ") for part in parts if part)
