"""Files that survive a crash: what is renamed into place has reached the disk before."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_MANY_FILES = 1000  # flushed one by one, the 100,000 files of IMDB take two minutes


def flush(path: Path) -> None:
    """Wait until a file's content, or a directory's entries, have reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_tree(directory: Path) -> None:
    """The same for a directory and everything in it."""
    paths = [*directory.rglob("*"), directory]
    if len(paths) > _MANY_FILES and sys.platform == "linux":
        os.sync()  # elsewhere it does not wait
        return
    for path in paths:
        flush(path)


def replace_text(path: Path, text: str) -> None:
    """Write a file beside its place, flush it, and rename it there; line ends stay as they are."""
    staging = path.with_name(f".{path.name}.new")
    with staging.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(staging, path)
