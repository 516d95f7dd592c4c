"""Rows of a results file as Markdown: ``python -m experiments.distillation_speed.table FILE``."""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import Any

from experiments.distillation_speed.settings import SYSTEMS
from experiments.distillation_speed.shapes import SHAPES
from experiments.speed.table import ratio, read_rows

TRAINER_GOAL = 3.0


def table(rows: list[dict[str, Any]]) -> str:
    """One line per shape, number of epochs, sample and system."""
    head = (
        "| shape | epochs | sentences | system | seconds | range | n | real tokens/s | x live "
        "| x Trainer | ceiling | peak GB | tokens used |"
    )
    lines = [head, "|" + " --- |" * 13]
    for same in _settings(rows):
        for system in (name for name in SYSTEMS if any(r["system"] == name for r in same)):
            lines.append(_line(system, same))
    return "\n".join(lines)


def verdicts(rows: list[dict[str, Any]]) -> str:
    """What the cache brings, beside its ceiling and what was hoped for."""
    lines = []
    for same in _settings(rows):
        shape, best = same[0]["shape"], same[0]["ceiling"]
        live, trainer = (ratio(same, "cached", base) for base in ("live", "trainer_default"))
        if live is not None:
            goal = SHAPES[shape].goal
            lines.append(
                f"- {shape}: cached is {live:.2f} times as fast as live (ceiling {best:.2f}); "
                f"goal {goal:g}: {_reached(live, goal)}"
            )
        if trainer is not None:
            lines.append(
                f"- {shape}: cached is {trainer:.2f} times as fast as the Trainer; "
                f"goal {TRAINER_GOAL:g}: {_reached(trainer, TRAINER_GOAL)}"
            )
    return "\n".join(lines)


def _reached(value: float, goal: float) -> str:
    return "reached" if value >= goal else "not reached"


def _settings(rows: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The rows that may be compared, together, in order of appearance."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        names = ("shape", "epochs", "examples", "examples_per_batch", "device_name")
        key = tuple(row[name] for name in names)
        groups.setdefault(key, []).append(row)
    return list(groups.values())


def _line(system: str, same: list[dict[str, Any]]) -> str:
    rows = [row for row in same if row["system"] == system]
    seconds = [row["seconds"] for row in rows]
    live, trainer = (ratio(same, system, base) for base in ("live", "trainer_default"))
    cells = [
        rows[0]["shape"],
        rows[0]["epochs"],
        f"{rows[0]['examples']:,}",
        system,
        f"{statistics.median(seconds):.1f}",
        f"{min(seconds):.1f}-{max(seconds):.1f}",
        len(rows),
        f"{statistics.median(row['tokens_per_second'] for row in rows):,.0f}",
        "" if live is None else f"{live:.2f}",
        "" if trainer is None else f"{trainer:.2f}",
        f"{rows[0]['ceiling']:.2f}" if system == "cached" else "",
        f"{statistics.median(row['peak_rss_gb'] for row in rows):.2f}",
        f"{statistics.median(row['tokens_used_fraction'] for row in rows):.0%}",
    ]
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


if __name__ == "__main__":
    found = read_rows(Path(sys.argv[1]))
    print(f"{table(found)}\n\n{verdicts(found)}")
