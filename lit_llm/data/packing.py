"""The packing plan: which examples stand in which row of which global batch.

A plan is a pure function of (lengths, seed, batch number). Nothing of it is stored in a checkpoint
and no batch depends on what was handed out before, so ranks, workers and resumed runs agree.
Batches are numbered from the start of training; a rank takes its slice of each global batch's rows.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lit_llm.data.batch_rows import BatchRows, number_rows, share_rows
from lit_llm.data.curriculum import Curriculum
from lit_llm.data.rows import Rows, balance_rows, epoch_order, one_per_row, pack_in_order

DEFAULT_ROW_LENGTH = 128


class TokensPerBatch:
    """An endless stream of rows in batches of R x L tokens, data epochs end to end.

    Each data epoch is packed by itself; a batch may hold the end of one and the start of the next.
    An epoch of the loader is about one data epoch: a fixed number of batches, a multiple of
    ``accumulate_grad_batches``. Reaching a batch costs packing all data epochs before it, 0.5 s
    for each million examples.

    Args:
        lengths: (B,), tokens of each example.
        seed: of the order.
        tokens_per_batch: of a global batch, filler included; R = ``tokens_per_batch //
            row_length``. Without ``packs``, R rows of one example each, as long as the longest.
        row_length: L, tokens; default 128, or the longest example if that is more.
        packs: several examples may stand in a row.
        world_size: ranks; rank r takes rows R r / W to R (r + 1) / W.
        accumulate_grad_batches: batches to an optimizer step.
        weights: (B,), how often an example is seen in a data epoch; default once.
        curriculum: gives the order in place of seed and weights alone.

    Raises:
        ValueError: no example, one longer than ``row_length`` or empty, or ``tokens_per_batch``
            below ``row_length``.
    """

    def __init__(
        self,
        lengths: ArrayLike,
        *,
        seed: int,
        tokens_per_batch: int,
        row_length: int | None = None,
        packs: bool = True,
        world_size: int = 1,
        accumulate_grad_batches: int = 1,
        weights: NDArray[Any] | None = None,
        curriculum: Curriculum | None = None,
    ) -> None:
        self.lengths = _training_lengths(lengths)
        self._order = _Order(len(self.lengths), seed, weights, curriculum)
        self.row_length = row_length or max(DEFAULT_ROW_LENGTH, int(self.lengths.max()))
        self.packs, self.world_size = packs, world_size
        self.rows_per_batch = tokens_per_batch // self.row_length
        if self.rows_per_batch < 1:
            raise ValueError(
                f"tokens_per_batch = {tokens_per_batch} holds no row of {self.row_length} tokens: "
                "raise tokens_per_batch or lower row_length"
            )
        self._ends = [0]  # rows of the stream before data epoch 0, 1, ...
        self._epochs: dict[int, Rows] = {}
        per_step = self.rows_per_batch * accumulate_grad_batches
        rows = self.data_epoch(0)
        if curriculum is not None:  # which may begin with short examples
            rows = self._packed(epoch_order(len(self.lengths), seed, 0))
        steps = max(1, round(len(rows) / per_step))
        self._batches_per_epoch = steps * accumulate_grad_batches

    def __len__(self) -> int:
        return self._batches_per_epoch

    def data_epoch(self, epoch: int) -> Rows:
        """The rows of one data epoch; the last two asked for are kept."""
        if epoch not in self._epochs:
            order = self._order(epoch)
            if len(self._epochs) == 2:
                del self._epochs[next(iter(self._epochs))]
            self._epochs[epoch] = self._packed(order)
        if epoch == len(self._ends) - 1:
            self._ends.append(self._ends[-1] + len(self._epochs[epoch]))
        return self._epochs[epoch]

    def _packed(self, order: NDArray[np.int32]) -> Rows:
        if not self.packs:
            return one_per_row(order)
        return pack_in_order(self.lengths, order, self.row_length)

    def batch(self, index: int, rank: int) -> BatchRows:
        """The rank's rows of a global batch; every batch has R rows."""
        share = share_rows(self.rows_per_batch, rank, self.world_size)
        first = index * self.rows_per_batch
        rows = [self._row(first + r) for r in share]
        return number_rows(rows, self.lengths, self.row_length if self.packs else None)

    def _row(self, row: int) -> list[int]:
        while self._ends[-1] <= row:
            self.data_epoch(len(self._ends) - 1)
        epoch = bisect_right(self._ends, row) - 1
        return self.data_epoch(epoch)[row - self._ends[epoch]]


