"""Streamed documents, some thousands at a time, made into items."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray

from lit_llm.data.cache import ArrowTable
from lit_llm.data.document_stream import DocumentStream
from lit_llm.data.documents import Document
from lit_llm.data.notices import count


@dataclass(frozen=True)
class Block:
    """Items of consecutive documents of every source.

    Attributes:
        items: from an Arrow file that is unlinked already: it takes its room on the disk for as
            long as it is mapped, and leaves nothing behind however the process ends.
        target_counts: how many targets each item has, by loss term.
    """

    items: ArrowTable
    target_counts: Mapping[str, NDArray[Any]]


MakeBlock = Callable[[Iterable[tuple[int, Document]], Path, int], Block]
"""Documents with the number of their source, source by source; a directory for the files; a seed,
another one for each block of each rank."""


class StreamedBlocks:
    """Block after block of one rank's documents.

    Of a source that weighs w of W in all, block b has ``floor((b + 1) n w / W) - floor(b n w / W)``
    documents, n being ``documents_per_block``: its share is exact over the blocks.

    Args:
        streams: of each source.
        documents_per_block: n, about as many in each block.
        make: what makes the items.
        directory: where a block's files are written.
        notices: receives what was read and what ``make`` counts, from the start of the training.
        rank: this process.
        world_size: ranks.

    Raises:
        ValueError: a source of so little weight that some blocks would hold none of it.
    """

    def __init__(
        self,
        streams: Sequence[DocumentStream],
        documents_per_block: int,
        make: MakeBlock,
        directory: Path,
        notices: dict[str, int],
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.streams, self._make, self._directory = list(streams), make, directory
        self.notices = notices
        self._rank, self._world_size = rank, world_size
        total = sum(stream.source.weight for stream in streams)
        self._per_block = [documents_per_block * s.source.weight / total for s in streams]
        for stream, number in zip(streams, self._per_block, strict=True):
            if number < 1:
                raise ValueError(
                    f"streaming.documents_per_block = {documents_per_block:,} leaves no place for "
                    f"{stream.source.label!r}, whose share is {number / documents_per_block:.2g}: "
                    "raise one of the two"
                )
        self._number = 0

    def make_next(self) -> Block:
        """Read, tokenise and cut up the next documents.

        Raises:
            OSError, ValueError: what reading and tokenising refuse; no item came of the documents.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(
            prefix="block-", dir=self._directory, ignore_cleanup_errors=True
        ) as name:
            seed = self._number * self._world_size + self._rank
            block = self._make(self._next_documents(), Path(name), seed)
        self._number += 1
        tokens = int(block.items.lengths.sum())
        read = count(self.notices, "tokens of items", tokens)
        documents = count(self.notices, "documents read", 0)
        passes = ", ".join(f"{s.source.label} {s.passes + 1}" for s in self.streams)
        rank_zero_info(
            f"streaming, block {self._number}: {len(block.items):,} items of {tokens:,} tokens; "
            f"so far this rank has read {documents:,} documents and made {read:,} tokens of them "
            f"(pass: {passes})"
        )
        return block

    def state_dict(self) -> dict[str, Any]:
        """Plain data: what has been made, and where each source stands."""
        return {
            "block": self._number,
            "notices": dict(self.notices),
            "sources": [stream.state_dict() for stream in self.streams],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a stored state, the one before the next block."""
        self._number = state["block"]
        self.notices.clear()
        self.notices.update(state["notices"])
        for stream, stored in zip(self.streams, state["sources"], strict=True):
            stream.load_state_dict(stored)

    def _next_documents(self) -> Iterator[tuple[int, Document]]:
        for source_id, (stream, share) in enumerate(
            zip(self.streams, self._per_block, strict=True)
        ):
            number = int((self._number + 1) * share) - int(self._number * share)
            for document in stream.take(number):
                count(self.notices, "documents read")
                yield source_id, document
