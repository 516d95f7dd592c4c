"""Raw text in documents, whatever is made of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lit_llm.data import toy
from lit_llm.data.cache import ArrowTable, package_hash
from lit_llm.data.corpus_source import CorpusSource, corpus_files
from lit_llm.data.data_module import BatchConfig, PackedDataModule, Split
from lit_llm.data.documents import Document, document_text, read_documents
from lit_llm.data.known_texts import known_texts, without_texts
from lit_llm.data.shuffled_words import with_shuffled_words
from lit_llm.data.sources import source_hash
from lit_llm.data.toy.documents import toy_documents
from lit_llm.data.validation_groups import is_validation, refuse_unknown_groups

TOY = "toy"
"""The path of the built-in corpus (``./toy`` is a directory of that name)."""


class CorpusDataModule(PackedDataModule):
    """Documents of one or several sources, some of them set aside for validation.

    What validates is decided by group (book, file, text), never in the middle of one, and is the
    same whatever the run's seed.

    Args:
        sources: where the text lies; ``path: toy`` is the built-in corpus.
        validation_fraction: of the groups.
        validation_groups: groups that validate in any case.
        leave_out: evaluation sets whose texts may not be trained on: documents with such a text
            are left out, and counted.
        max_length: tokens of the longest item, special tokens included.
        batches: how items are laid out in batches.
        cache_dir: where tokenised data is kept.
    """

    def __init__(
        self,
        sources: list[CorpusSource],
        validation_fraction: float,
        validation_groups: list[str] | None,
        leave_out: list[CorpusSource] | None,
        max_length: int | None,
        batches: BatchConfig,
        cache_dir: str | None,
    ) -> None:
        super().__init__(max_length, batches, cache_dir)
        if not sources:
            raise ValueError("data.sources is empty: name at least one source of text")
        names = [source.label for source in sources]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(
                f"data.sources: two are called {twice.pop()!r}; give one of them another name"
            )
        self.sources = list(sources)
        self.validation_fraction = validation_fraction
        self.validation_groups = list(validation_groups or [])
        self.leave_out = list(leave_out or [])

    def read(self, split: Split) -> Iterator[Mapping[str, Any]]:
        """The split's documents, source by source.

        Raises:
            ValueError: no document is left for the split, or a validation group is not there.
        """
        notices = self.notices.setdefault(split, {})
        groups: set[str] = set()
        found, of_split = 0, 0

        def own(documents: Iterable[Document]) -> Iterator[Document]:
            nonlocal of_split
            for document in documents:
                groups.add(document["group"])
                if self._validates(document) == (split == "val"):
                    of_split += 1
                    yield document

        for number, source in enumerate(self.sources):
            # An empty document is of no split: training counts them all.
            documents = own(self._documents(source, notices if split == "train" else {}))
            for document in without_texts(documents, self._known, notices):
                found += 1
                if source.shuffle_words:
                    document = with_shuffled_words(document)
                yield stored(document, number)
        refuse_unknown_groups(self.validation_groups, groups)
        if not found:
            raise _nothing_left(split, of_split, len(groups), self.validation_fraction)

    def source(self, split: Split) -> Any:
        """Content hashes of all files, and how they are read and split."""
        if split == "test" or (split == "val" and not self._has_validation):
            return None
        splitting = [self.validation_fraction, sorted(self.validation_groups)]
        return [self._contents, splitting]

    def find_label_names(self, examples: Iterable[dict[str, Any]]) -> list[str]:
        """Raw text has none."""
        return []

    def texts(self, examples: Iterable[dict[str, Any]]) -> Iterator[str]:
        """The documents' paragraphs."""
        for example in examples:
            document = self.document(example)
            for paragraph in document["paragraphs"]:
                yield paragraph if isinstance(paragraph, str) else " ".join(paragraph)

    def document(self, example: Mapping[str, Any]) -> Document:
        """A document as it was read."""
        paragraphs = example["paragraphs"]
        return Document(
            id=example["id"],
            source=self.sources[example["source_ids"]].label,
            group="",
            paragraphs=paragraphs if example["has_sentences"] else [p[0] for p in paragraphs],
        )

    def document_texts(self, examples: Iterable[Mapping[str, Any]]) -> Iterator[str]:
        """The documents, each as one text."""
        return (document_text(self.document(example)) for example in examples)

    def item_weights(self) -> NDArray[Any] | None:
        """The weight of each training item's source."""
        weights = np.array([source.weight for source in self.sources])
        if (weights == 1).all():
            return None
        chosen: NDArray[np.float64] = weights[self._items["train"].column("source_ids")]
        return chosen

    @property
    def _has_validation(self) -> bool:
        return bool(self.validation_fraction or self.validation_groups)

    def _validates(self, document: Document) -> bool:
        return is_validation(document["group"], self.validation_fraction, self.validation_groups)

    def _documents(self, source: CorpusSource, notices: dict[str, int]) -> Iterator[Document]:
        if source.path == TOY:
            return _toy_documents(source)
        return read_documents(source, notices, self.cache_dir)

    @cached_property
    def _known(self) -> Mapping[bytes, str]:
        return known_texts(self.leave_out, self.cache_dir)

    @cached_property
    def _contents(self) -> Any:
        return [
            [
                {**asdict(source), "path": "", "weight": 0, "name": source.label},
                self._hashes(source),
            ]
            for source in (*self.sources, *self.leave_out)
        ]

    def _hashes(self, source: CorpusSource) -> Any:
        if source.path == TOY:
            return package_hash(toy)
        files = corpus_files(source, self.cache_dir)
        return [[name, source_hash(file)] for name, file in files.items()]


def _nothing_left(split: Split, of_split: int, num_groups: int, fraction: float) -> ValueError:
    """What to say when no document of a split is left."""
    purpose = "validation" if split == "val" else "training"
    if of_split:
        return ValueError(
            f"no document is left for {purpose}: data.leave_out holds the text of all {of_split:,}"
            " of them; give other text, or leave that evaluation set out of data.leave_out"
        )
    if num_groups == 1:
        return ValueError(
            f"no document is left for {purpose}: the text is a single group (document, file, or "
            "value of group_column), which is never split; give its parts by document_marker or "
            "group_column, or set data.validation_fraction to 0 to train without validation"
        )
    return ValueError(
        f"no document is left for {purpose}: of {num_groups:,} groups, "
        f"data.validation_fraction = {fraction} takes {'none' if split == 'val' else 'all'}; "
        "change it, or name data.validation_groups"
    )


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


def _toy_documents(source: CorpusSource) -> Iterator[Document]:
    for story in toy_documents():
        paragraphs = [list(story.sentences)]
        yield Document(id=story.id, source=source.label, group=story.id, paragraphs=paragraphs)
