"""Figures on disk, the same file for the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def load_pyplot() -> Any:
    """Matplotlib's ``pyplot``, drawing to files.

    Raises:
        ValueError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError:
        message = 'plots need matplotlib: pip install "lit_llm[plots]"'
        raise ValueError(message) from None
    matplotlib.use("Agg")
    matplotlib.rcParams |= {"svg.hashsalt": "lit_llm", "svg.fonttype": "none"}
    from matplotlib import pyplot

    return pyplot


def save_figure(figure: Any, out: Path) -> None:
    """Write a figure, of the kind that the suffix says (``.svg``, ``.png``), and close it.

    Raises:
        ValueError: matplotlib cannot write this kind of file.
    """
    undated = {"Date": None} if out.suffix == ".svg" else None
    figure.savefig(out, dpi=150, metadata=undated)
    load_pyplot().close(figure)
