"""Curves of runs: a panel for each metric, a line for each run."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from lit_llm.tables.figures import load_pyplot, save_figure

Curve = tuple[list[int], list[float]]
"""Steps and values."""

_PANELS_IN_A_ROW = 4
_MARKED = 20  # points of a curve that are few enough to be marked


def read_curves(run: Path, metrics: Sequence[str]) -> dict[str, Curve]:
    """What a run logged of each metric.

    Raises:
        OSError: the run has no ``metrics.csv``.
        ValueError: it logged no such metric; the message lists those there are.
    """
    file = run / "metrics.csv"
    if not file.exists():
        raise FileNotFoundError(f"{file}: no such file; name a run's directory")
    with file.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    found = {metric: _curve(rows, metric) for metric in metrics}
    for metric, (steps, _) in found.items():
        if not steps:
            known = sorted({key for row in rows for key, value in row.items() if value})
            raise ValueError(f"{file} has no value of {metric!r}; it has {', '.join(known)}")
    return found


def draw_curves(runs: Mapping[str, Mapping[str, Curve]], out: Path) -> None:
    """Draw and write a figure, of the kind that the suffix says (``.svg``, ``.png``, ``.pdf``).

    Args:
        runs: each run's name and its curves by metric; all have the same metrics.
        out: where to.

    Raises:
        ValueError: matplotlib is not installed, or cannot write this kind of file.
    """
    pyplot = load_pyplot()
    metrics = list(next(iter(runs.values())))
    columns = min(len(metrics), _PANELS_IN_A_ROW)
    rows = math.ceil(len(metrics) / columns)
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(4.2 * columns, 3.2 * rows), squeeze=False, layout="constrained"
    )
    panels = axes.flat
    for panel, metric in zip(panels, metrics, strict=False):
        for name, curves in runs.items():
            steps, values = curves[metric]
            marker = "o" if len(steps) <= _MARKED else ""
            panel.plot(steps, values, label=name, linewidth=1.2, marker=marker, markersize=3)
        panel.set(title=metric, xlabel="step")
        panel.grid(alpha=0.3)
    for panel in list(panels)[len(metrics) :]:
        panel.axis("off")
    if len(runs) > 1:
        axes.flat[0].legend(fontsize="small")
    save_figure(figure, out)


def _curve(rows: Sequence[Mapping[str, str | None]], metric: str) -> Curve:
    found = [(int(row["step"] or 0), row.get(metric)) for row in rows]
    pairs = [(step, float(value)) for step, value in found if value]
    return [step for step, _ in pairs], [value for _, value in pairs]
