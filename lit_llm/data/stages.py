"""Training on one part of the data after the other: what each stage is drawn from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

KEY = "batches.stages"
Scalar = str | int | float | bool


@dataclass(frozen=True)
class StageConfig:
    """One entry of ``batches.stages``: which examples are drawn from, and for how long.

    The last entry lasts to the end of the run. Each other one ends after ``steps``, or once an
    evaluation reaches ``until``, whichever comes first.

    Attributes:
        where: fields of an example and the value (or values) they have: ``{label: [a, b]}``; of a
            corpus ``{source: wiki}``; of joined data sets ``{dataset: news}``.
        min_tokens: of an item, special tokens included.
        max_tokens: likewise.
        steps: optimizer steps, at most.
        until: the value of ``monitor`` that ends the stage.
        monitor: what ``until`` is compared with; default the objective's own metric.
        monitor_mode: ``max`` or ``min``, which is better; given with ``monitor``.
        replay: the part of the examples drawn that belongs to earlier entries, and not to this
            one, in [0, 1).
    """

    where: dict[str, Scalar | list[Scalar]] = field(default_factory=dict)
    min_tokens: int | None = None
    max_tokens: int | None = None
    steps: int | None = None
    until: float | None = None
    monitor: str | None = None
    monitor_mode: Literal["max", "min"] | None = None
    replay: float = 0.0


def check_stages(stages: Sequence[StageConfig]) -> None:
    """Refuse entries that make no sense, before there is any data.

    Raises:
        ValueError: names the entry.
    """
    for number, stage in enumerate(stages):
        key, last = f"{KEY}[{number}]", number == len(stages) - 1
        for name in ("min_tokens", "max_tokens", "steps"):
            value = getattr(stage, name)
            if value is not None and value < 1:
                raise ValueError(f"{key}.{name} must be at least 1, not {value}")
        if not 0 <= stage.replay < 1:
            raise ValueError(f"{key}.replay must lie in [0, 1), not {stage.replay}")
        if stage.replay and not number:
            raise ValueError(f"{key}.replay: nothing comes before the first entry")
        ends = stage.steps is not None or stage.until is not None
        if last and ends:
            raise ValueError(
                f"{key}: the last entry lasts to the end of the run (trainer.max_steps, or the "
                "callbacks EarlyStopping and Budget): leave out its steps and until"
            )
        if not last and not ends:
            raise ValueError(
                f"{key} never ends, so {KEY}[{number + 1}] never begins: give it steps or until"
            )
        if (stage.monitor is None) != (stage.monitor_mode is None):
            raise ValueError(f"{key}: give monitor and monitor_mode, or neither")
        if stage.monitor is not None and stage.until is None:
            raise ValueError(f"{key}.monitor is what until is compared with, which is not given")


def stage_weights(
    stages: Sequence[StageConfig],
    lengths: ArrayLike,
    field_of: Callable[[str, str], Sequence[Any]],
    weights: NDArray[Any] | None = None,
) -> list[NDArray[np.float64]]:
    """How often each training item is seen in a pass over a stage's own data, (B,) for each stage.

    Args:
        stages: the entries.
        lengths: (B,), tokens of each item.
        field_of: of (a field, the key that asks for it) the field's value of each item's example.
        weights: (B,), how often an item is seen in any case; default once.

    Raises:
        ValueError: an entry that no item belongs to, or that has nothing to replay; it is named.
    """
    tokens = np.asarray(lengths)
    base = np.ones(len(tokens)) if weights is None else np.asarray(weights, np.float64)
    before = np.zeros(len(tokens), bool)
    found = []
    for number, stage in enumerate(stages):
        key = f"{KEY}[{number}]"
        own = _members(stage, key, tokens, field_of)
        weight = np.where(own, base, 0.0)
        if not weight.any():
            raise ValueError(f"{key}: no training example is like this; widen its conditions")
        if stage.replay:
            earlier = np.where(before & ~own, base, 0.0)
            if not earlier.any():
                raise ValueError(
                    f"{key}.replay: all that earlier entries have belongs to this one, too; leave "
                    "it out"
                )
            share = stage.replay / (1 - stage.replay)
            weight = weight + earlier * (share * weight.sum() / earlier.sum())
        before |= own
        found.append(weight)
    return found


def _members(
    stage: StageConfig,
    key: str,
    tokens: NDArray[Any],
    field_of: Callable[[str, str], Sequence[Any]],
) -> NDArray[np.bool_]:
    """Which items meet an entry's conditions, (B,)."""
    own = np.ones(len(tokens), bool)
    if stage.min_tokens is not None:
        own &= tokens >= stage.min_tokens
    if stage.max_tokens is not None:
        own &= tokens <= stage.max_tokens
    for name, wanted in stage.where.items():
        place = f"{key}.where.{name}"
        values = [_as_set(value) for value in field_of(name, place)]
        present = set[Any]().union(*values)
        accepted = _as_set(wanted)
        if missing := accepted - present:
            known = ", ".join(sorted(map(repr, present))[:20])
            raise ValueError(
                f"{place}: no training example has {missing.pop()!r}; there are {known}"
            )
        own &= np.array([bool(value & accepted) for value in values])
    return own


def _as_set(value: Any) -> set[Any]:
    """One value, or all of a list (of several labels, say)."""
    return set(value) if isinstance(value, list | np.ndarray) else {value}
