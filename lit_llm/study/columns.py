"""The table a study ends with: what makes its rows, and its columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lit_llm.strict_yaml import Document, Keys, did_you_mean
from lit_llm.study.stages import Stage
from lit_llm.study.variants import RESERVED, Changes

MODES, UNITS = ("max", "min"), ("steps", "tokens", "seconds")


@dataclass(frozen=True)
class Target:
    """A score that runs come to sooner or later: a part of what the row compared with reaches.

    Attributes:
        part: of the mean, over that row's seeds, of the best evaluation; above 1 where less is
            better.
        mode: ``max`` or ``min``, which is better.
        unit: what is counted up to the first evaluation that reaches it: ``steps``, ``tokens`` or
            ``seconds`` of training.
    """

    part: float
    mode: str = "max"
    unit: str = "steps"


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: its heading.
        stage: whose results.
        metric: a key of ``metrics`` in ``results.json``, or a dotted path in the file.
        where: value of each axis that the rows do not name.
        target: where the figure is not the metric, but what it costs to bring it there.
    """

    name: str
    stage: str
    metric: str
    where: Mapping[str, str] = field(default_factory=dict)
    target: Target | None = None


@dataclass(frozen=True)
class TableLayout:
    """What a study's table looks like.

    Attributes:
        rows: axes that make the rows.
        columns: of the figures.
        against: axis -> value of the row that each other row is compared with; of an axis that is
            not named, the row's own value. None for no comparison.
    """

    rows: tuple[str, ...]
    columns: tuple[Column, ...]
    against: Mapping[str, str] | None = None


def read_table(
    document: Document, stages: Mapping[str, Stage], axes: Mapping[str, Mapping[str, Changes]]
) -> TableLayout:
    """The axes that make the rows, the columns, and the row to compare with.

    Raises:
        ValueError: there is no table, or it names a stage, an axis or a row that is none.
    """
    content = document.content.get("table")
    if content is None:
        raise document.fault(("table",), "a study ends with a table: 'table: {columns: [METRIC]}'")
    document.check_keys(content, ("table",), ("rows", "columns", "against"))
    rows = content.get("rows", list(axes))
    rows = [rows] if isinstance(rows, str) else rows
    if not isinstance(rows, list):
        raise document.fault(
            ("table", "rows"), "the name of an axis was expected, or a list of them"
        )
    for row in map(str, rows):
        if rows.count(row) > 1:
            raise document.fault(("table", "rows"), f"{row} is given twice")
        if row not in axes:
            raise document.fault(
                ("table", "rows"), f"there is no axis {row!r}{did_you_mean(row, axes)}"
            )
    columns = content.get("columns")
    if not columns or not isinstance(columns, list | dict):
        raise document.fault(("table", "columns"), "name at least one metric")
    if isinstance(columns, list):
        if any(not isinstance(metric, str) for metric in columns):
            raise document.fault(
                ("table", "columns"), "a list of metrics, or 'HEADING: {metric: ...}'"
            )
        for metric in columns:
            if columns.count(metric) > 1:
                raise document.fault(("table", "columns"), f"{metric} is given twice")
        columns = {metric: {"metric": metric} for metric in columns}
    against = _against(document, axes, rows, content.get("against"))
    found = tuple(
        _column(document, stages, axes, rows, str(name), column) for name, column in columns.items()
    )
    for column in found:
        if column.target is not None and (against is None or len(against) < len(rows)):
            raise document.fault(
                ("table", "columns", column.name),
                "reaches is a part of what the row under table.against reaches: name one row",
            )
    return TableLayout(tuple(rows), found, against)


def _against(
    document: Document, axes: Mapping[str, Mapping[str, Changes]], rows: list[str], given: Any
) -> dict[str, str] | None:
    if given is None:
        return None
    keys: Keys = ("table", "against")
    if not isinstance(given, dict):
        labels = given if isinstance(given, list) else [given]
        if len(labels) != len(rows):
            raise document.fault(
                keys,
                f"a row is named by a value of each of {', '.join(rows)}; to compare rows that "
                "differ in one axis alone, give 'AXIS: VALUE'",
            )
        given = dict(zip(rows, labels, strict=True))
    if not given:
        raise document.fault(keys, "a row was expected, or 'AXIS: VALUE'")
    against = {str(axis): str(label) for axis, label in given.items()}
    for axis, label in against.items():
        if axis not in rows:
            hint = did_you_mean(axis, rows)
            raise document.fault(keys, f"{axis} is not an axis of the table's rows{hint}")
        if label not in axes[axis]:
            raise document.fault(
                keys, f"{axis} has no value {label!r}{did_you_mean(label, axes[axis])}"
            )
    return against


def _column(
    document: Document,
    stages: Mapping[str, Stage],
    axes: Mapping[str, Mapping[str, Changes]],
    rows: list[str],
    name: str,
    content: Any,
) -> Column:
    keys: Keys = ("table", "columns", name)
    content = {"metric": content} if isinstance(content, str) else content
    document.check_keys(content, keys, (*RESERVED, *axes))
    if not isinstance(content.get("metric"), str):
        raise document.fault(keys, "name the metric: 'metric: test/entity_f1'")
    stage = content.get("stage", list(stages)[-1])
    if str(stage) not in stages:
        raise document.fault(keys, f"there is no stage {stage!r}{did_you_mean(stage, stages)}")
    where = {axis: str(content[axis]) for axis in axes if axis in content}
    for axis, value in where.items():
        if value not in axes[axis]:
            raise document.fault(
                (*keys, axis), f"{axis} has no value {value!r}{did_you_mean(value, axes[axis])}"
            )
        if axis in rows:
            raise document.fault((*keys, axis), f"{axis} makes the rows already")
    return Column(name, stage, content["metric"], where, _target(document, keys, content))


def _target(document: Document, keys: Keys, content: Mapping[str, Any]) -> Target | None:
    if "reaches" not in content:
        for key in ("in", "mode"):
            if key in content:
                raise document.fault((*keys, key), f"{key} belongs to reaches, which is not given")
        return None
    part, mode, unit = content["reaches"], content.get("mode", "max"), content.get("in", "steps")
    if isinstance(part, bool) or not isinstance(part, int | float) or not part > 0:
        raise document.fault((*keys, "reaches"), f"a number above 0 was expected, not {part!r}")
    for key, value, known in (("mode", mode, MODES), ("in", unit, UNITS)):
        if value not in known:
            raise document.fault((*keys, key), f"{value!r} is not one of {', '.join(known)}")
    return Target(float(part), mode, unit)
