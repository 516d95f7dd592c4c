"""Leaving out of a corpus what also stands in evaluation sets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from lit_llm.data.corpus_source import CorpusSource
from lit_llm.data.documents import Document, document_text, read_documents
from lit_llm.data.notices import count
from lit_llm.data.text_key import text_key


def known_texts(
    evaluation_sets: Sequence[CorpusSource], cache_dir: Path | None = None
) -> dict[bytes, str]:
    """The texts of evaluation sets by their ``text_key``, each with the first set that has it.

    About 100 bytes for each text are held in memory.

    Raises:
        OSError, ValueError: as ``read_documents``.
    """
    known: dict[bytes, str] = {}
    for source in evaluation_sets:
        for document in read_documents(source, cache_dir=cache_dir):
            known.setdefault(text_key(document_text(document)), source.label)
    return known


def without_texts(
    documents: Iterable[Document], known: Mapping[bytes, str], notices: dict[str, int]
) -> Iterator[Document]:
    """The documents whose whole text is not known, white space and ``<br />`` aside.

    A document that holds a known text beside others stays.

    Args:
        documents: as they are read.
        known: from ``known_texts``.
        notices: receives how many were left out, by evaluation set.
    """
    for document in documents:
        name = known.get(text_key(document_text(document)))
        if name is None:
            yield document
        else:
            count(notices, f"documents left out, for their text stands in {name}")
