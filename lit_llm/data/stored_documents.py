"""Documents as rows of an Arrow file."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from lit_llm.data.cache import ArrowTable
from lit_llm.data.documents import Document


def stored(document: Document, source_id: int) -> dict[str, Any]:
    """A document as a row whose columns have the same types for all sources."""
    paragraphs = document["paragraphs"]
    has_sentences = bool(paragraphs) and not isinstance(paragraphs[0], str)
    return {
        "id": document["id"],
        "source_ids": source_id,
        "has_sentences": int(has_sentences),
        "paragraphs": paragraphs if has_sentences else [[paragraph] for paragraph in paragraphs],
    }


def by_source(examples: ArrowTable) -> dict[int, range]:
    """The numbers of each source's documents, which stand source by source."""
    ids = examples.column("source_ids")
    borders = [0, *(np.flatnonzero(np.diff(ids)) + 1).tolist(), len(ids)]
    return {int(ids[a]): range(a, b) for a, b in pairwise(borders)}
