"""Raw text in documents, whatever is made of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lit_llm.batch import Item
from lit_llm.data.batch_config import BatchConfig
from lit_llm.data.cache import ArrowTable, fingerprint, write_table
from lit_llm.data.corpus_identity import TOY, content_identity, stream_identity, toy_corpus
from lit_llm.data.corpus_source import CorpusSource
from lit_llm.data.data_module import PackedDataModule, Split
from lit_llm.data.documents import Document, document_text, read_documents
from lit_llm.data.known_texts import known_texts, without_texts
from lit_llm.data.loader import PackedLoader
from lit_llm.data.notices import count
from lit_llm.data.shuffled_words import with_shuffled_words
from lit_llm.data.stored_documents import stored
from lit_llm.data.stream_loader import StreamLoader
from lit_llm.data.stream_plan import StreamPlan
from lit_llm.data.streamed_blocks import Block
from lit_llm.data.streaming import StreamingConfig, check_streaming, stream_plan
from lit_llm.data.validation_groups import (
    is_validation,
    nothing_left,
    refuse_unknown_groups,
)


class CorpusDataModule(PackedDataModule):
    """Documents of one or several sources, some of them set aside for validation.

    What validates is decided by group (book, file, text), never in the middle of one, and is the
    same whatever the run's seed; or it is what ``validation_sources`` hold.

    Args:
        sources: where the text lies; ``path: toy`` is the built-in corpus.
        validation_fraction: of the groups.
        validation_groups: groups that validate in any case.
        validation_sources: text to validate on instead, whole; what of it stands in ``sources`` is
            left out of training, and counted.
        streaming: read the training documents while the model trains, rather than tokenise all of
            them beforehand; None for that.
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
        validation_sources: list[CorpusSource] | None,
        leave_out: list[CorpusSource] | None,
        streaming: StreamingConfig | None,
        max_length: int | None,
        batches: BatchConfig,
        cache_dir: str | None,
    ) -> None:
        super().__init__(max_length, batches, cache_dir)
        if not sources:
            raise ValueError("data.sources is empty: name at least one source of text")
        self.sources = list(sources)
        self.validation_fraction = validation_fraction
        self.validation_groups = list(validation_groups or [])
        self.validation_sources = list(validation_sources or [])
        self.leave_out = list(leave_out or [])
        self.streaming = streaming
        self.streams_train = streaming is not None
        self._identities: dict[CorpusSource, Any] = {}
        if twice := {name for name in self.source_names if self.source_names.count(name) > 1}:
            raise ValueError(
                f"data.sources: two are called {twice.pop()!r}; give one of them another name"
            )
        self._check_validation()

    @property
    def source_names(self) -> list[str]:
        """The sources, those of validation last, in the order of ``source_ids``."""
        return [source.label for source in self._all_sources]

    def read(self, split: Split) -> Iterator[Mapping[str, Any]]:
        """The split's documents, source by source.

        Raises:
            ValueError: no document is left for the split, or a validation group is not there.
        """
        notices = self.notices.setdefault(split, {})
        if split == "val" and self.validation_sources:
            for number, source in enumerate(self.validation_sources, len(self.sources)):
                for document in read_documents(source, notices, self.cache_dir):
                    yield self._row(document, number)
            return
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
                yield self._row(document, number)
        refuse_unknown_groups(self.validation_groups, groups)
        if not found:
            raise nothing_left(split, of_split, len(groups), self.validation_fraction)

    def source(self, split: Split) -> Any:
        """Content hashes of all files, and how they are read and split."""
        if split == "test":
            return None
        if split == "val" and self.validation_sources:
            return self._contents(self.validation_sources)
        if self.streams_train or (split == "val" and not self._has_validation):
            return None
        splitting = [self._fraction, sorted(self.validation_groups)]
        return [self._contents([*self.sources, *self._held_out]), splitting]

    def _row(self, document: Document, source_id: int) -> dict[str, Any]:
        shuffled = self._all_sources[source_id].shuffle_words
        return stored(with_shuffled_words(document) if shuffled else document, source_id)

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
            source=self._all_sources[example["source_ids"]].label,
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

    def num_variants(self) -> int:
        """As ``PackedDataModule.num_variants``.

        Raises:
            ValueError: items are not kept.
        """
        if self.streaming is not None:
            raise ValueError(
                "data.streaming keeps no items, so nothing that a teacher says of them can be kept "
                "either: leave model.cache at false"
            )
        return super().num_variants()

    def example_field(self, name: str, key: str) -> Sequence[Any]:
        """A corpus knows the ``source`` of each training item, (B,)."""
        if name != "source":
            raise ValueError(f"{key}: items of a corpus have no {name!r}; they have 'source'")
        numbers: list[int] = self._items["train"].column("source_ids").tolist()
        return [self.source_names[number] for number in numbers]

    def train_dataloader(self) -> PackedLoader:
        """Packed training batches; the loader's length is the same in every epoch."""
        if self.streaming is None:
            return super().train_dataloader()
        return StreamLoader(
            self._stream_plan(self.streaming),
            pad_token_id=self._backbone().tokenizer.pad_token_id,
            prepare=self.prepare("train"),
        )

    def block_items(
        self, examples: ArrowTable, backbone: Any, notices: dict[str, int], seed: int
    ) -> Iterator[Item]:
        """Items of a block of streamed documents, as ``items``; ``seed`` is the block's own."""
        return self.items(examples, backbone, notices)

    def target_counts_of(self, items: ArrowTable) -> dict[str, NDArray[Any]]:
        """How many targets each of some training items has, as ``target_counts``."""
        return {}

    def setup(self, stage: str) -> None:
        """Open the cache in every process.

        Raises:
            ValueError: a corpus is streamed, and the settings leave it no meaning.
        """
        super().setup(stage)
        if stage == "fit" and self.streaming is not None:
            assert self.max_length is not None
            check_streaming(self.streaming, self.batches, self.max_length, self.trainer)

    def _prepare(self) -> None:
        if self.streaming is not None and self._backbone().tokenizer is None:
            raise ValueError(
                "backbone.tokenizer: train would read all of the corpus, which data.streaming does "
                "not: train one on a part of the text, without streaming, and pass that run's "
                "directory"
            )
        super()._prepare()
        if self.streaming is not None:
            parts = [stream_identity(source, self.cache_dir) for source in self.sources]
            options = [self.max_length, asdict(self.streaming), self.item_options()]
            state = self._backbone().tokenizer_state()
            held_out = self._contents(self._held_out)
            self.fingerprints["train"] = fingerprint([parts, held_out, state, options])

    def _stream_plan(self, streaming: StreamingConfig) -> StreamPlan:
        assert self.max_length is not None
        assert self.trainer is not None
        notices = self.notices["train"] = {}
        known = self._known
        return stream_plan(
            self.sources,
            streaming,
            self.batches,
            self.trainer,
            keep=lambda documents: without_texts(documents, known, notices),
            make=partial(self._make_block, notices),
            notices=notices,
            seed=self._seed(),
            cache_dir=self.cache_dir,
            max_length=self.max_length,
            packs=self._backbone().packs,
        )

    def _make_block(
        self,
        notices: dict[str, int],
        documents: Iterable[tuple[int, Document]],
        directory: Path,
        seed: int,
    ) -> Block:
        rows = (self._row(document, source_id) for source_id, document in documents)
        write_table(directory / "examples.arrow", rows)
        examples, found = ArrowTable(directory / "examples.arrow"), dict[str, int]()
        items = self.block_items(examples, self._backbone(), found, seed)
        write_table(directory / "items.arrow", items)
        for what, number in found.items():
            count(notices, what, number)
        table = ArrowTable(directory / "items.arrow")
        return Block(table, self.counts_of_terms(self.target_counts_of(table), table))

    @property
    def _all_sources(self) -> list[CorpusSource]:
        return [*self.sources, *self.validation_sources]

    @property
    def _held_out(self) -> list[CorpusSource]:
        return [*self.leave_out, *self.validation_sources]

    @property
    def _fraction(self) -> float:
        return 0.0 if self.validation_sources else self.validation_fraction

    @property
    def _has_validation(self) -> bool:
        return bool(self._fraction or self.validation_groups)

    def _validates(self, document: Document) -> bool:
        return is_validation(document["group"], self._fraction, self.validation_groups)

    def _check_validation(self) -> None:
        if self.validation_sources and self.validation_groups:
            raise ValueError(
                "data.validation_sources and data.validation_groups exclude each other: set one of "
                "them to null"
            )
        if self.streaming is not None and self._has_validation:
            raise ValueError(
                "data.streaming does not read the corpus to find its validation documents: name "
                "data.validation_sources, or set data.validation_fraction to 0 (and "
                "validation_groups to null) to train without"
            )
        unread = [*self.validation_sources, *(self.sources if self.streaming is not None else ())]
        if any(source.path == TOY for source in unread):
            raise ValueError(
                "the built-in corpus (path: toy) is neither streamed nor a validation source: it "
                "is split by data.validation_fraction"
            )

    def _documents(self, source: CorpusSource, notices: dict[str, int]) -> Iterator[Document]:
        if source.path == TOY:
            return toy_corpus(source)
        return read_documents(source, notices, self.cache_dir)

    @cached_property
    def _known(self) -> Mapping[bytes, str]:
        return known_texts(self._held_out, self.cache_dir)

    def _contents(self, sources: list[CorpusSource]) -> list[Any]:
        found = self._identities  # all of a file is read for it
        for source in sources:
            if source not in found:
                found[source] = content_identity(source, self.cache_dir)
        return [found[source] for source in sources]
