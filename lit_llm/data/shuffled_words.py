"""A negative control: documents without the order of their words."""

from __future__ import annotations

import random
from collections.abc import Iterator

from lit_llm.data.documents import Document
from lit_llm.data.paragraphs import Paragraphs


def with_shuffled_words(document: Document) -> Document:
    """The document with its words in random order, as many in each sentence or paragraph as before.

    What words there are, how often and in which document stays; how they follow each other is
    gone. The order is a function of the document's id.
    """
    units = document["paragraphs"]
    words = [word for text in _texts(units) for word in text.split()]
    random.Random(document["id"]).shuffle(words)
    dealt = iter(words)

    def deal(text: str) -> str:
        return " ".join(next(dealt) for _ in text.split())

    paragraphs = [
        deal(unit) if isinstance(unit, str) else [deal(sentence) for sentence in unit]
        for unit in units
    ]
    shuffled = document.copy()
    shuffled["paragraphs"] = paragraphs  # type: ignore[typeddict-item]
    return shuffled


def _texts(paragraphs: Paragraphs) -> Iterator[str]:
    for unit in paragraphs:
        yield from [unit] if isinstance(unit, str) else unit
