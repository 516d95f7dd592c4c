"""A study's results as rows and columns."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lit_llm.study.columns import Column
from lit_llm.study.ledger import Ledger
from lit_llm.study.plan import Cell, Plan
from lit_llm.study.record import read_results
from lit_llm.study.strict_yaml import did_you_mean
from lit_llm.tables.statistics import Summary


@dataclass(frozen=True)
class StudyTable:
    """What is printed.

    Attributes:
        title: the study's name.
        axes: headings of the row labels.
        columns: of the figures.
        rows: labels, and a summary for each column; None where a column does not apply.
        notes: what a reader must know, a sentence each.
    """

    title: str
    axes: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[tuple[tuple[str, ...], tuple[Summary | None, ...]], ...]
    notes: tuple[str, ...]


def study_table(plan: Plan, ledger: Ledger) -> StudyTable:
    """Gather the finished cells of a plan.

    Args:
        plan: the study's cells.
        ledger: what of it is done.

    Raises:
        ValueError: nothing is finished, a metric is not in a result, or a column does not say
            which value of an axis it means.
    """
    study = plan.study
    verdicts = ledger.forecast()
    finished = {name for name, verdict in verdicts.items() if verdict.kind == "done"}
    if not finished:
        raise ValueError(
            f"{study.path}: nothing is finished of this study, so there is no table: "
            f"lit-llm run {study.path}"
        )
    for column in study.columns:
        _check_axes(plan, column)
    rows = []
    used: list[Cell] = []
    missing: list[Cell] = []
    for labels in itertools.product(*(study.axes[axis] for axis in study.rows)):
        summaries: list[Summary | None] = []
        for column in study.columns:
            cells = _cells(plan, column, dict(zip(study.rows, labels, strict=True)))
            there = [cell for cell in cells if cell.name in finished]
            used += there
            missing += [cell for cell in cells if cell.name not in finished]
            summaries.append(_summary(ledger, column, there) if cells else None)
        rows.append((labels, tuple(summaries)))
    used, missing = _distinct(used), _distinct(missing)
    notes = [
        *_unfinished(missing, ledger),
        *_references(ledger, study.columns, used),
        *_provenance(ledger, used),
    ]
    return StudyTable(study.name, study.rows, study.columns, tuple(rows), tuple(notes))


def _check_axes(plan: Plan, column: Column) -> None:
    for axis in plan.depends_on[column.stage]:
        if axis not in plan.study.rows and axis not in column.where:
            values = ", ".join(plan.study.axes[axis])
            raise plan.study.document.fault(
                ("table", "columns", column.name),
                f"say which {axis} is meant ({axis}: one of {values}), or make it a row",
            )


def _cells(plan: Plan, column: Column, row: Mapping[str, str]) -> list[Cell]:
    chosen = {**row, **column.where}
    wanted = {axis: chosen[axis] for axis in plan.depends_on[column.stage]}
    found = (
        cell
        for cell in plan.cells.values()
        if cell.stage.name == column.stage and cell.values == wanted
    )
    return sorted(found, key=lambda cell: cell.seed)


def _distinct(cells: Iterable[Cell]) -> list[Cell]:
    return list({cell.name: cell for cell in cells}.values())


def _summary(ledger: Ledger, column: Column, cells: list[Cell]) -> Summary:
    values = [_value(ledger, column, cell) for cell in cells]
    return Summary(tuple(cell.seed for cell in cells), tuple(values))


def _value(ledger: Ledger, column: Column, cell: Cell) -> float:
    results = read_results(ledger.results / cell.name)
    found: Any = results.get("metrics", {})
    known = list(found)
    if column.metric in found:
        found = found[column.metric]
    else:
        found = results
        for key in column.metric.split("."):
            found = found.get(key, "") if isinstance(found, dict) else ""
    if isinstance(found, int | float) and not isinstance(found, bool):
        return float(found)
    place = ledger.results / cell.name / "results.json"
    if found is None:
        raise ValueError(f"{place}: {column.metric} is not finite, so it has no mean")
    raise ledger.plan.study.document.fault(
        ("table", "columns", column.name),
        f"{place} has no number {column.metric!r}{did_you_mean(column.metric, known)}",
    )


def _unfinished(cells: list[Cell], ledger: Ledger) -> list[str]:
    if not cells:
        return []
    stale = [cell.name for cell in cells if ledger.records[cell.name] is not None]
    new = [cell.name for cell in cells if ledger.records[cell.name] is None]
    notes = []
    if new:
        notes.append(f"Not finished: {_listed(new)}.")
    if stale:
        notes.append(f"Left out, for the study has changed since they ran: {_listed(stale)}.")
    return notes


def _listed(names: list[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _references(ledger: Ledger, columns: Iterable[Column], cells: list[Cell]) -> list[str]:
    """What simple methods reach on the test sets, where the data know it."""
    by_data: dict[str, dict[str, float]] = {}
    for cell in cells:
        results = read_results(ledger.results / cell.name)
        if results.get("references"):
            by_data.setdefault(results.get("data", ""), results["references"])
    return [
        f"On the test set of {data}: "
        + ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in scores.items())
        + "."
        for data, scores in by_data.items()
    ]


def _provenance(ledger: Ledger, cells: list[Cell]) -> list[str]:
    """Commits, versions and precision; a warning where they are mixed."""
    records = [ledger.records[cell.name] or {} for cell in cells]
    commits = Counter(
        " and ".join(_short(commit) for commit in record["commits"]) for record in records
    )
    if len(commits) == 1:
        notes = [f"Commit {next(iter(commits))}."]
    else:
        notes = [f"**Made with different commits:** {_counted(commits)}."]
    packages: dict[str, Counter[str]] = {}
    for record in records:
        for name, version in (record["environment"].get("packages") or {}).items():
            packages.setdefault(name, Counter())[str(version)] += 1
    mixed = {name: versions for name, versions in packages.items() if len(versions) > 1}
    for name, versions in mixed.items():
        notes.append(f"**Made with different versions of {name}:** {_counted(versions)}.")
    precision = Counter(
        str(read_results(ledger.results / cell.name).get("precision")) for cell in cells
    )
    if len(precision) > 1:
        notes.append(f"**Made in different precision:** {_counted(precision)}.")
    return notes


def _short(commit: str | None) -> str:
    if commit is None:
        return "unknown"
    name, dash, dirty = commit.partition("-")
    return f"{name[:10]}{' with uncommitted changes' if dash and dirty else ''}"


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{what} ({n} run{'s' if n > 1 else ''})" for what, n in counts.items())
