"""What a study is doing, for people: a live table on a terminal, lines elsewhere."""

from __future__ import annotations

import csv
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lit_llm.study.plan import Cell

_TAIL_LINES = 12


@dataclass
class Overview:
    """Counts, what runs now, and how long the rest may take.

    Attributes:
        console: where it is shown.
        cells: the study's, by name.
        slots: how many run at once.
        seconds: what finished cells took, by name.
        states: of the cells: ``pending``, ``running``, ``done``, ``failed``, ``blocked`` or
            ``stopped``.
    """

    console: Console
    cells: Mapping[str, Cell]
    slots: int
    seconds: dict[str, float]
    states: dict[str, str] = field(default_factory=dict)
    _started: dict[str, float] = field(default_factory=dict)
    _live: Live | None = None

    def showing(self) -> AbstractContextManager[Any]:
        """While this is entered a terminal shows the live table."""
        if not self.console.is_terminal:
            return nullcontext()
        self._live = Live(
            get_renderable=self.render, console=self.console, refresh_per_second=1, transient=True
        )
        return self._live

    def start(self, cell: Cell, why: str, log: Path) -> None:
        """A cell's command was started."""
        self.states[cell.name] = "running"
        self._started[cell.name] = time.monotonic()
        self._say(f"[cyan]start[/]  {escape(cell.name)}  [dim]({escape(f'{why}; {log}')})[/]")

    def done(self, cell: Cell, why: str = "") -> None:
        """A cell is done: it ran, or it was already."""
        ran = self.states.get(cell.name) == "running"
        self.states[cell.name] = "done"
        if ran:
            took = self.seconds[cell.name] = time.monotonic() - self._started[cell.name]
            why = f"{duration(took)}; {self.counts()}"
        if why:
            self._say(f"[green]done[/]   {escape(cell.name)}  [dim]({escape(why)})[/]")

    def fail(self, cell: Cell, why: str, log: Path) -> None:
        """A cell failed; of one that was running the end of its log is shown."""
        ran = self.states.get(cell.name) == "running"
        self.states[cell.name] = "failed"
        why = f"{why}; the end of {log}:" if ran else why
        self._say(f"[red]failed[/] {escape(cell.name)}: {escape(why)}")
        for line in tail(log) if ran else ():
            self._say(f"[dim]         {escape(line)}[/]")

    def block(self, cell: Cell, need: str) -> None:
        """A cell cannot run: one that it needs failed."""
        self.states[cell.name] = "blocked"
        self._say(f"[yellow]not run[/] {escape(cell.name)}: it needs {escape(need)}")

    def stop(self, cell: Cell) -> None:
        """A cell was interrupted with the study."""
        self.states[cell.name] = "stopped"
        self._say(f"[yellow]stopped[/] {escape(cell.name)}")

    def say(self, text: str) -> None:
        """A line for the reader."""
        self._say(escape(text))

    def _say(self, markup: str) -> None:
        self.console.print(markup, highlight=False, soft_wrap=True)

    def counts(self) -> str:
        """``12 of 30 done, 1 failed, about 14 min left``."""
        number = {
            state: sum(1 for other in self.states.values() if other == state)
            for state in ("done", "failed", "blocked")
        }
        text = f"{number['done']} of {len(self.cells)} done"
        if number["failed"]:
            text += f", {number['failed']} failed"
        if number["blocked"]:
            text += f", {number['blocked']} not run"
        left = self.seconds_left()
        return text + (f", about {duration(left)} left" if left else "")

    def seconds_left(self) -> float | None:
        """From what finished cells of the same kind took; None before there is one of each."""
        total = 0.0
        for name, cell in self.cells.items():
            state = self.states.get(name, "pending")
            if state in ("pending", "running"):
                expected = self._expected(cell)
                if expected is None:
                    return None
                passed = time.monotonic() - self._started[name] if state == "running" else 0.0
                total += max(expected - passed, 0.0)
        return total / self.slots

    def _expected(self, cell: Cell) -> float | None:
        same = [s for name, s in self.seconds.items() if self.cells[name].group == cell.group]
        same = same or [
            seconds
            for name, seconds in self.seconds.items()
            if self.cells[name].stage.name == cell.stage.name
        ]
        return sum(same) / len(same) if same else None

    def render(self) -> Group:
        """The live table."""
        table = Table(box=None, padding=(0, 2), show_header=False)
        for name, state in self.states.items():
            if state == "running":
                passed = duration(time.monotonic() - self._started[name])
                table.add_row(Text(name), passed, Text(_progress(self.cells[name].run_dir)))
        whole = Table.grid(padding=(0, 1))
        done = sum(1 for state in self.states.values() if state == "done")
        whole.add_row(ProgressBar(len(self.cells), done, width=30), Text(self.counts()))
        return Group(table, whole)


def duration(seconds: float) -> str:
    """``48 s``, ``12 min``, ``3 h 05 min``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def tail(log: Path, lines: int = _TAIL_LINES) -> list[str]:
    """The last lines of a command's output; of a progress bar only its last state."""
    if not log.exists():
        return []
    text = log.read_bytes()[-20_000:].decode(errors="replace").rpartition("\n$ lit-llm ")[2]
    kept = [line.split("\r")[-1].rstrip() for line in text.replace("\r\n", "\n").split("\n")]
    return [line for line in kept if line][-lines:]


def _progress(run_dir: Path) -> str:
    """Step and last training loss of a run, from its ``metrics.csv``."""
    path = run_dir / "metrics.csv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            columns = next(csv.reader(file))
            file.seek(max(path.stat().st_size - 4000, 0))
            rows = list(csv.reader(file.readlines()[1:]))
    except (OSError, StopIteration, UnicodeDecodeError):
        return "preparing"
    shown: dict[str, str] = {}
    for row in rows:
        found = dict(zip(columns, row, strict=False))
        shown |= {key: found[key] for key in ("epoch", "step", "train/loss") if found.get(key)}
    return "  ".join(f"{key} {value[:7]}" for key, value in shown.items())
