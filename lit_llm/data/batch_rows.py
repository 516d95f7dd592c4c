"""One rank's share of a global batch, and what a plan of batches looks like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class BatchRows(NamedTuple):
    """One rank's share of a global batch, as ``PackedBatch.pack`` takes it.

    Attributes:
        item_ids: (B,), the examples' places in their split. An example may occur twice where a
            batch reaches into the next data epoch.
        rows: for each of R rows, indices into ``item_ids``.
        row_length: L, tokens; where there is no example, the plan's fixed L or 1.
    """

    item_ids: list[int]
    rows: list[list[int]]
    row_length: int


class Plan(Protocol):
    """What a loader asks of a plan.

    ``len(plan)`` is the number of batches in an epoch; epoch e begins at batch ``e * len(plan)``.

    Attributes:
        world_size: ranks that share each global batch.
    """

    world_size: int

    def __len__(self) -> int: ...

    def batch(self, index: int, rank: int) -> BatchRows:
        """The rank's share of a global batch, counted from the start of training."""


def share_rows(num_rows: int, rank: int, world_size: int) -> range:
    """The rows of one rank: contiguous, and equally many where they divide."""
    return range(num_rows * rank // world_size, num_rows * (rank + 1) // world_size)


def number_rows(
    rows: Sequence[Sequence[int]], lengths: NDArray[np.int32], row_length: int | None = None
) -> BatchRows:
    """Number the examples within the batch; L is the longest row's unless given."""
    item_ids = [i for row in rows for i in row]
    if not item_ids:
        return BatchRows([], [], row_length or 1)
    numbered, at = [], 0
    for row in rows:
        numbered.append(list(range(at, at + len(row))))
        at += len(row)
    longest = row_length or max(int(lengths[list(row)].sum()) for row in rows)
    return BatchRows(item_ids, numbered, longest)
