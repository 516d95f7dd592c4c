"""A table as Markdown and as CSV."""

from __future__ import annotations

import csv
import io

from lit_llm.tables.statistics import Summary
from lit_llm.tables.study_table import StudyTable


def markdown(table: StudyTable) -> str:
    """A Markdown table with aligned columns, and its notes."""
    heading = [*table.axes, *(column.name for column in table.columns)]
    lines = [[*labels, *(_figure(summary) for summary in cells)] for labels, cells in table.rows]
    if not table.axes:  # a study without variants
        heading, lines = ["", *heading], [[table.title, *line] for line in lines]
    heading = [word.replace("|", "\\|") for word in heading]
    widths = [max(4, *(len(line[i]) for line in [heading, *lines])) for i in range(len(heading))]
    labels = max(len(table.axes), 1)
    rule = ["-" * width for width in widths]
    rule[labels:] = ["-" * (width - 1) + ":" for width in widths[labels:]]
    rows = [_line(heading, widths, labels), _line(rule, widths, labels)]
    rows += [_line(line, widths, labels) for line in lines]
    notes = ["Mean ± standard deviation over (n) seeds.", *table.notes]
    return "\n".join([f"# {table.title}", "", *rows, "", *(f"- {note}" for note in notes), ""])


def _line(words: list[str], widths: list[int], labels: int) -> str:
    padded = [
        word.ljust(width) if i < labels else word.rjust(width)
        for i, (word, width) in enumerate(zip(words, widths, strict=True))
    ]
    return f"| {' | '.join(padded)} |"


def _figure(summary: Summary | None) -> str:
    """``0.8672 ± 0.0008 (3)``; a count that is the same for all seeds has no spread."""
    if summary is None or not summary.n:
        return "–"
    largest = max(abs(value) for value in summary.values)
    digits = 4 if largest < 10 else 1 if largest < 1000 else 0
    spread = f" ± {summary.std:,.{digits}f}" if summary.std is not None else ""
    if not summary.std and largest > 1 and all(value.is_integer() for value in summary.values):
        digits, spread = 0, ""
    return f"{summary.mean:,.{digits}f}{spread} ({summary.n})"


def csv_text(table: StudyTable) -> str:
    """One line for each figure: labels, column, mean, std, n, and the values of the seeds."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    figures = ("column", "stage", "metric", "mean", "std", "n", "seeds", "values")
    writer.writerow([*table.axes, *figures])
    for labels, cells in table.rows:
        for column, summary in zip(table.columns, cells, strict=True):
            if summary is None or not summary.n:
                continue
            std = "" if summary.std is None else repr(summary.std)
            seeds = " ".join(map(str, summary.seeds))
            values = " ".join(map(repr, summary.values))
            names = (column.name, column.stage, column.metric)
            writer.writerow([*labels, *names, repr(summary.mean), std, summary.n, seeds, values])
    return text.getvalue()
