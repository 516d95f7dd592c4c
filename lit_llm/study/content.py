"""What files and directories hold, as hashes that are the same on every machine."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from lit_llm.durable import replace_text


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def path_in(key: str, value: Any) -> Path | None:
    """The path that a setting's value names, whether or not it exists; None if it names none.

    A path has a slash in it, or stands under a key that ends in ``path``; ``pkg://a/b`` is the
    directory ``b`` of the installed package ``a``. A hub id looks like a path that is not here.
    """
    if not isinstance(value, str) or "${" in value or "\n" in value:
        return None
    if value.startswith("pkg://"):
        package, _, inside = value.removeprefix("pkg://").partition("/")
        found = importlib.util.find_spec(package) if package.isidentifier() else None
        roots = list((found and found.submodule_search_locations) or [])
        return Path(roots[0], inside) if roots else Path(value)
    if value.strip("/. ") and ("/" in value or key.endswith("path")):
        with suppress(RuntimeError):  # ~ of a user that is none
            return Path(value).expanduser()
    return None


class Hashes:
    """Content hashes of files and directories, remembered while size and time stay the same.

    A directory's hash is that of the relative names and contents of its files; names that begin
    with a dot do not count.

    Args:
        memory: file to remember them in; None remembers within the process only.
    """

    def __init__(self, memory: Path | None = None) -> None:
        self._memory = memory
        self._known: dict[str, list[str]] = {}
        if memory is not None and memory.exists():
            with suppress(ValueError, TypeError):  # it only saves time
                self._known = dict(json.loads(memory.read_text(encoding="utf-8")))
        self._new = False
        self._answers: dict[Path, tuple[float, str | None]] = {}

    def of(self, path: Path, not_older_than_seconds: float = 0.0) -> str | None:
        """The hash, 64 hexadecimal digits; None if there is no such path.

        Args:
            path: a file or directory.
            not_older_than_seconds: whoever asks often may get the answer given so long ago.
        """
        now = time.monotonic()
        then, answer = self._answers.get(path, (-math.inf, None))
        if now - then >= not_older_than_seconds:
            answer = self._look(path)
            self._answers[path] = (now, answer)
        return answer

    def _look(self, path: Path) -> str | None:
        if not path.is_file() and not path.is_dir():
            return None
        files = sorted(_files(path))
        states = [
            (name, status.st_size, status.st_mtime_ns)
            for name, status in ((str(file), file.stat()) for file in files)
        ]
        state = _digest(states)
        known = self._known.get(str(path.resolve()))
        if known is None or known[0] != state:
            parts = [(file.relative_to(path).as_posix(), file_sha256(file)) for file in files]
            content = _digest(parts) if path.is_dir() else parts[0][1]
            known = self._known[str(path.resolve())] = [state, content]
            self._new = True
        return known[1]

    def save(self) -> None:
        """Remember them for the next process."""
        if self._memory is not None and self._new:
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            replace_text(self._memory, json.dumps(self._known, indent=0))
            self._new = False


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for root, directories, names in os.walk(path, followlinks=True):
        directories[:] = [name for name in directories if name[0] != "."]
        paths = (Path(root, name) for name in names if name[0] != ".")
        yield from (path for path in paths if path.is_file())  # a link may lead nowhere


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data).encode()).hexdigest()
