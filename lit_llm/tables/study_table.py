"""A study's results as rows and columns."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from lit_llm.strict_yaml import did_you_mean
from lit_llm.study.columns import Column
from lit_llm.study.ledger import Ledger
from lit_llm.study.plan import Cell, Plan
from lit_llm.study.record import read_results
from lit_llm.tables.comparison import Comparison
from lit_llm.tables.notes import notes
from lit_llm.tables.reach import first_reached, has_scores, in_words, target_score
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
        against: axis -> value of the row that each other is compared with; of other axes, its own.
    """

    title: str
    axes: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[tuple[tuple[str, ...], tuple[Summary | None, ...]], ...]
    notes: tuple[str, ...]
    against: Mapping[str, str] | None = None

    def comparisons(self) -> list[tuple[tuple[str, ...], list[Comparison | None]]]:
        """Each row beside the one that it is compared with; None where there are no pairs."""
        if self.against is None:
            return []
        found, rows = [], dict(self.rows)
        for labels, ours in self.rows:
            named = zip(self.axes, labels, strict=True)
            other = tuple(self.against.get(axis, label) for axis, label in named)
            if other != labels:
                pairs = zip(ours, rows[other], strict=True)
                found.append((labels, [_compared(*pair) for pair in pairs]))
        return found


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
    targets = _targets(plan, ledger, results)
    shown: list[Cell] = []
    infinite: list[str] = []
    for labels in itertools.product(*(study.axes[axis] for axis in study.rows)):
        summaries: list[Summary | None] = []
        for column in study.columns:
            cells = _cells(plan, column, dict(zip(study.rows, labels, strict=True)))
            shown += cells
            known = column.target is None or column.name in targets
            done = [cell for cell in cells if known and cell.name in results]
            figures = partial(_value, ledger, column, targets.get(column.name))
            values = {cell.seed: figures(cell, results[cell.name]) for cell in done}
            if column.target is None:
                infinite += [f"{column.name} of {c.name}" for c in done if values[c.seed] is None]
            summaries.append(_summary(values, column.target is not None) if cells else None)
        rows.append((labels, tuple(summaries)))
    distinct = {cell.name: verdicts[cell.name] for cell in shown}
    sources = _sources(plan, [name for name in distinct if name in results])
    said = notes(distinct, ledger.records, results, [name for name in sources if name in results])
    said[:0] = [
        in_words(column, targets[column.name], list((study.against or {}).values()))
        for column in study.columns
        if column.name in targets
    ]
    if infinite:
        said.insert(0, f"**Not finite, and left out:** {', '.join(infinite)}.")
    return StudyTable(
        study.name, study.rows, study.columns, tuple(rows), tuple(said), study.against
    )


def _targets(
    plan: Plan, ledger: Ledger, results: Mapping[str, Mapping[str, Any]]
) -> dict[str, float]:
    """The score that each column with a target counts up to, where it is known yet."""
    study, found = plan.study, {}
    for column in study.columns:
        if column.target is None or study.against is None:
            continue
        for cell in plan.cells.values():
            ran = cell.stage.name == column.stage and cell.name in results
            if ran and not has_scores(column.metric, results[cell.name]):
                reason = f"has no evaluations of {column.metric!r} from while it trained"
                raise _fault(ledger, column, cell, reason)
        cells = _cells(plan, column, study.against)
        runs = [results[cell.name] for cell in cells if cell.name in results]
        score = target_score(column.target, column.metric, runs)
        if score is not None:
            found[column.name] = score
    return found


def _compared(ours: Summary | None, theirs: Summary | None) -> Comparison | None:
    if ours is None or theirs is None or ours.censored or theirs.censored:
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


def _summary(by_seed: Mapping[int, float | None], censors: bool = False) -> Summary:
    finite = {seed: value for seed, value in by_seed.items() if value is not None}
    missing = tuple(seed for seed in by_seed if seed not in finite) if censors else ()
    return Summary(tuple(finite), tuple(finite.values()), missing)


def _value(
    ledger: Ledger,
    column: Column,
    score: float | None,
    cell: Cell,
    results: Mapping[str, Any],
) -> float | None:
    """A figure of a finished cell; None if it is not finite, or the score is never reached."""
    metrics = results.get("metrics", {})
    if column.target is not None and score is not None:
        return first_reached(column.target, column.metric, score, results)
    found: Any = metrics.get(column.metric, results)
    if found is results:
        for key in column.metric.split("."):
            found = found.get(key, "") if isinstance(found, dict) else ""
    if found is None:
        return None
    if isinstance(found, int | float) and not isinstance(found, bool):
        return float(found)
    hint = did_you_mean(column.metric, metrics)
    raise _fault(ledger, column, cell, f"has no number {column.metric!r}{hint}")


def _fault(ledger: Ledger, column: Column, cell: Cell, reason: str) -> ValueError:
    file = ledger.results / cell.name / "results.json"
    keys = ("table", "columns", column.name)
    return ledger.plan.study.document.fault(keys, f"{file} {reason}")
