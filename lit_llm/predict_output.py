"""Predictions for people: JSONL, or coloured text on a terminal."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

COLOURS = ("cyan", "green", "magenta", "yellow", "blue", "red")
BAR_WIDTH = 24
MAX_BARS = 8
MAX_CHARACTERS = 400
"""Of a classified text, on the terminal."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@contextmanager
def open_output(path: Path) -> Iterator[TextIO]:
    """A text file that appears under its name once all of it is written.

    What exists and is no plain file (a pipe, /dev/null) is written to as it is.

    Raises:
        ValueError: the directory does not exist, or ``path`` is a directory.
    """
    if path.is_dir() or not path.parent.is_dir():
        raise ValueError(f"--output {path}: give a file in a directory that exists")
    if path.exists() and not path.is_file():
        with path.open("w", encoding="utf-8") as stream:
            yield stream
        return
    path = path.resolve()  # of a link, the file it leads to
    staging = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with staging.open("w", encoding="utf-8") as stream:
            yield stream
        os.replace(staging, path)
    finally:
        staging.unlink(missing_ok=True)


class JsonLines:
    """One JSON object a line.

    Args:
        stream: where to; a terminal that has no UTF-8 gets escapes.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._ascii = "utf" not in (stream.encoding or "utf").lower()

    def write(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Write some records and hand them on at once."""
        for record in records:
            self.stream.write(json.dumps(record, ensure_ascii=self._ascii) + "\n")
        self.stream.flush()


class Screen:
    """Texts with their entities in colour, or labels with a bar each.

    Without colours an entity stands in brackets with its type.

    Args:
        console: the terminal.
        label_names: of the model; entity types get their colour from it.
    """

    def __init__(self, console: Console, label_names: Sequence[str]) -> None:
        self.console = console
        types = sorted({name[2:] for name in label_names if name[:2] in ("B-", "I-")})
        self._styles = {
            name: f"bold reverse {COLOURS[i % len(COLOURS)]}" for i, name in enumerate(types)
        }
        self._legend_is_due = True

    def write(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Show some records."""
        for record in records:
            if "entities" in record:
                self._show_entities(record)
            elif "continuation" in record:
                self._show_continuation(record)
            elif "probabilities" in record or "value" in record:
                self._show_labels(record)
            else:  # an objective of somebody else's
                self._print(Text(json.dumps(record, ensure_ascii=False)))

    def _show_entities(self, record: Mapping[str, Any]) -> None:
        if self._legend_is_due and self._styles and self.console.color_system:
            legend = Text().append("entities: ", style="dim")
            for name, style in self._styles.items():
                legend.append(f" {name} ", style=style).append(" ")
            self._print(legend)
            self._print(Text())
        self._legend_is_due = False
        text, line, at = record["text"], self._head(record), 0
        for entity in record["entities"]:
            line.append(_visible(text[at : entity["start"]]))
            inside, at = _visible(text[entity["start"] : entity["end"]]), entity["end"]
            if self.console.color_system:
                line.append(inside, style=self._styles.get(entity["type"], "bold reverse"))
            else:
                line.append(f"[{inside} {entity['type']}]")
        self._print(line.append(_visible(text[at:])))

    def _show_continuation(self, record: Mapping[str, Any]) -> None:
        text, continuation = (_visible(record[key]) for key in ("text", "continuation"))
        self._print(Text().append(text, style="dim").append(continuation, style="bold"))
        self._print(Text())

    def _show_labels(self, record: Mapping[str, Any]) -> None:
        text = record["text"]
        shown = text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"
        self._print(self._head(record).append(_visible(shown)))
        if "value" in record:
            value = record["value"]
            self._print(Text("  value ").append("-" if value is None else f"{value:.4f}", "bold"))
        ranked = sorted(record.get("probabilities", {}).items(), key=lambda pair: -pair[1])
        width = max((len(name) for name, _ in ranked[:MAX_BARS]), default=0)
        chosen = record.get("labels", [record.get("label")])
        for name, probability in ranked[:MAX_BARS]:
            filled = round(probability * BAR_WIDTH)
            style = "bold green" if name in chosen else "dim"
            bar = "█" * filled + "░" * (BAR_WIDTH - filled)
            self._print(Text(f"  {name:<{width}} {bar} {probability:7.1%}", style=style))
        if len(ranked) > MAX_BARS:
            self._print(Text(f"  and {len(ranked) - MAX_BARS} more", style="dim"))
        self._print(Text())

    def _head(self, record: Mapping[str, Any]) -> Text:
        line = Text()
        if "id" in record:
            line.append(f"{_visible(str(record['id']))}: ", style="dim")
        return line if record["text"].strip() else line.append("(empty)", style="dim")

    def _print(self, line: Text) -> None:
        self.console.print(line, soft_wrap=True)


def _visible(text: str) -> str:
    """Control characters would move the cursor or change its colours."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
