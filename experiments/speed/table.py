"""Rows of a results file as a Markdown table: ``python -m experiments.speed.table FILE``."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from experiments.speed.settings import SYSTEMS

BASE = "trainer_default"
SETTING = ("task", "device", "dropout", "attention_dropout")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """One JSON object per line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def ratio(rows: list[dict[str, Any]], system: str, base: str = BASE) -> float | None:
    """Median over repetitions of the speed relative to ``base`` in the same repetition.

    Paired first, because a shared machine's speed drifts from one repetition to the next; None
    when no repetition holds both.
    """
    speed = {(r["run"], r["repetition"], r["system"]): r["tokens_per_second"] for r in rows}
    pairs = [
        value / speed[run, repetition, base]
        for (run, repetition, name), value in speed.items()
        if name == system and (run, repetition, base) in speed
    ]
    return statistics.median(pairs) if pairs else None


def table(rows: list[dict[str, Any]]) -> str:
    """One line per task, device, dropout setting and system."""
    head = (
        "| task | device | dropout / attention | system | real tokens/s | range | n "
        "| x Trainer default | peak GB | tokens used |"
    )
    lines = [head, "|" + " --- |" * 10]
    for setting in _ordered(tuple(row[key] for key in SETTING) for row in rows):
        same = [row for row in rows if tuple(row[key] for key in SETTING) == setting]
        for system in _ordered(row["system"] for row in same):
            lines.append(_line(setting, system, same))
    return "\n".join(lines)


def _line(setting: tuple[Any, ...], system: str, same: list[dict[str, Any]]) -> str:
    rows = [row for row in same if row["system"] == system]
    speeds = [row["tokens_per_second"] for row in rows]
    memory = "peak_cuda_gb" if setting[1] == "cuda" else "peak_rss_gb"
    times = ratio(same, system)
    cells = [
        setting[0],
        setting[1],
        f"{setting[2]:g} / {setting[3]:g}",
        system,
        f"{statistics.median(speeds):,.0f}",
        f"{min(speeds):,.0f}-{max(speeds):,.0f}",
        len(rows),
        "" if times is None else f"{times:.2f}",
        f"{statistics.median(row[memory] for row in rows):.2f}",
        f"{statistics.median(row['tokens_used_fraction'] for row in rows):.0%}",
    ]
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _ordered(values: Iterable[Any]) -> list[Any]:
    """Distinct values in order of appearance, the systems in their own order."""
    distinct = list(dict.fromkeys(values))
    return sorted(distinct, key=SYSTEMS.index) if set(distinct) <= set(SYSTEMS) else distinct


if __name__ == "__main__":
    print(table(read_rows(Path(sys.argv[1]))))
