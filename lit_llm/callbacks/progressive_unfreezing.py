"""Open and close the layers of a model as its freezing schedule says."""

from __future__ import annotations

import math
from collections.abc import Set
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from lightning.pytorch.utilities import rank_zero_info
from torch import nn

from lit_llm.callbacks.watched import evaluates_a_fit, next_step, watched


class ProgressiveUnfreezing(Callback):
    """Gates ``requires_grad`` before each optimizer step by ``model.schedule.freezing``.

    What learns is recomputed from the step, so it is right after a resume. Stored are the steps at
    which phases have begun: a metric, or a run that was shorter, decided them. All parameters are
    in the optimizer, and under DDP in its reducer, from the start: a layer that opens later is
    synchronised like any other (docs/decisions/0011).
    """

    def __init__(self) -> None:
        self.starts = [0]
        self.best: float | None = None
        self.waited = 0
        self._learnable: dict[str, list[nn.Parameter]] = {}
        self._open: frozenset[str] | None = None

    def state_dict(self) -> dict[str, Any]:
        """The steps at which phases began; the schedule's settings are not stored."""
        return {"starts": list(self.starts), "best": self.best, "waited": self.waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """What has begun stays begun, also where the run is longer now."""
        self.starts = list(state_dict["starts"])
        self.best, self.waited = state_dict["best"], state_dict["waited"]

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Refuse what cannot open layers later.

        Raises:
            ValueError: names the strategy, and one that can; or there is nothing that ``patience``
                could watch.
        """
        config = pl_module.schedule_config.freezing
        if stage != "fit" or not config.freezes:
            return
        self.starts, self.best, self.waited, self._open = [0], None, 0, None
        _check_strategy(trainer)
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        if config.patience and (trainer.limit_val_batches == 0 or not data.has_split("val")):
            raise ValueError(
                "schedule.freezing.patience waits for evaluations, and there is no development set"
            )

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """After DDP has wrapped the model, and a checkpoint was read."""
        if pl_module.freezing is None:
            return
        ahead = pl_module.freezing.starts[len(self.starts) :]
        begun = [*self.starts, *(max(start, self.starts[-1]) for start in ahead)]
        pl_module.freezing = pl_module.freezing.with_starts(begun)
        # What is frozen for good, such as a pooler that no score depends on, stays so.
        self._learnable = {
            name: [p for p in parameters if p.requires_grad]
            for name, parameters in pl_module.layer_groups()
        }
        _let_recompile(pl_module, len(pl_module.freezing.phases))
        self._apply(trainer, pl_module)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """At the first batch of an optimizer step."""
        if pl_module.freezing is not None and batch_idx % trainer.accumulate_grad_batches == 0:
            self._apply(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Begin the next phase where the metric has not improved for long enough.

        Raises:
            ValueError: the metric was not logged; the message names those that were.
        """
        config, plan = pl_module.schedule_config.freezing, pl_module.freezing
        if not evaluates_a_fit(trainer) or plan is None or config.patience is None:
            return
        monitor = config.monitor or pl_module.monitor
        sign = 1.0 if (config.monitor_mode or pl_module.monitor_mode) == "max" else -1.0
        value = sign * watched(trainer, monitor, "schedule.freezing.monitor")
        if math.isfinite(value) and (self.best is None or value > self.best):
            self.best, self.waited = value, 0
            return
        self.waited += 1
        start = next_step(trainer)
        due = self.waited >= config.patience and start > self.starts[-1]
        if due and len(self.starts) < len(plan.phases):
            self.starts.append(start)
            self.waited = 0
            pl_module.freezing = plan.with_starts(self.starts)
            pl_module.refresh_rates()

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Open everything again, and say what a metric did not open."""
        plan = pl_module.freezing
        if plan is not None and len(plan.starts) < len(plan.phases):
            opened = set().union(*plan.phases[: len(plan.starts)])
            never = plan.in_words(set(plan.groups) - opened) or "nothing"
            rank_zero_info(
                f"freezing: the run ended in phase {len(plan.starts)} of {len(plan.phases)}; "
                f"never opened: {never}"
            )
        self._release(pl_module)

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        """Leave nothing frozen for another run of the same model."""
        self._release(pl_module)

    def _apply(self, trainer: Trainer, pl_module: Any) -> None:
        plan, step = pl_module.freezing, trainer.global_step
        learning = plan.open_at(step)
        self.starts = list(plan.starts[: plan.phase_at(step) + 1])
        if learning == self._open:
            return
        self._open = learning
        self._gate(pl_module, learning)
        count = f"{len(learning)} of {len(plan.groups)} groups"
        rank_zero_info(f"step {step}: learning {plan.in_words(learning)} ({count})")

    def _gate(self, pl_module: Any, learning: Set[str]) -> None:
        for name, parameters in self._learnable.items():
            for parameter in parameters:
                parameter.requires_grad_(name in learning)
                if name not in learning:
                    parameter.grad = None
        if pl_module.schedule_config.freezing.frozen_layers == "eval":
            for name, modules in _modules(pl_module).items():
                for module in modules:
                    module.train(name in learning)

    def _release(self, pl_module: Any) -> None:
        if self._learnable:
            self._gate(pl_module, self._learnable.keys())
        self._learnable, self._open = {}, None


def _modules(pl_module: Any) -> dict[str, list[nn.Module]]:
    groups: dict[str, list[nn.Module]] = pl_module.backbone.layer_modules()
    return groups | {"head": [pl_module.head]}


def _check_strategy(trainer: Trainer) -> None:
    strategy = trainer.strategy
    if isinstance(strategy, SingleDeviceStrategy):
        return
    able = "use ddp_find_unused_parameters_true"
    name = type(strategy).__name__
    if not isinstance(strategy, DDPStrategy):
        raise ValueError(
            f"trainer.strategy: {name} cannot open layers later: {able}, or auto on one device"
        )
    settings = strategy._ddp_kwargs
    if settings.get("static_graph"):
        raise ValueError(f"trainer.strategy: static_graph forbids opening layers later: {able}")
    if not settings.get("find_unused_parameters"):
        raise ValueError(
            "trainer.strategy: plain ddp waits for the gradients of frozen layers, which never "
            f"come: {able}"
        )


def _let_recompile(pl_module: LightningModule, num_phases: int) -> None:
    """A compiled model is compiled anew for each phase; torch stops at 8 by itself."""
    if any(module._compiled_call_impl is not None for module in pl_module.modules()):
        import torch._dynamo

        needed = 4 * num_phases + 8  # shapes and evaluation have their own
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, needed)
