"""Freezing schedules as plain configuration: which groups of layers learn when.

Groups are named from the input upwards: ``embeddings``, ``block 0``, ..., perhaps ``final`` (a last
norm, which goes with the highest block), ``head``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

Name = Literal[
    "full", "head_only", "two_step", "three_stage", "gradual", "chain_thaw", "bottom_up", "custom"
]
FrozenLayers = Literal["train", "eval"]
KEY = "schedule.freezing"


@dataclass(frozen=True)
class PhaseConfig:
    """One entry of ``freezing.phases``: what learns from a moment on, and nothing else.

    Attributes:
        groups: names or patterns: ``head``, ``block 5``, ``block *``, ``block [0-3]``, ``*``.
        step: the optimizer step it begins with, from 0.
        epoch: the same in epochs, 0.5 after half of the first one.
        fraction: the same as a part of the run, in [0, 1).
    """

    groups: list[str]
    step: int | None = None
    epoch: float | None = None
    fraction: float | None = None

    def __post_init__(self) -> None:
        given = [v for v in (self.step, self.epoch, self.fraction) if v is not None]
        if len(given) != 1:
            raise ValueError(
                f"{KEY}.phases: {self.groups} needs one of step, epoch and fraction, not "
                f"{len(given)} of them"
            )
        if given[0] < 0:
            raise ValueError(f"{KEY}.phases: {self.groups} begins before the run, at {given[0]}")

    def start(self, total_steps: int, steps_per_epoch: float) -> int:
        """The optimizer step it begins with."""
        if self.step is not None:
            return self.step
        if self.epoch is not None:
            return round(self.epoch * steps_per_epoch)
        return round((self.fraction or 0.0) * total_steps)


@dataclass(frozen=True)
class FreezingConfig:
    """Which layers learn when. A frozen layer costs no gradient of its weights and no update.

    Below the lowest layer that learns there is no backward pass. The next phase begins after
    ``every_epochs``, ``every_steps`` or ``patience``; else the phases are spread evenly, and the
    last one begins after ``fraction`` of the run.

    Attributes:
        name: ``full`` (everything, always); ``head_only``; ``two_step`` (the head, then all);
            ``three_stage`` (the head with the upper third of the blocks, with two thirds, all);
            ``gradual`` (the head, then one more group from the top); ``chain_thaw`` (the head,
            then each group alone from the input upwards, then all); ``bottom_up`` (the head, then
            one more group from the input); ``custom``: the entries of ``phases``.
        every_epochs: epochs of a phase.
        every_steps: optimizer steps of a phase.
        patience: a phase ends after so many evaluations in a row without a better ``monitor``.
        fraction: of the run's steps before the last phase; default 0.5.
        phases: of ``custom``, in order.
        keep_frozen: names or patterns of groups that never learn.
        monitor: what ``patience`` watches; default the objective's own metric.
        monitor_mode: ``max`` or ``min``, which is better; given with ``monitor``.
        frozen_layers: ``train`` keeps the dropout of frozen layers and goes on counting in batch
            norms, as plain fine-tuning with ``requires_grad = False`` does; ``eval`` stops both.

    Source:
        ``gradual``: Howard and Ruder 2018, section 3.3, arXiv:1801.06146. ``chain_thaw``: Felbo
        et al. 2017, section 3.3, arXiv:1708.00524; differs: a phase has a length, instead of
        ending when the development set is mastered (``patience`` is near to that).
    """

    name: Name = "full"
    every_epochs: float | None = None
    every_steps: int | None = None
    patience: int | None = None
    fraction: float | None = None
    phases: list[PhaseConfig] = field(default_factory=list)
    keep_frozen: list[str] = field(default_factory=list)
    monitor: str | None = None
    monitor_mode: Literal["max", "min"] | None = None
    frozen_layers: FrozenLayers = "train"

    def __post_init__(self) -> None:
        if self.name not in get_args(Name):
            raise ValueError(f"{KEY}.name is one of {', '.join(get_args(Name))}, not {self.name!r}")
        if self.frozen_layers not in get_args(FrozenLayers):
            raise ValueError(f"{KEY}.frozen_layers is train or eval, not {self.frozen_layers!r}")
        if self.fraction is not None and not 0 <= self.fraction < 1:
            raise ValueError(f"{KEY}.fraction must lie in [0, 1), not {self.fraction}")
        if self.phases and self.name != "custom":
            raise ValueError(f"{KEY}.phases belongs to name: custom, and {self.name} was given")
        if self.name == "custom" and not self.phases:
            raise ValueError(f"{KEY}.name: custom needs {KEY}.phases")
        self._check_lengths()
        if (self.monitor is None) != (self.monitor_mode is None):
            raise ValueError(f"{KEY}: give monitor and monitor_mode, or neither")
        if self.monitor is not None and self.patience is None:
            raise ValueError(f"{KEY}.monitor is watched by patience, which is not given")

    def _check_lengths(self) -> None:
        keys = ("every_epochs", "every_steps", "patience", "fraction")
        given = {key: getattr(self, key) for key in keys if getattr(self, key) is not None}
        for key, value in given.items():
            if key != "fraction" and not value > 0:
                raise ValueError(f"{KEY}.{key} must be above 0, not {value}")
            if self.name == "custom":
                raise ValueError(f"{KEY}.{key}: the entries of a custom schedule say when")
            if not self.opens_later:
                raise ValueError(f"{KEY}.{key}: {self.name} has one phase; name a schedule")
        if len(given) > 1:
            raise ValueError(f"{KEY}: {' and '.join(given)} exclude each other")

    @property
    def freezes(self) -> bool:
        """Whether anything is ever frozen."""
        return self.name != "full" or bool(self.keep_frozen)

    @property
    def opens_later(self) -> bool:
        """Whether there is more than one phase."""
        return self.name not in ("full", "head_only")
