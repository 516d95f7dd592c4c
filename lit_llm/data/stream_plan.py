"""The batches of a streamed corpus: rows of one block after the other, without end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lit_llm.batch import Item
from lit_llm.data.batch_rows import BatchRows, number_rows, share_rows
from lit_llm.data.rows import Rows, epoch_order, one_per_row, pack_in_order
from lit_llm.data.streamed_blocks import Block, StreamedBlocks


@dataclass(frozen=True)
class _Packed:
    """A block in rows.

    Attributes:
        bookmark: from where the block is made again.
        first_row: its place in the rank's rows.
        first_item: its place in the rank's items.
    """

    block: Block
    lengths: NDArray[np.integer[Any]]
    rows: Rows
    bookmark: dict[str, Any]

    @property
    def first_row(self) -> int:
        return int(self.bookmark["row"])

    @property
    def first_item(self) -> int:
        return int(self.bookmark["item"])


class StreamPlan:
    """One rank's batches, and its items: the plan and the store of its loader.

    Each block is shuffled, packed by itself, and its rows follow those of the one before; a batch
    may hold the last rows of one and the first of the next. So no item is dropped or seen twice,
    and a batch is a function of (seed, corpus, rank, world size, number). A bookmark, the state
    before a block, is no more than the place from which a batch is reached without reading
    everything before it: any bookmark that is not behind the batch gives the same one.

    Blocks are kept from the optimizer step of the batch asked for last; a batch before it is
    reached by starting again. An item's id is its number among the rank's items times the number
    of ranks, plus the rank.

    Args:
        blocks: of this rank.
        seed: of the order.
        tokens_per_batch: of all ranks, as in ``TokensPerBatch``.
        row_length: L, tokens.
        steps_per_epoch: optimizer steps in an epoch of the loader.
        packs: several items may stand in a row.
        rank: this process; it takes as many of a batch's rows as in ``TokensPerBatch``.
        world_size: W, ranks.
        accumulate_grad_batches: batches of an optimizer step.

    Raises:
        ValueError: there are fewer rows than ranks.
    """

    def __init__(
        self,
        blocks: StreamedBlocks,
        *,
        seed: int,
        tokens_per_batch: int,
        row_length: int,
        steps_per_epoch: int,
        packs: bool = True,
        rank: int = 0,
        world_size: int = 1,
        accumulate_grad_batches: int = 1,
    ) -> None:
        self.blocks, self.seed, self.row_length, self.packs = blocks, seed, row_length, packs
        self.rank, self.world_size, self.per_step = rank, world_size, accumulate_grad_batches
        rows = tokens_per_batch // row_length
        if rows < world_size:
            raise ValueError(
                f"tokens_per_batch = {tokens_per_batch} holds {rows} rows of {row_length} tokens, "
                f"fewer than the {world_size} ranks: raise tokens_per_batch or lower row_length"
            )
        self.rows_per_batch = len(share_rows(rows, rank, world_size))
        self._batches_per_epoch = steps_per_epoch * accumulate_grad_batches
        self._totals: tuple[int, dict[str, float]] = (-1, {})
        self._start = {"row": 0, "item": 0, "blocks": blocks.state_dict()}
        self.go_to(self._start)

    def __len__(self) -> int:
        return self._batches_per_epoch

    def batch(self, index: int, rank: int) -> BatchRows:
        """The rank's rows of a batch; ``rank`` is this one.

        Raises:
            OSError, ValueError: as ``StreamedBlocks.make_next``; an item is longer than a row.
        """
        assert rank == self.rank
        first = index * self.rows_per_batch
        self._reach(self._first_row_of_step(index), first + self.rows_per_batch)
        rows: list[range] = []
        items: list[int] = []
        lengths: list[int] = []
        for row in range(first, first + self.rows_per_batch):
            packed = self._block_with(row)
            chosen = packed.rows[row - packed.first_row]
            rows.append(range(len(items), len(items) + len(chosen)))
            items += [packed.first_item + i for i in chosen]
            lengths += packed.lengths[chosen].tolist()
        row_length = self.row_length if self.packs else None
        numbered = number_rows(rows, np.array(lengths, np.int32), row_length)
        ids = [item * self.world_size + self.rank for item in items]
        return BatchRows(ids, numbered.rows, numbered.row_length)

    def __getitem__(self, item_id: int) -> Item:
        """An item of the batch asked for last, or of its optimizer step."""
        packed, at = self._place(item_id)
        item: Item = packed.block.items[at]
        return item

    def totals(self, index: int) -> dict[str, float]:
        """How many targets this rank has in the step of a batch, by loss term; the last is kept."""
        first = index - index % self.per_step
        if self._totals[0] != first:
            step = range(first, first + self.per_step)
            counts: Counter[str] = Counter()
            for item_id in (i for b in step for i in self.batch(b, self.rank).item_ids):
                packed, at = self._place(item_id)
                for name, targets in packed.block.target_counts.items():
                    counts[name] += int(targets[at])
            self._totals = first, dict(counts)
        return self._totals[1]

    def bookmark(self, index: int) -> dict[str, Any]:
        """Plain data: the last known place that is not behind a batch's optimizer step."""
        row = self._first_row_of_step(index)
        known = [self._start, *(packed.bookmark for packed in self._packed), self._next]
        return max((b for b in known if b["row"] <= row), key=lambda b: int(b["row"]))

    def go_to(self, bookmark: Mapping[str, Any]) -> None:
        """Read on from a bookmark."""
        self._packed: list[_Packed] = []
        self._next = dict(bookmark)
        self.blocks.load_state_dict(bookmark["blocks"])

    def _first_row_of_step(self, index: int) -> int:
        return (index - index % self.per_step) * self.rows_per_batch

    def _reach(self, begin: int, end: int) -> None:
        """Hold the blocks of rows ``begin`` to ``end``, and none before."""
        if begin < (self._packed[0].first_row if self._packed else self._next["row"]):
            self.go_to(self._start)
        while self._next["row"] < end:
            self._read_block()
            self._forget(begin)
        self._forget(begin)

    def _forget(self, begin: int) -> None:
        while self._packed and self._packed[0].first_row + len(self._packed[0].rows) <= begin:
            del self._packed[0]

    def _read_block(self) -> None:
        here = self._next
        block = self.blocks.make_next()
        lengths = block.items.lengths
        order = epoch_order(len(lengths), self.seed, here["blocks"]["block"])
        rows = pack_in_order(lengths, order, self.row_length) if self.packs else one_per_row(order)
        self._packed.append(_Packed(block, lengths, rows, here))
        self._next = {
            "row": here["row"] + len(rows),
            "item": here["item"] + len(lengths),
            "blocks": self.blocks.state_dict(),
        }

    def _block_with(self, row: int) -> _Packed:
        return next(p for p in reversed(self._packed) if p.first_row <= row)

    def _place(self, item_id: int) -> tuple[_Packed, int]:
        item = item_id // self.world_size
        packed = next(p for p in reversed(self._packed) if p.first_item <= item)
        return packed, item - packed.first_item
