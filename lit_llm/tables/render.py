"""A table as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence

from lit_llm.tables.comparison import LEVEL, Comparison, holm
from lit_llm.tables.statistics import Summary
from lit_llm.tables.study_table import StudyTable


def markdown(table: StudyTable) -> str:
    """A Markdown table with its notes, and a second one of differences where rows are compared."""
    names = [column.name for column in table.columns]
    heading = [*table.axes, *names]
    lines = [[*labels, *(_figure(summary) for summary in cells)] for labels, cells in table.rows]
    if not table.axes:  # a study without variants
        heading, lines = ["", *heading], [[table.title, *line] for line in lines]
    labels = max(len(table.axes), 1)
    notes = ["Mean ± standard deviation over (n) seeds.", *table.notes]
    parts = [f"# {table.title}", "", *_aligned(heading, lines, labels), "", *_bullets(notes), ""]
    if table.against is not None:
        compared = table.comparisons()
        columns = [_differences([cells[i] for _, cells in compared]) for i in range(len(names))]
        lines = [[*row, *(column[i] for column in columns)] for i, (row, _) in enumerate(compared)]
        kept = [f"the same {axis}" for axis in table.axes if axis not in table.against]
        parts += [f"## Against {', '.join([*table.against.values(), *kept])}", ""]
        parts += [*_aligned(heading, lines, labels), "", *_bullets(_COMPARED), ""]
    return "\n".join(parts)


_COMPARED = (
    "Mean difference over (n) seeds that both rows have, with its 95 % interval by Student's t.",
    "p: two-sided paired t test, corrected over a column's rows (Holm); bold below 0.05.",
    "detects: the smallest true difference that so many seeds show with 80 % power.",
)


def _bullets(sentences: Sequence[str]) -> list[str]:
    return [f"- {sentence}" for sentence in sentences]


def _aligned(heading: list[str], lines: list[list[str]], labels: int) -> list[str]:
    heading = [word.replace("|", "\\|") for word in heading]
    widths = [max(4, *(len(line[i]) for line in [heading, *lines])) for i in range(len(heading))]
    rule = ["-" * width for width in widths]
    rule[labels:] = ["-" * (width - 1) + ":" for width in widths[labels:]]
    return [_line(words, widths, labels) for words in (heading, rule, *lines)]


def _differences(column: list[Comparison | None]) -> list[str]:
    """A column of differences, ``+0.0120 [+0.0030, +0.0210], p 0.021, detects 0.0120 (5)``."""
    tested = [c.p_value for c in column if c is not None and c.p_value is not None]
    corrected = iter(holm(tested))
    found = []
    for comparison in column:
        if comparison is None:
            found.append("–")
            continue
        differences, half = comparison.differences, comparison.half_width
        digits = _digits(differences)
        text = f"{differences.mean:+,.{digits}f}"
        if half is not None:
            low, high = differences.mean - half, differences.mean + half
            p = next(corrected)
            text += f" [{low:+,.{digits}f}, {high:+,.{digits}f}], p {p:.3f}"
            text += f", detects {comparison.smallest_detectable:,.{digits}f}"
            text = f"**{text}**" if p < LEVEL else text
        found.append(f"{text} ({differences.n})")
    return found


def _digits(summary: Summary) -> int:
    largest = max(abs(value) for value in summary.values)
    return 4 if largest < 10 else 1 if largest < 1000 else 0


def _line(words: list[str], widths: list[int], labels: int) -> str:
    padded = [
        word.ljust(width) if i < labels else word.rjust(width)
        for i, (word, width) in enumerate(zip(words, widths, strict=True))
    ]
    return f"| {' | '.join(padded)} |"


def _figure(summary: Summary | None) -> str:
    """``0.8672 ± 0.0008 (3)``; a count that is the same for all seeds has no spread."""
    if summary is not None and summary.censored:
        return _censored(summary)
    if summary is None or not summary.n:
        return "–"
    digits, largest = _digits(summary), max(abs(value) for value in summary.values)
    spread = f" ± {summary.std:,.{digits}f}" if summary.std is not None else ""
    if not summary.std and largest > 1 and all(value.is_integer() for value in summary.values):
        digits, spread = 0, ""
    return f"{summary.mean:,.{digits}f}{spread} ({summary.n})"


def _censored(summary: Summary) -> str:
    """``median 420, 4 of 5 reached it``; no median where half of the runs never did."""
    known = summary.median != math.inf
    median = f"median {summary.median:,.0f}, " if known else "no median, "
    return f"{median}{summary.n} of {summary.n + len(summary.censored)} reached it"


def csv_text(table: StudyTable) -> str:
    """One line for each figure: labels, column, mean, std, n, values of seeds, censored seeds."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    heading = ("column", "stage", "metric", "mean", "std", "n", "seeds", "values", "censored")
    writer.writerow([*table.axes, *heading])
    for labels, cells in table.rows:
        for column, summary in zip(table.columns, cells, strict=True):
            if summary is None or not (summary.n or summary.censored):
                continue
            std = "" if summary.std is None else repr(summary.std)
            seeds = " ".join(map(str, summary.seeds))
            values = " ".join(map(repr, summary.values))
            names = (column.name, column.stage, column.metric)
            figures = (repr(summary.mean), std, summary.n, seeds, values)
            writer.writerow([*labels, *names, *figures, " ".join(map(str, summary.censored))])
    return text.getvalue()
