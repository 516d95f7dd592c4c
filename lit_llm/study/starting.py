"""How a cell's command is started: by a study, or by somebody who pastes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from lit_llm.secrets import redacted
from lit_llm.study import record
from lit_llm.study.content import newest_change, path_in, path_key
from lit_llm.study.plan import Cell
from lit_llm.study.record import ENVIRONMENT_FILE, read_json, runs_of
from lit_llm.study.settings import flags


def command(cell: Cell, resumes: bool) -> list[str]:
    """The words after ``lit-llm``.

    A run that is resumed reads its settings from its directory, where its data lie as well; these
    may lie elsewhere now.
    """
    if not resumes:
        return list(cell.words)
    given = {k: value for k, value in cell.stage.settings.items() if k == "allow_import"}
    for key, value in cell.settings.items():
        path = path_in(key, value) if path_key(key) == "data.path" else None
        if path is not None and path.exists():
            given[key] = value
    return ["fit", "--resume", str(cell.run_dir), *flags(given)]


def replaced(cell: Cell) -> Path | None:
    """Where an earlier run has to be moved before this one starts; None if there is none."""
    if not cell.run_dir.exists() or not any(_visible(cell.run_dir)):
        return None
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S_%f")
    return runs_of(cell) / "replaced" / stamp / cell.name


def is_by_hand(cell: Cell) -> bool:
    """Whether somebody started the cell's own command in its run directory, and did not resume it.

    Args:
        cell: one without a note of a study.
    """
    try:
        facts = read_json(cell.run_dir / ENVIRONMENT_FILE)
    except (OSError, ValueError):
        return False
    return facts.get("command") == redacted(list(cell.words)) and "resumed" not in facts


def has_read(cell: Cell, paths: Iterable[Path]) -> bool:
    """Whether a run read these as they are now: nothing has changed since it began.

    Args:
        cell: one whose run was not resumed: that would look younger than it is.
        paths: configuration files, data, and what earlier stages left.
    """
    files = [cell.run_dir / name for name in (ENVIRONMENT_FILE, "config.yaml")]
    if not all(file.exists() for file in files):
        return False
    began = min(file.stat().st_mtime for file in files)
    return all(newest_change(path) < began for path in (Path(record.__file__), *paths))


def _visible(directory: Path) -> Iterator[Path]:
    return (path for path in directory.iterdir() if not path.name.startswith("."))
