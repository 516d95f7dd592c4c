"""Which layers learn at what rate over a run: as lines of text, and as a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from lit_llm.tables.figures import load_pyplot, save_figure

Rates = Mapping[str, Sequence[float]]
"""The learning rate in each optimizer step, by group of layers, the input's first; 0 is frozen."""

_LEVELS = "▁▂▃▄▅▆▇█"
_WIDTH = 60


def rates_as_text(rates: Rates) -> str:
    """A line for each group, the highest first: its rate over the run, blank where it is frozen.

    A block's height is the rate as a part of the group's own peak, which stands at the end.
    """
    longest = max(map(len, rates))
    lines = []
    for name, values in reversed(list(rates.items())):
        peak = max(values)
        line = "".join(_block(_mean_of_learning(part), peak) for part in _parts(values))
        said = f"peak {peak:.2g}" if peak else "never learns"
        lines.append(f"{name:<{longest}}  {line}  {said}")
    return "\n".join(lines)


def draw_rates(rates: Rates, out: Path, title: str) -> None:
    """A field of groups by steps, coloured by rate, white where a group is frozen.

    Args:
        rates: not all of them 0.
        out: where to; the suffix says which kind of file.
        title: of the figure.

    Raises:
        ValueError: matplotlib is not installed, or cannot write this kind of file.
    """
    pyplot = load_pyplot()
    from matplotlib.colors import LogNorm

    names, rows = list(rates), [[value or float("nan") for value in row] for row in rates.values()]
    figure, axes = pyplot.subplots(figsize=(7.5, 1.2 + 0.32 * len(names)), layout="constrained")
    seen = [value for row in rates.values() for value in row if value]
    low = max(min(seen), max(seen) / 1e4)
    norm = LogNorm(low, max(seen)) if low < max(seen) else None
    steps = len(rows[0])
    image = axes.imshow(
        rows,
        aspect="auto",
        origin="lower",
        interpolation="nearest",
        extent=(0, steps, -0.5, len(names) - 0.5),
        norm=norm,
        cmap="viridis",
    )
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="optimizer step", title=title)
    figure.colorbar(image, ax=axes, label="learning rate")
    save_figure(figure, out)


def _parts(values: Sequence[float]) -> list[Sequence[float]]:
    """At most ``_WIDTH`` pieces of about the same length."""
    count = min(_WIDTH, len(values))
    marks = [round(i * len(values) / count) for i in range(count + 1)]
    return [values[begin:end] for begin, end in pairwise(marks)]


def _mean_of_learning(values: Sequence[float]) -> float:
    learning = [value for value in values if value]
    return sum(learning) / len(learning) if learning else 0.0


def _block(value: float, peak: float) -> str:
    if not value:
        return " "
    return _LEVELS[min(int(value / peak * len(_LEVELS)), len(_LEVELS) - 1)]
