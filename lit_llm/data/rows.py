"""Which examples stand in which row: pure functions of lengths and order."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

OPEN_ROWS = 64
"""How many rows may still take an example: filler on IMDB at 512 is 4.9 % with 32, 4.2 % with 64,
3.8 % with 128, and examples move further from their place in the order with each."""

_CHUNK = 65_536
_FILLER_AIM = 0.06


@dataclass(frozen=True)
class Rows:
    """Examples in rows, as two flat arrays (8 bytes or less for each example).

    Attributes:
        items: (B,), int32: the examples, row after row.
        starts: (R + 1,), int64: where each row begins in ``items``.
    """

    items: NDArray[np.int32]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        """R."""
        return len(self.starts) - 1

    def __getitem__(self, row: int) -> list[int]:
        """The examples of one row, in order; ``row`` from 0 to R - 1."""
        chosen: list[int] = self.items[self.starts[row] : self.starts[row + 1]].tolist()
        return chosen


def epoch_order(
    num_examples: int, seed: int, epoch: int, weights: NDArray[np.floating[Any]] | None = None
) -> NDArray[np.int32]:
    """The order of the examples in one data epoch: a permutation of 0 to ``num_examples - 1``.

    It depends on the arguments alone, never on what was drawn before.

    Args:
        num_examples: B.
        seed: of the order.
        epoch: of the data, from 0.
        weights: (B,), how often an example is seen in a data epoch, on average; default once. The
            whole part is exact, the rest is drawn anew in each epoch; the epoch's length is always
            the sum of the weights, rounded.
    """
    generator = np.random.default_rng([seed, epoch])
    examples = np.arange(num_examples, dtype=np.int32)
    if weights is not None:
        examples = np.repeat(examples, _copies(weights, generator))
    return generator.permutation(examples)


def _copies(
    weights: NDArray[np.floating[Any]], generator: np.random.Generator
) -> NDArray[np.int64]:
    """How often each example stands in this epoch, by systematic sampling in a random order."""
    whole = np.floor(weights)
    rest = weights - whole
    total = int(np.rint(weights.sum()) - whole.sum())
    order = generator.permutation(len(weights))
    reached = np.cumsum(rest[order])
    scaled = reached * (total / max(reached[-1], 1e-12)) + generator.random()
    marks = np.minimum(np.floor(scaled), total)
    marks[-1] = total
    chosen = np.zeros(len(weights), np.int64)
    chosen[order] = np.diff(marks, prepend=0.0).astype(np.int64)
    copies: NDArray[np.int64] = whole.astype(np.int64) + chosen
    return copies


def one_per_row(order: NDArray[np.int32]) -> Rows:
    """Each example in a row of its own, for backbones that cannot pack."""
    return Rows(order, np.arange(len(order) + 1, dtype=np.int64))


def pack_in_order(
    lengths: NDArray[Any], order: NDArray[np.int32], row_length: int, open_rows: int = OPEN_ROWS
) -> Rows:
    """Best fit over a sliding window of rows, so that the order is kept.

    Each example goes to the fullest row that still has room for it among the last ``open_rows``
    rows begun, else to a new row. So an example stands fewer than ``open_rows`` rows before the
    row it would have begun, and its length hardly shifts its place.

    Args:
        lengths: (B,), tokens of each example, from 1 to ``row_length``.
        order: (B,), the examples as they come.
        row_length: L, tokens.
        open_rows: rows that may take an example, at least 1; ``len(order)`` for plain best fit.

    Raises:
        ValueError: a length outside 1 to ``row_length``.

    Source:
        Johnson 1974, "Fast algorithms for bin packing" (best fit). Differs: bounded to a window,
        and the search is a bit scan over the room that is left in the open rows.
    """
    _check_lengths(lengths, row_length)
    row_of = np.empty(len(order), np.int32)
    packer = _BestFit(row_length, max(1, min(open_rows, len(order))))
    for begin in range(0, len(order), _CHUNK):  # never a Python list of a million
        chunk = order[begin : begin + _CHUNK]
        row_of[begin : begin + len(chunk)] = packer.place(lengths[chunk].tolist())
    counts = np.bincount(row_of, minlength=packer.num_rows)
    starts = np.zeros(packer.num_rows + 1, np.int64)
    np.cumsum(counts, out=starts[1:])
    return Rows(order[np.argsort(row_of, kind="stable")], starts)


class _BestFit:
    """The open rows, by the room left in them."""

    def __init__(self, row_length: int, open_rows: int) -> None:
        self.row_length = row_length
        self.num_rows = 0
        self._room = [0] * open_rows  # of row r at r % open_rows
        self._rows_with: list[list[int]] = [[] for _ in range(row_length + 1)]
        self._rooms = 0  # bit c is set where _rows_with[c] is not empty

    def place(self, lengths: list[int]) -> list[int]:
        """The row of each example; one loop on local names, for it runs a million times."""
        rooms, rows_with, room, window = self._rooms, self._rows_with, self._room, len(self._room)
        placed = []
        for length in lengths:
            fitting = rooms >> length
            if fitting:  # the lowest bit set: the least room that is enough
                left = length + (fitting & -fitting).bit_length() - 1
                row = rows_with[left].pop()
                if not rows_with[left]:
                    rooms ^= 1 << left
            else:
                row, left = self.num_rows, self.row_length
                self.num_rows += 1
                closing = room[row % window]
                if closing:  # the oldest row leaves the window
                    rows_with[closing].remove(row - window)
                    if not rows_with[closing]:
                        rooms ^= 1 << closing
            left -= length
            room[row % window] = left
            if left:
                rows_with[left].append(row)
                rooms |= 1 << left
            placed.append(row)
        self._rooms = rooms
        return placed


def balance_rows(lengths: Sequence[int], row_length: int, multiple: int = 1) -> list[list[int]]:
    """Deal a few examples to equally long rows: each goes, longest first, to the emptiest row.

    The number of rows is the largest that leaves at most 6 % of filler, for rows of about
    ``row_length`` tokens (or the longest example) to twice that; else the one with least filler.
    No row is empty.

    Args:
        lengths: (B,), tokens of each example, at least one example.
        row_length: tokens, what the shortest rows aim at.
        multiple: R is a multiple of this (the world size), where there are as many examples; else
            R = B.

    Returns:
        For each row, indices into ``lengths``.

    Source:
        Graham 1969, "Bounds on multiprocessing timing anomalies" (longest first).
    """
    multiple = multiple if len(lengths) >= multiple else len(lengths)
    total, target = sum(lengths), max(row_length, *lengths)
    num_rows = min(-(-total // (target * multiple)), len(lengths) // multiple) * multiple
    best: tuple[int, list[list[int]]] | None = None
    while num_rows >= multiple:
        rows, longest = _longest_first(lengths, num_rows)
        cost = num_rows * longest
        if best is None or cost < best[0]:
            best = cost, rows
        if total >= (1 - _FILLER_AIM) * cost or total > 2 * target * num_rows:
            break
        num_rows -= multiple
    assert best is not None
    return best[1]


def _longest_first(lengths: Sequence[int], num_rows: int) -> tuple[list[list[int]], int]:
    loads = [(0, row) for row in range(num_rows)]
    rows: list[list[int]] = [[] for _ in range(num_rows)]
    for i in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        load, row = loads[0]
        rows[row].append(i)
        heapq.heapreplace(loads, (load + lengths[i], row))
    return rows, max(loads)[0]


def filler_fraction(rows: Rows, lengths: NDArray[Any], row_length: int) -> float:
    """The part of R x L tokens that no example fills, in [0, 1]."""
    return float(1 - lengths[rows.items].sum() / (len(rows) * row_length))


def length_correlation(rows: Rows, lengths: NDArray[Any]) -> float:
    """Pearson's correlation of an example's length with the row it stands in.

    Near 0 when packing keeps the order random, near -1 or 1 when it sorts by length. 0 where all
    lengths are equal or there is one row.
    """
    row_of = np.repeat(np.arange(len(rows)), np.diff(rows.starts))
    length_of = lengths[rows.items]
    if len(rows) < 2 or length_of.min() == length_of.max():
        return 0.0
    return float(np.corrcoef(row_of, length_of)[0, 1])


def _check_lengths(lengths: NDArray[Any], row_length: int) -> None:
    if len(lengths) and int(lengths.max()) > row_length:
        raise ValueError(
            f"example {int(lengths.argmax())} has {int(lengths.max())} tokens, more than "
            f"row_length = {row_length}: raise row_length or lower max_length"
        )
    if len(lengths) and int(lengths.min()) < 1:
        raise ValueError(f"example {int(lengths.argmin())} has no tokens")
