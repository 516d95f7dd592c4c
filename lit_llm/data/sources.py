"""From a user's path to the files of each split, under the names a run uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lit_llm.data.archives import is_archive, unpacked
from lit_llm.data.cache import file_hash
from lit_llm.data.splits import HubSplit, find_splits
from lit_llm.data.tables import TABLE_SUFFIXES, table_suffix

_NAMES = {"train": "train", "dev": "val", "test": "test"}


def split_sources(
    path: str | Mapping[str, str], cache_dir: Path, required: Sequence[str] = ("train",)
) -> dict[str, Path | HubSplit]:
    """The source of ``train``, ``val`` and ``test``, as many as there are (``find_splits``).

    An archive is unpacked below ``cache_dir`` (``unpacked``), and stands for its directory.
    """
    is_file = isinstance(path, str) and is_archive(Path(path))
    found = find_splits(unpacked(Path(str(path)), cache_dir) if is_file else path, required)
    return {_NAMES[name]: source for name, source in found.items()}


def source_hash(source: Path | HubSplit) -> str:
    """What changes whenever the source's content does."""
    if isinstance(source, HubSplit):
        return f"{source.name}:{source.dataset._fingerprint}"
    return file_hash(source)


def is_table(source: Path | HubSplit) -> bool:
    """Whether the source has named columns, rather than CoNLL's column form."""
    return isinstance(source, HubSplit) or table_suffix(source) in TABLE_SUFFIXES


Paths = str | dict[str, str]
"""A directory, an archive of one, a hub id, or a file for each of train, dev and test."""
