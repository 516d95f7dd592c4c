"""What files and directories hold, as hashes that are the same on every machine."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from lit_llm.durable import replace_text

_PATH_KEY = re.compile(r"(?:[^.]+\.)*?(?:[^.\[]*path|(source|init_from|tokenizer))(?=[.\[]|$)")
"""A setting that names a file or directory, and perhaps what stands below it (``path.train``)."""

_SIZE = re.compile(r"(gpt2-)?(tiny|mini|small|medium|base)")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def path_in(key: str, value: Any) -> Path | None:
    """The path that a setting's value names, whether or not it exists; None if it names none.

    A path has a slash in it, or stands under a key of which a part ends in ``path`` or is
    ``source``, ``init_from`` or ``tokenizer``: a backbone's, for which a run is its ``best/`` and a
    named size no path. ``pkg://a/b`` is the directory ``b`` of the installed package ``a``. A hub
    id looks like a path that is not here. What the trainer is given, it writes.
    """
    if not isinstance(value, str) or key.startswith("trainer."):
        return None
    if "${" in value or "\n" in value:
        return None
    if value.startswith("pkg://"):
        package, _, inside = value.removeprefix("pkg://").partition("/")
        found = importlib.util.find_spec(package) if package.isidentifier() else None
        roots = list((found and found.submodule_search_locations) or [])
        return Path(roots[0], inside) if roots else Path(value)
    named = _PATH_KEY.match(key)
    of_backbone = named is not None and named[1] is not None
    if not value.strip("/. ") or not (named or "/" in value):
        return None
    if of_backbone and _SIZE.fullmatch(value):
        return None
    try:
        path = Path(value).expanduser()
    except RuntimeError:  # ~ of a user that is none
        return None
    return path / "best" if of_backbone and (path / "best").is_dir() else path


def must_exist(key: str, value: Any) -> bool:
    """Whether a setting can be nothing but a path; for a backbone, hub ids have one slash."""
    named = _PATH_KEY.match(key)
    if path_in(key, value) is None or named is None:
        return False
    return named[1] is None or value[0] in "/.~" or value.count("/") > 1


def path_key(key: str) -> str:
    """The setting that names a path, without what stands below it: ``path`` for ``path.train``."""
    named = _PATH_KEY.match(key)
    return named[0] if named else key


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
                self._known = _remembered(json.loads(memory.read_text(encoding="utf-8")))
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
        """Remember them for the next process, if that can be written."""
        if self._memory is not None and self._new:
            with suppress(OSError):
                self._memory.parent.mkdir(parents=True, exist_ok=True)
                replace_text(self._memory, json.dumps(self._known, indent=0))
            self._new = False


def newest_change(path: Path) -> float:
    """When something in a file or directory changed last, in seconds since 1970.

    Infinite if there is no such path: what was there is not known.
    """
    if not path.exists():
        return math.inf
    walked = os.walk(path, followlinks=True)
    paths = [path, *_files(path), *(Path(root) for root, _, _ in walked)]
    return max(place.stat().st_mtime for place in paths)


def _remembered(data: Any) -> dict[str, list[str]]:
    return {
        str(path): known
        for path, known in dict(data).items()
        if isinstance(known, list) and len(known) == 2 and all(isinstance(k, str) for k in known)
    }


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
