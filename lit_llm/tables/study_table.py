"""A study's results as rows and columns."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lit_llm.strict_yaml import did_you_mean
from lit_llm.study.columns import Column
from lit_llm.study.ledger import Ledger
from lit_llm.study.plan import Cell, Plan
from lit_llm.study.record import read_results
from lit_llm.tables.comparison import Comparison
from lit_llm.tables.notes import notes
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
        against: labels of the row that the others are compared with.
    """

    title: str
    axes: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[tuple[tuple[str, ...], tuple[Summary | None, ...]], ...]
    notes: tuple[str, ...]
    against: tuple[str, ...] | None = None

    def comparisons(self) -> list[tuple[tuple[str, ...], list[Comparison | None]]]:
        """Each other row beside the one that is compared with; None where there are no pairs."""
        if self.against is None:
            return []
        theirs = dict(self.rows)[self.against]
        return [
            (labels, [_compared(*pair) for pair in zip(ours, theirs, strict=True)])
            for labels, ours in self.rows
            if labels != self.against
        ]


def study_table(plan: Plan, ledger: Ledger) -> StudyTable:
    """Gather the finished cells of a plan.

    A seed whose figure is not finite is left out of its cell, and noted.

    Args:
        plan: the study's cells.
        ledger: what of it is done.

    Raises:
        ValueError: there are no results, or a metric is not in one.
    """
    study = plan.study
    verdicts = ledger.forecast(figures_only=True)
    results = {
        name: read_results(ledger.results / name)
        for name, verdict in verdicts.items()
        if verdict.kind == "done"
    }
    if not results:
        raise ValueError(
            f"{study.path}: there are no results of the study as it is now in {ledger.results}, "
            f"so there is no table: lit-llm run {study.path}"
        )
    rows = []
    shown: list[Cell] = []
    infinite: list[str] = []
    for labels in itertools.product(*(study.axes[axis] for axis in study.rows)):
        summaries: list[Summary | None] = []
        for column in study.columns:
            cells = _cells(plan, column, dict(zip(study.rows, labels, strict=True)))
            shown += cells
            done = [cell for cell in cells if cell.name in results]
            values = {c.seed: _value(ledger, column, c, results[c.name]) for c in done}
            infinite += [f"{column.name} of {c.name}" for c in done if values[c.seed] is None]
            summaries.append(_summary(values) if cells else None)
        rows.append((labels, tuple(summaries)))
    distinct = {cell.name: verdicts[cell.name] for cell in shown}
    sources = _sources(plan, [name for name in distinct if name in results])
    said = notes(distinct, ledger.records, results, [name for name in sources if name in results])
    if infinite:
        said.insert(0, f"**Not finite, and left out:** {', '.join(infinite)}.")
    return StudyTable(
        study.name, study.rows, study.columns, tuple(rows), tuple(said), study.against
    )


def _compared(ours: Summary | None, theirs: Summary | None) -> Comparison | None:
    if ours is None or theirs is None:
        return None
    found = Comparison.of(ours, theirs)
    return found if found.differences.n else None


def _sources(plan: Plan, names: list[str]) -> list[str]:
    """The cells that these read from, directly or not, each once."""
    found: dict[str, None] = {}
    wanted = list(names)
    while wanted:
        needs = plan.cells[wanted.pop()].needs.values()
        wanted += [need for need in needs if need not in found]
        found |= dict.fromkeys(needs)
    return list(found)


def _cells(plan: Plan, column: Column, row: Mapping[str, str]) -> list[Cell]:
    chosen = {**row, **column.where}
    wanted = {axis: chosen[axis] for axis in plan.depends_on[column.stage]}
    found = (
        cell
        for cell in plan.cells.values()
        if cell.stage.name == column.stage and cell.values == wanted
    )
    return sorted(found, key=lambda cell: cell.seed)


def _summary(by_seed: Mapping[int, float | None]) -> Summary:
    finite = {seed: value for seed, value in by_seed.items() if value is not None}
    return Summary(tuple(finite), tuple(finite.values()))


def _value(ledger: Ledger, column: Column, cell: Cell, results: Mapping[str, Any]) -> float | None:
    """A figure of a finished cell; None if it is not finite."""
    metrics = results.get("metrics", {})
    found: Any = metrics.get(column.metric, results)
    if found is results:
        for key in column.metric.split("."):
            found = found.get(key, "") if isinstance(found, dict) else ""
    if found is None:
        return None
    if isinstance(found, int | float) and not isinstance(found, bool):
        return float(found)
    raise ledger.plan.study.document.fault(
        ("table", "columns", column.name),
        f"{ledger.results / cell.name / 'results.json'} has no number {column.metric!r}"
        f"{did_you_mean(column.metric, metrics)}",
    )
