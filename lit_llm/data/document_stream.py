"""The documents of a source that does not fit the disk, one after the other without end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from lit_llm.data.cells import Cell
from lit_llm.data.corpus_source import CorpusSource, corpus_files
from lit_llm.data.documents import Document, document_columns, file_documents, row_document
from lit_llm.data.splits import HubSplit
from lit_llm.data.tables import Table, check_columns

Keep = Callable[[Iterable[Document]], Iterator[Document]]
"""Hands on the documents that are trained on."""


class DocumentStream:
    """One rank's documents of a source, in the source's order, over and over.

    All ranks together see each document once in a pass, whatever it is stored in: where the number
    of files is a multiple of the number of ranks, each rank reads files of its own, else each reads
    all of them and keeps every W-th document (``datasets.distributed.split_dataset_by_node``).

    Files on this machine are read by ``file_documents``, a hub id by ``datasets`` from the hub.

    Args:
        source: where the text lies.
        cache_dir: where an archive is unpacked.
        rank: this process, from 0.
        world_size: W, ranks.
        keep: leaves out what may not be trained on.

    Raises:
        OSError, ValueError: as ``corpus_files``, here; as ``read_documents``, while it is read; a
            pass in which no document is kept.
    """

    def __init__(
        self,
        source: CorpusSource,
        cache_dir: Path,
        rank: int = 0,
        world_size: int = 1,
        keep: Keep = iter,
    ) -> None:
        self.source, self.keep, self._rank, self._world_size = source, keep, rank, world_size
        self._files = corpus_files(source, cache_dir, streaming=True)
        self._check_columns()
        self.load_state_dict({"passes": 0, "read": 0, "dataset": None})

    def take(self, count: int) -> Iterator[Document]:
        """The next ``count`` documents."""
        return islice(self._documents, count)

    def state_dict(self) -> dict[str, Any]:
        """Plain data: finished passes, documents read in this one, the data set's own state."""
        running = self._dataset is not None
        state = self._dataset.state_dict() if running else self._start
        return {"passes": self.passes, "read": self._read, "dataset": state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a stored state: what was read of the file at hand is read again, and left."""
        self.passes, self._read, self._start = state["passes"], state["read"], state["dataset"]
        self._dataset: Any = None
        self._documents = self._endless()

    def _endless(self) -> Iterator[Document]:
        while True:
            found = self._start is not None  # the pass may be resumed behind its last document
            for document in self.keep(self._pass()):
                found = True
                yield document
            if not found:
                raise ValueError(
                    f"{self.source.path}: rank {self._rank} of {self._world_size} finds no document"
                    " to train on; give more text, fewer ranks, or leave the source out"
                )
            self.passes, self._read, self._start = self.passes + 1, 0, None

    def _pass(self) -> Iterator[Document]:
        """What is left of a pass."""
        self._dataset = self._open()
        if self._start is not None:
            self._dataset.load_state_dict(self._start)
        for row in self._dataset:
            self._read += 1
            document = self._document(row)
            if document["paragraphs"]:
                yield document
        self._dataset = None

    def _open(self) -> Any:
        """This rank's part of the source, an ``IterableDataset`` of rows or of documents."""
        from datasets import IterableDataset
        from datasets.distributed import split_dataset_by_node

        hub = self._hub_split()
        if hub is None:
            files = list(self._files.items())
            options = {"files": files, "source": self.source}
            dataset = IterableDataset.from_generator(_documents_of, gen_kwargs=options)
        elif isinstance(hub.dataset, IterableDataset):
            dataset = hub.dataset.select_columns(document_columns(self.source))
        else:  # on this machine, in Arrow files
            dataset = hub.dataset.select_columns(document_columns(self.source))
            shards = self._world_size if len(dataset) >= self._world_size else 1
            dataset = dataset.to_iterable_dataset(num_shards=shards)
        return split_dataset_by_node(dataset, self._rank, self._world_size)

    def _document(self, row: Any) -> Document:
        hub = self._hub_split()
        if hub is None:
            document: Document = row
            return document
        shared = self._world_size > 1
        name = f"{hub.name} (rank {self._rank})" if shared else hub.name
        cell = Cell(Table(name, name, False, {}, iter(())), self._read, row)
        return row_document(cell, f"{name}#{self._read}", self.source)

    def _hub_split(self) -> HubSplit | None:
        (first, *_) = self._files.values()
        return first if isinstance(first, HubSplit) else None

    def _check_columns(self) -> None:
        hub = self._hub_split()
        if hub is not None and hub.dataset.column_names is not None:
            check_columns(hub.name, document_columns(self.source), hub.dataset.column_names)


def _documents_of(files: list[tuple[str, Path]], source: CorpusSource) -> Iterator[Document]:
    """The documents of some of a source's files."""
    for name, file in files:
        yield from file_documents(file, name, source, {})
