"""Which layers learn at what rate over a run: as lines of text, and as a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from lit_llm.tables.figures import load_pyplot, save_figure

Rates = Mapping[str, Sequence[float | None]]
"""The learning rate in each optimizer step, by group of layers, the input's first; None: frozen."""

_LEVELS = "▁▂▃▄▅▆▇█"
_WIDTH = 60


def rates_as_text(rates: Rates) -> str:
    """A line for each group, the highest first: its rate over the run, blank where it is frozen.

    A block's height is the rate as a part of the group's own peak, which stands at the end.
    """
    longest = max(map(len, rates))
    lines = []
    for name, values in reversed(list(rates.items())):
        learning = [value for value in values if value is not None]
        peak = max(learning, default=0.0)
        line = "".join(_block(_mean_of_learning(part), peak) for part in _parts(values))
        said = f"peak {peak:.2g}" if learning else "frozen"
        lines.append(f"{name:<{longest}}  {line}  {said}")
    return "\n".join(lines)


def draw_rates(rates: Rates, out: Path, title: str) -> None:
    """A field of groups by steps, coloured by rate, white where a group is frozen.

    Args:
        rates: of which some are above 0.
        out: where to; the suffix says which kind of file.
        title: of the figure.

    Raises:
        ValueError: matplotlib is not installed, or cannot write this kind of file; or there is no
            rate above 0.
    """
    seen = [value for row in rates.values() for value in row if value]
    if not seen:
        raise ValueError("there is no learning rate above 0 to draw")
    pyplot = load_pyplot()
    from matplotlib.colors import LogNorm

    low = max(min(seen), max(seen) / 1e4)
    names = list(rates)
    rows = [
        [float("nan") if value is None else max(value, low) for value in row]
        for row in rates.values()
    ]
    figure, axes = pyplot.subplots(figsize=(7.5, 1.2 + 0.32 * len(names)), layout="constrained")
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


def _parts(values: Sequence[float | None]) -> list[Sequence[float | None]]:
    """At most ``_WIDTH`` pieces of about the same length."""
    count = min(_WIDTH, len(values))
    marks = [round(i * len(values) / count) for i in range(count + 1)]
    return [values[begin:end] for begin, end in pairwise(marks)]


def _mean_of_learning(values: Sequence[float | None]) -> float | None:
    learning = [value for value in values if value is not None]
    return sum(learning) / len(learning) if learning else None


def _block(value: float | None, peak: float) -> str:
    if value is None:
        return " "
    return _LEVELS[min(int(value / (peak or 1.0) * len(_LEVELS)), len(_LEVELS) - 1)]