class ExamplesPerBatch:
    """Exactly N examples in each global batch, in as few rows of equal length as they need.

    The last batch of a data epoch holds what is left. Which examples a batch holds does not depend
    on the number of ranks; how they stand in rows does.

    Args:
        lengths: (B,), tokens of each example.
        seed: of the order.
        examples_per_batch: N, all ranks together.
        row_length: tokens, what rows aim at (see ``balance_rows``); default 128, and never below
            the batch's longest example.
        packs: several examples may stand in a row.
        world_size: ranks; with N of at least that, each has the same number of rows (give or take
            one without ``packs``); a rank may have none otherwise.
        weights: (B,), how often an example is seen in a data epoch; default once.
        curriculum: gives the order in place of seed and weights alone.

    Raises:
        ValueError: no example, or an empty one.
    """

    def __init__(
        self,
        lengths: ArrayLike,
        *,
        seed: int,
        examples_per_batch: int,
        row_length: int | None = None,
        packs: bool = True,
        world_size: int = 1,
        weights: NDArray[Any] | None = None,
        curriculum: Curriculum | None = None,
    ) -> None:
        self.lengths = _training_lengths(lengths)
        self._order = _Order(len(self.lengths), seed, weights, curriculum)
        self.num_examples = len(self._order(0))
        self.row_length = row_length or DEFAULT_ROW_LENGTH
        self.packs, self.world_size = packs, world_size
        self.examples_per_batch = examples_per_batch

    def __len__(self) -> int:
        return -(-self.num_examples // self.examples_per_batch)

    def batch(self, index: int, rank: int) -> BatchRows:
        """The rank's rows of a global batch."""
        epoch, index = divmod(index, len(self))
        first = index * self.examples_per_batch
        chosen = self._order(epoch)[first : first + self.examples_per_batch].tolist()
        if self.packs:
            balanced = balance_rows(
                self.lengths[chosen].tolist(), self.row_length, multiple=self.world_size
            )
            rows = [[chosen[i] for i in row] for row in balanced]
        else:
            rows = [[i] for i in chosen]
        share = share_rows(len(rows), rank, self.world_size)
        return number_rows([rows[r] for r in share], self.lengths)


class _Order:
    """The order of the examples in a data epoch; the last one asked for is kept."""

    def __init__(
        self,
        num_examples: int,
        seed: int,
        weights: NDArray[Any] | None,
        curriculum: Curriculum | None,
    ) -> None:
        if weights is not None and curriculum is not None:
            raise ValueError(
                "batches.curriculum: sources with weights have a share of their own, which a "
                "curriculum would change: leave one of them out"
            )
        self._arguments = num_examples, seed, weights, curriculum
        self._last = (-1, np.zeros(0, np.int32))

    def __call__(self, epoch: int) -> NDArray[np.int32]:
        if self._last[0] != epoch:
            num_examples, seed, weights, curriculum = self._arguments
            order = (
                epoch_order(num_examples, seed, epoch, weights)
                if curriculum is None
                else curriculum.order(seed, epoch)
            )
            self._last = (epoch, order)
        return self._last[1]


class EvaluationPlan:
    """Every example exactly once, on any number of ranks, the longest first.

    Each batch lies on one rank and is the same batch whatever the number of ranks. All ranks have
    the same number of batches, so that collectives meet: missing ones hold no example.

    Args:
        lengths: (B,), tokens of each example; there may be none.
        tokens_per_batch: of one rank's batch, filler included; one row where that is longer.
        packs: several examples may stand in a row (of 128 tokens, or the longest example).
        world_size: ranks; rank r takes batches r, r + W, ...

    Raises:
        ValueError: an empty example.
    """

    def __init__(
        self, lengths: ArrayLike, *, tokens_per_batch: int, packs: bool = True, world_size: int = 1
    ) -> None:
        self.lengths = np.asarray(lengths, np.int32)
        self.world_size = world_size
        order = np.argsort(-self.lengths, kind="stable").astype(np.int32)
        row_length = max(DEFAULT_ROW_LENGTH, int(self.lengths.max(initial=0)))
        packed = pack_in_order(self.lengths, order, row_length, open_rows=len(order))
        self._rows = packed if packs else one_per_row(order)
        self._starts = _cut(self._rows, self.lengths, row_length, tokens_per_batch, packs)

    def __len__(self) -> int:
        """Batches of each rank."""
        return -(-(len(self._starts) - 1) // self.world_size)

    def batch(self, index: int, rank: int) -> BatchRows:
        """The rank's batch; every epoch is the same."""
        at = index % len(self) * self.world_size + rank
        if at >= len(self._starts) - 1:
            return BatchRows([], [], 1)
        rows = [self._rows[r] for r in range(self._starts[at], self._starts[at + 1])]
        return number_rows(rows, self.lengths)


def training_plan(
    lengths: ArrayLike,
    *,
    seed: int,
    examples_per_batch: int | None = None,
    tokens_per_batch: int | None = None,
    row_length: int | None = None,
    packs: bool = True,
    world_size: int = 1,
    accumulate_grad_batches: int = 1,
    weights: NDArray[Any] | None = None,
    curriculum: Curriculum | None = None,
) -> TokensPerBatch | ExamplesPerBatch:
    """The plan for whichever of ``examples_per_batch`` and ``tokens_per_batch`` is given.

    Raises:
        ValueError: both are given, or neither; or what the plan itself refuses.
    """
    common: dict[str, Any] = {
        "seed": seed,
        "row_length": row_length,
        "packs": packs,
        "world_size": world_size,
        "weights": weights,
        "curriculum": curriculum,
    }
    if examples_per_batch and not tokens_per_batch:
        return ExamplesPerBatch(lengths, examples_per_batch=examples_per_batch, **common)
    if tokens_per_batch and not examples_per_batch:
        return TokensPerBatch(
            lengths,
            tokens_per_batch=tokens_per_batch,
            accumulate_grad_batches=accumulate_grad_batches,
            **common,
        )
    raise ValueError("set one of examples_per_batch and tokens_per_batch, not both or neither")


def _training_lengths(lengths: ArrayLike) -> NDArray[np.int32]:
    array = np.asarray(lengths, np.int32)
    if not len(array):
        raise ValueError("there is no example to train on")
    if int(array.min()) < 1:
        raise ValueError(f"example {int(array.argmin())} has no tokens")
    return array


def _cut(
    rows: Rows, lengths: NDArray[np.int32], row_length: int, tokens_per_batch: int, packs: bool
) -> NDArray[np.int64]:
    """Where each evaluation batch begins in ``rows``, and the end of the last."""
    starts = [0]
    while starts[-1] < len(rows):
        if not packs:  # sorted, so a batch's first row is its longest
            row_length = int(lengths[rows.items[starts[-1]]])
        starts.append(min(len(rows), starts[-1] + max(1, tokens_per_batch // row_length)))
    return np.array(starts, np.int64)
