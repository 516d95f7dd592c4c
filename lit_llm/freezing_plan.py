"""Which groups of layers learn at which step of one run: pure functions of the step."""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import chain, groupby, pairwise

from lit_llm.freezing import KEY, FreezingConfig


@dataclass(frozen=True)
class FreezingPlan:
    """What is open at each step of one run.

    Attributes:
        groups: all of the model, from the input upwards.
        phases: the groups that learn in each phase.
        starts: the optimizer step each phase begins with; of phases that wait for a metric only
            those that have begun.
    """

    groups: tuple[str, ...]
    phases: tuple[frozenset[str], ...]
    starts: tuple[int, ...] = (0,)

    def phase_at(self, step: int) -> int:
        """The number of the phase that a step belongs to."""
        return max(i for i, start in enumerate(self.starts) if start <= step or i == 0)

    def open_at(self, step: int) -> frozenset[str]:
        """The groups that learn in a step."""
        return self.phases[self.phase_at(step)]

    def opened_at(self, group: str, step: int) -> int:
        """The step since which a group that learns in ``step`` has been learning."""
        phase = self.phase_at(step)
        while phase and group in self.phases[phase - 1]:
            phase -= 1
        return self.starts[phase]

    def in_words(self, groups: Set[str]) -> str:
        """Some of the groups, the highest first: ``head, block 5 to block 3``."""
        parts: list[list[str]] = []
        above = ""  # the group that stands on this one, where it is named too
        for name in reversed(self.groups):
            named = name in groups
            if named and name.startswith("block ") and above.startswith("block "):
                parts[-1].append(name)
            elif named:
                parts.append([name])
            above = name if named else ""
        return ", ".join(f"{p[0]} to {p[-1]}" if len(p) > 2 else ", ".join(p) for p in parts)

    def with_starts(self, starts: Sequence[int]) -> FreezingPlan:
        """The plan whose phases so far began with these steps."""
        return replace(self, starts=tuple(starts))


def freezing_plan(
    config: FreezingConfig,
    groups: Sequence[str],
    total_steps: int,
    steps_per_epoch: float,
    trial: bool = False,
) -> FreezingPlan:
    """Lay a schedule out for one model and one run.

    Args:
        config: which schedule.
        groups: the model's, from the input upwards, ``head`` last.
        total_steps: optimizer steps of the run.
        steps_per_epoch: optimizer steps of an epoch.
        trial: the run was cut short to see whether it works: phases that would begin after its
            end are spread over half of it instead.

    Raises:
        ValueError: a name that no group has, a group that never learns, phases out of order, or
            one that would begin after the run; the message names it.
    """
    if "head" not in groups and config.name in ("head_only", "two_step"):
        raise ValueError(
            f"{KEY}.name: {config.name} begins with the head, which is tied to the embeddings here "
            f"and no group of its own; there are {', '.join(groups)}"
        )
    never = _matching(config.keep_frozen, groups, f"{KEY}.keep_frozen")
    phases = [(frozenset(phase) & set(groups)) - never for phase in _phases(config, groups)]
    if config.name != "custom":  # a phase that adds nothing to the one before is none
        phases = [phase for phase, _ in groupby(filter(None, phases))]
    if not all(phases) or not phases:
        raise ValueError(f"{KEY}: there is a phase in which nothing would learn")
    starts = _starts(config, len(phases), total_steps, steps_per_epoch)
    if trial and starts[-1] >= total_steps:
        starts = _spread(len(phases), 0.5 * total_steps)
        return FreezingPlan(tuple(groups), tuple(phases), tuple(starts))
    _check_order(config, starts, len(phases), total_steps)
    lasting = phases
    if config.patience is None:  # some may have no step of their own in a short run
        ends = [*starts[1:], total_steps]
        lasting = [p for p, start, end in zip(phases, starts, ends, strict=True) if start < end]
    learning = never.union(*lasting)
    left_out = [group for group in groups if group not in learning]
    if left_out and config.name != "head_only":
        raise ValueError(
            f"{KEY}: {', '.join(left_out)} would never learn: put it into a phase, or say so with "
            f"{KEY}.keep_frozen"
        )
    return FreezingPlan(tuple(groups), tuple(phases), tuple(starts))


def _check_order(
    config: FreezingConfig, starts: Sequence[int], num_phases: int, total_steps: int
) -> None:
    for number, (start, later) in enumerate(pairwise(starts), start=2):
        if later < start or (later == start and config.name == "custom"):
            raise ValueError(
                f"{KEY}: phase {number} begins at step {later} and the one before it at {start}: "
                "they overlap; give them in order"
            )
    if starts[-1] >= max(total_steps, 1):
        raise ValueError(
            f"{KEY}: phase {len(starts)} of {num_phases} begins at step {starts[-1]}, and the run "
            f"ends after {total_steps}: lengthen the run (trainer.max_epochs, trainer.max_steps) "
            "or begin the phases earlier"
        )


def _levels(groups: Sequence[str]) -> list[list[str]]:
    """The backbone's groups, from the input upwards, the last norm with the highest block."""
    levels = [[group] for group in groups if group not in ("head", "final")]
    if "final" in groups:
        levels[-1].append("final")
    return levels


def _flat(levels: Sequence[Sequence[str]]) -> list[str]:
    return list(chain.from_iterable(levels))


def _phases(config: FreezingConfig, groups: Sequence[str]) -> list[list[str]]:
    head, everything = ["head"], list(groups)
    levels = _levels(groups)
    blocks = levels[1:]
    if config.name == "full":
        return [everything]
    if config.name == "head_only":
        return [head]
    if config.name == "two_step":
        return [head, everything]
    if config.name == "three_stage":
        thirds = [blocks[len(blocks) - math.ceil(len(blocks) * n / 3) :] for n in (1, 2)]
        return [*(head + _flat(third) for third in thirds), everything]
    if config.name == "gradual":
        return [head + _flat(levels[len(levels) - n :]) for n in range(len(levels) + 1)]
    if config.name == "bottom_up":
        return [head + _flat(levels[:n]) for n in range(len(levels) + 1)]
    if config.name == "chain_thaw":
        return [head, *levels, everything]
    return [
        sorted(_matching(phase.groups, groups, f"{KEY}.phases[{i}]"))
        for i, phase in enumerate(config.phases)
    ]


def _starts(
    config: FreezingConfig, count: int, total_steps: int, steps_per_epoch: float
) -> list[int]:
    if config.name == "custom":
        starts = [phase.start(total_steps, steps_per_epoch) for phase in config.phases]
        if starts[0] != 0:
            raise ValueError(f"{KEY}.phases: the first one must begin at step 0, not {starts[0]}")
        return starts
    if config.patience is not None:
        return [0]
    if config.every_steps is not None:
        return [number * config.every_steps for number in range(count)]
    if config.every_epochs is not None:
        return [round(number * config.every_epochs * steps_per_epoch) for number in range(count)]
    fraction = 0.5 if config.fraction is None else config.fraction
    return _spread(count, fraction * total_steps)


def _spread(count: int, last: float) -> list[int]:
    return [round(number * last / max(count - 1, 1)) for number in range(count)]


def _matching(patterns: Sequence[str], groups: Sequence[str], key: str) -> frozenset[str]:
    """Raises ValueError for a pattern that matches no group."""
    found: set[str] = set()
    for pattern in patterns:
        matches = {group for group in groups if fnmatchcase(group, pattern)}
        if not matches:
            raise ValueError(
                f"{key}: no group is called {pattern!r}; there are {', '.join(groups)}"
            )
        found |= matches
    return frozenset(found)
