"""How difficult each training item is, by a curriculum's score."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lit_llm.data.cache import ArrowTable
from lit_llm.data.curriculum import KEY, Curriculum, CurriculumConfig

FieldOf = Callable[[str, str], Sequence[Any]]
"""Of (a field, the key that asks for it) the field's value of each training item's example."""


def curriculum_of(
    config: CurriculumConfig | None, items: ArrowTable, field_of: FieldOf, seed: int
) -> Curriculum | None:
    """The curriculum over a training split's items, if there is one.

    Args:
        config: what was asked for.
        items: see ``difficulty``.
        field_of: likewise.
        seed: of random scores.

    Raises:
        OSError, ValueError: as ``difficulty`` and ``Curriculum``.
    """
    if config is None:
        return None
    return Curriculum(config, difficulty(config, items, field_of, seed), items.lengths)


def difficulty(
    config: CurriculumConfig, items: ArrowTable, field_of: FieldOf, seed: int = 0
) -> NDArray[np.float64]:
    """The score of each item, (B,).

    Args:
        config: which score.
        items: with ``input_ids``.
        field_of: of the items' examples.
        seed: of random scores.

    Raises:
        ValueError: a column or a file that lacks an example or holds something that is not a
            number, or items that belong to no example.
    """
    if config.score == "random":
        return np.random.default_rng(seed).random(len(items))
    if config.score == "length":
        return items.lengths.astype(np.float64)
    if config.score == "rarity":
        return rarity(items.flat_lists("input_ids"), items.lengths)
    if config.score == "column":
        return _numbers(field_of(config.key, f"{KEY}.key"), config.key)
    ids = field_of("id", f"{KEY}.score")
    scores = read_scores(Path(config.path or ""), config.key)
    missing = sorted({name for name in ids if name not in scores})
    if missing:
        raise ValueError(
            f"{KEY}.path: {config.path} has no score of {len(missing):,} training examples, such "
            f"as {missing[0]!r}"
        )
    return np.array([scores[name] for name in ids])


def _numbers(values: Sequence[Any], name: str) -> NDArray[np.float64]:
    """A column as numbers; in CSV and TSV it holds their digits."""
    found = []
    for value in values:
        try:
            found.append(float(value))
        except (TypeError, ValueError):
            raise ValueError(
                f"{KEY}.key: the column {name!r} has {value!r} where a number was expected"
            ) from None
    return np.array(found)


def rarity(tokens: NDArray[Any], lengths: NDArray[Any]) -> NDArray[np.float64]:
    """Minus the sum of an item's log relative token frequencies, (B,), in nats.

    Args:
        tokens: (sum of lengths,), all items end to end.
        lengths: (B,), of each.
    """
    counts = np.bincount(tokens)
    surprise = np.log(len(tokens)) - np.log(np.maximum(counts, 1))
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    summed: NDArray[np.float64] = np.add.reduceat(surprise[tokens], starts)
    return summed


def read_scores(path: Path, key: str) -> dict[str, float]:
    """Each example's score from JSON lines with ``id`` and ``key``.

    Raises:
        OSError: there is no such file.
        ValueError: a line that is not such an object; names file and line.
    """
    scores: dict[str, float] = {}
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                record = json.loads(line)
                value = record[key]
                if isinstance(value, bool) or not isinstance(value, int | float):
                    raise TypeError
                scores[record["id"]] = float(value)
            except (json.JSONDecodeError, KeyError, TypeError):
                raise ValueError(
                    f"{path}, line {number}: an object with 'id' and a number under {key!r} was "
                    f"expected, not {line.strip()[:60]!r}"
                ) from None
    return scores
