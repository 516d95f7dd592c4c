"""``lit-llm plot``: what runs logged, as curves."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from lit_llm.argument_parser import CommandParser, exit_code
from lit_llm.tables.curves import draw_curves, read_curves

DESCRIPTION = """\
Draw what runs logged, a panel for each metric and a line for each run.

  lit-llm plot runs/RUN --metrics train/loss val/loss --out curves.svg
  lit-llm plot runs/STUDY/*/finetune/seed=* --metrics val/entity_f1 --out curves.png

The metrics are the columns of metrics.csv. Needs matplotlib: pip install "lit_llm[plots]".
"""


def main(words: list[str]) -> int:
    """Run ``lit-llm plot``; the process's exit code.

    Args:
        words: the command line after ``plot``.
    """
    return exit_code("plot", lambda: _plot(words))


def _plot(words: list[str]) -> int:
    parser = CommandParser("plot", DESCRIPTION)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run's directory")
    parser.add_argument("--metrics", nargs="+", default=["train/loss", "val/loss"])
    parser.add_argument("--out", type=Path, default=Path("curves.svg"))
    options = parser.parse_args(words)
    curves = [read_curves(run, options.metrics) for run in options.runs]
    draw_curves(dict(zip(_names(options.runs), curves, strict=True)), options.out)
    print(f"written: {options.out}")
    return 0


def _names(runs: list[Path]) -> list[str]:
    """The runs' paths without what they share, so that a legend is short.

    Raises:
        ValueError: a run is given twice.
    """
    parts = [run.resolve().parts for run in runs]
    if len(set(parts)) < len(parts):
        raise ValueError("a run is given twice")
    if len(runs) == 1:
        return [runs[0].name]
    start = _num_shared(parts)
    rest = [part[start:] for part in parts]
    end = _num_shared([part[::-1] for part in rest])
    names = ["/".join(part[: len(part) - end]) for part in rest]
    return [name or str(run) for name, run in zip(names, runs, strict=True)]


def _num_shared(parts: Sequence[Sequence[str]]) -> int:
    """How many parts all begin with."""
    levels = zip(*parts, strict=False)
    return sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, levels))
