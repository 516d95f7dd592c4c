"""The readable form of the tag and entity scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_COLUMNS = ("precision", "recall", "f1", "support")
_AVERAGES = {
    "micro_with_o": "micro with O (accuracy)",
    "micro_without_o": "micro without O",
    "macro": "macro",
    "weighted": "weighted by support",
}


def report_text(
    tags: Mapping[str, Any],
    entities: Mapping[str, Any],
    entities_strict: Mapping[str, Any] | None = None,
) -> str:
    """Tables of what ``TagReport``, ``EntityF1`` and ``EntityF1Strict`` compute, each labelled.

    Tag-level and entity-level figures look alike and are far apart (the tag table's averages hold
    every ``O``), so each table's first line says which it is. Monospaced; scores with 3 decimals.

    Args:
        tags: ``TagReport.compute()``.
        entities: ``EntityF1.compute()``.
        entities_strict: ``EntityF1Strict.compute()``.
    """
    averages = {label: tags["averages"][name] for name, label in _AVERAGES.items()}
    tables = [
        _table("Tag level: every word's tag by itself (not an entity F1)", tags["tags"], averages),
        _entity_table("Entity level: whole entities, conlleval rules", entities, ""),
    ]
    if entities_strict is not None:
        title = "Entity level: whole entities, strict IOB2 (only B- starts one)"
        tables.append(_entity_table(title, entities_strict, "_strict"))
    return "\n\n".join(tables) + "\n"


def _entity_table(title: str, scores: Mapping[str, Any], suffix: str) -> str:
    per_type = scores["per_type"]
    support = sum(row["support"] for row in per_type.values())
    averages = {
        label: {name: scores[f"entity_{key}{name}{suffix}"] for name in _COLUMNS[:3]}
        | {"support": support}
        for label, key in (("micro", ""), ("macro", "macro_"))
    }
    return _table(title, per_type, averages)


def _table(
    title: str, rows: Mapping[str, Mapping[str, Any]], averages: Mapping[str, Mapping[str, Any]]
) -> str:
    width = max(len(name) for name in (*rows, *averages))
    line = "-" * (width + 10 * len(_COLUMNS))
    return "\n".join(
        [
            title,
            " " * width + "".join(f"{name:>10}" for name in _COLUMNS),
            line,
            *(_line(name, row, width) for name, row in rows.items()),
            line,
            *(_line(name, row, width) for name, row in averages.items()),
        ]
    )


def _line(name: str, row: Mapping[str, Any], width: int) -> str:
    scores = "".join(f"{row[column]:>10.3f}" for column in _COLUMNS[:3])
    return f"{name:<{width}}{scores}{int(row['support']):>10}"
