"""Counting entities, and scoring the counts: what the entity metrics share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lit_llm.metrics.entities import Entity, entities
from lit_llm.metrics.precision_recall_f1 import macro_average, micro_average, precision_recall_f1


def check_names(names: Sequence[str]) -> tuple[str, ...]:
    """Entity types in the order of a metric's states.

    Raises:
        ValueError: there is none, or one stands twice.
    """
    if not names or isinstance(names, str):
        raise ValueError(f"types must be a list of at least one entity type, not {names!r}")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"entity type {twice[0]!r} stands twice in types {list(names)}")
    return tuple(names)


def check_sentences(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> None:
    """Refuse tag sequences that do not stand side by side.

    Raises:
        ValueError: the number of sentences, or of tags in a sentence, differs.
    """
    if len(gold) != len(predicted):
        raise ValueError(
            f"gold has {len(gold)} sentences and the prediction {len(predicted)}: "
            "give one tag sequence of each per sentence"
        )
    for i, (expected, tags) in enumerate(zip(gold, predicted, strict=True)):
        if len(expected) != len(tags):
            raise ValueError(
                f"sentence {i} has {len(expected)} gold tags and {len(tags)} predicted ones: "
                "give one of each per word"
            )


def entity_counts(
    gold: Sequence[Sequence[str]],
    predicted: Sequence[Sequence[str]],
    types: Sequence[str],
    strict: bool = False,
) -> Tensor:
    """(3, number of types), int64: entities in both, in the prediction, in the gold.

    An entity is in both when type, first word and last word agree.

    Raises:
        ValueError: sentences or tags do not stand side by side, a tag is malformed, or a type is
            not in ``types`` (the message has the sentence's number in this call).
    """
    check_sentences(gold, predicted)
    counts = torch.zeros(3, len(types), dtype=torch.int64)
    column = {name: c for c, name in enumerate(types)}
    for i, (gold_tags, predicted_tags) in enumerate(zip(gold, predicted, strict=True)):
        expected = _entities(gold_tags, strict, column, f"gold of sentence {i}")
        found = _entities(predicted_tags, strict, column, f"prediction of sentence {i}")
        for row, kept in enumerate((expected & found, found, expected)):
            for entity in kept:
                counts[row, column[entity.type]] += 1
    return counts


def entity_scores(counts: Tensor, types: Sequence[str], suffix: str = "") -> dict[str, Any]:
    """Micro, macro and per-type scores of counts, under the names they are logged by.

    Args:
        counts: (3, number of types), as ``entity_counts`` gives them, summed.
        types: names of the columns.
        suffix: appended to every name.
    """
    rows = [(row[0], row[1], row[2]) for row in counts.T.tolist()]
    per_type = {name: precision_recall_f1(*row) for name, row in zip(types, rows, strict=True)}
    occurring = [
        scores for scores, row in zip(per_type.values(), rows, strict=True) if row[1] + row[2]
    ]
    micro, macro = micro_average(rows), macro_average(occurring)
    scores: dict[str, Any] = {}
    for name in ("precision", "recall", "f1"):
        scores[f"entity_{name}{suffix}"] = micro[name]
        scores[f"entity_macro_{name}{suffix}"] = macro[name]
    return {**scores, "per_type": per_type}


def _entities(tags: Sequence[str], strict: bool, types: dict[str, int], where: str) -> set[Entity]:
    try:
        found = set(entities(tags, strict))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    unknown = [entity.type for entity in found if entity.type not in types]
    if unknown:
        raise ValueError(f"{where}: entity type {unknown[0]!r} is not among {list(types)}")
    return found
