"""Where raw text for pre-training lies, and how it is to be read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

from lit_llm.data.archives import unpacked
from lit_llm.data.splits import HubSplit, find_hub_split, is_hub_id, splits_of
from lit_llm.data.tables import TABLE_SUFFIXES, table_suffix

Markup = Literal["none", "html_breaks"]
TEXT_SUFFIX = ".txt"


@dataclass(frozen=True)
class CorpusSource:
    """One source of a corpus. Several, with weights, make up the training data.

    Attributes:
        path: a ``.txt`` file, a table (``.parquet``, ``.jsonl``, ``.csv``, ``.tsv``), a directory
            that holds files of one of these kinds (read in the order of their names, directories
            in it too), an archive of such a directory, or a hub id. ``.gz`` behind the suffix of a
            text format is understood.
        name: for logs and metrics by source; default from the path, which need not be unique.
        weight: how often its documents are seen in one data epoch, > 0; 0.5 is every other. Where
            the corpus is streamed: its share of the documents, beside the other sources' weights.
        text_column: column of a table that holds a document: a string (a blank line between
            paragraphs), a list of strings (paragraphs), or a list of lists of strings (paragraphs
            as sentences: these are kept, and no splitter is asked).
        group_column: column of a table whose value says what a document belongs to (a book, an
            author): documents of one group are never on two sides of a split. Default: a file of
            a directory is a group; elsewhere equal texts are.
        document_marker: plain text: a line that ends a document (``<|endoftext|>``), white space
            around it aside. Default: each file is one document, and is held in memory whole.
        markup: ``html_breaks``: ``<br />`` ends a line, so two of them a paragraph, as in IMDB.
        tokenised: words and punctuation stand apart, as in the Brown Corpus: they are put together
            again (``detokenise``).
        shuffle_words: a negative control: each document's words in random order
            (``with_shuffled_words``).
        hub_split: the split to read of a hub data set.
        hub_config: the hub data set's configuration, if it has several.

    Raises:
        ValueError: a weight that is not a finite number > 0, an unknown ``markup``, an empty path,
            name or marker.
    """

    path: str
    name: str | None = None
    weight: float = 1.0
    text_column: str = "text"
    group_column: str | None = None
    document_marker: str | None = None
    markup: Markup = "none"
    tokenised: bool = False
    shuffle_words: bool = False
    hub_split: str = "train"
    hub_config: str | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise ValueError(
                f"{self.path}: weight must be a finite number above 0, not {self.weight}; leave"
                " a source out rather than give it 0"
            )
        if self.markup not in get_args(Markup):
            raise ValueError(
                f"{self.path}: markup must be {' or '.join(get_args(Markup))}, not {self.markup!r}"
            )
        for key in ("path", "name", "document_marker"):
            value = getattr(self, key)
            if value is not None and not value.strip():
                raise ValueError(f"{key} of corpus source {self.path!r} is empty; write one")

    @cached_property
    def label(self) -> str:
        """``name``, else one from the path: ``novels_train`` for ``novels/train.parquet``."""
        if self.name is not None:
            return self.name
        if not Path(self.path).exists():  # a hub id
            return self.path
        path = Path(self.path).resolve()
        stem = path.name.split(".")[0]
        return f"{path.parent.name}_{stem}" if splits_of(stem) else stem


def corpus_files(
    source: CorpusSource, cache_dir: Path, streaming: bool = False
) -> dict[str, Path | HubSplit]:
    """The files of a source (or its hub split) by name, in the order in which they are read.

    Args:
        source: where to look.
        cache_dir: where an archive is unpacked, once.
        streaming: a hub id is not downloaded, but read from the hub as it is needed.

    Returns:
        A file's path below its directory, with ``/``; the name of a single file; a hub split's.

    Raises:
        OSError: no such path and no hub id, or the hub cannot be reached.
        ValueError: a directory without a file of a known kind, with several kinds, or with the
            files of several splits; the message lists what was found.
    """
    path = Path(source.path)
    if is_hub_id(source.path):
        split = find_hub_split(source.path, source.hub_split, source.hub_config, streaming)
        return {split.name: split}
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or directory; pass one, or a hub id")
    path = unpacked(path, cache_dir)
    if path.is_dir() and (path / "dataset_dict.json").exists():
        split = find_hub_split(path, source.hub_split)
        return {split.name: split}
    if path.is_dir():
        return {file.relative_to(path).as_posix(): file for file in _files_of(path)}
    return {path.name: path}


def is_plain_text(file: Path | HubSplit) -> bool:
    """Whether a file is read by line rather than by column."""
    return isinstance(file, Path) and table_suffix(file) == TEXT_SUFFIX


def _files_of(directory: Path) -> list[Path]:
    known = (TEXT_SUFFIX, *TABLE_SUFFIXES)
    files = sorted(
        file
        for file in directory.rglob("*")
        if table_suffix(file) in known and file.is_file() and not _hidden(file, directory)
    )
    names = ", ".join(str(file.relative_to(directory)) for file in files[:8])
    if len({table_suffix(file) for file in files}) != 1:
        found = f"files of several kinds ({names})" if files else "no file of a known kind"
        raise ValueError(
            f"{directory}: {found}; pass one file, or a directory of files of one kind:"
            f" {', '.join(known)}"
        )
    splits = {split for file in files for split in splits_of(file.name)}
    if len(splits) > 1:
        raise ValueError(
            f"{directory}: holds the files of several splits ({names}); pass the one to read"
        )
    return files


def _hidden(file: Path, directory: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(directory).parts)
