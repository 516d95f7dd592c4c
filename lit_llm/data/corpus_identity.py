"""What a corpus is made of, as plain data: two of the same identity hold the same documents."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lit_llm.data import toy
from lit_llm.data.cache import package_hash
from lit_llm.data.corpus_source import CorpusSource, corpus_files
from lit_llm.data.documents import Document
from lit_llm.data.sources import source_hash
from lit_llm.data.splits import is_hub_id
from lit_llm.data.toy.documents import toy_documents

TOY = "toy"
"""The path of the built-in corpus (``./toy`` is a directory of that name)."""


def content_identity(source: CorpusSource, cache_dir: Path) -> list[Any]:
    """How a source is read, and content hashes of all its files.

    Raises:
        OSError, ValueError: as ``corpus_files``.
    """
    options = {**asdict(source), "path": "", "weight": 0, "name": source.label}
    if source.path == TOY:
        return [options, package_hash(toy)]
    files = corpus_files(source, cache_dir)
    return [options, [[name, source_hash(file)] for name, file in files.items()]]


def stream_identity(source: CorpusSource, cache_dir: Path) -> list[Any]:
    """How a streamed source is read, its weight, and its files' names and sizes, not their content.

    Raises:
        OSError, ValueError: as ``corpus_files``.
    """
    options = {**asdict(source), "path": "", "name": source.label}
    if is_hub_id(source.path):
        return [options, source.path]
    files = corpus_files(source, cache_dir, streaming=True)
    sizes = [
        [name, file.stat().st_size if isinstance(file, Path) else source_hash(file)]
        for name, file in files.items()
    ]
    return [options, sizes]


def toy_corpus(source: CorpusSource) -> Iterator[Document]:
    """The built-in corpus as a source's documents."""
    for story in toy_documents():
        paragraphs = [list(story.sentences)]
        yield Document(id=story.id, source=source.label, group=story.id, paragraphs=paragraphs)
