"""Files that survive a crash: what is renamed into place has reached the disk before."""

from __future__ import annotations

import os
from pathlib import Path


def flush(path: Path) -> None:
    """Wait until a file's content, or a directory's entries, have reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_tree(directory: Path) -> None:
    """The same for a directory and everything in it."""
    for path in directory.rglob("*"):
        flush(path)
    flush(directory)
