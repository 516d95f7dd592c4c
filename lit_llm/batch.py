"""The one tensor layout everything speaks: packed rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

Item = Mapping[str, Any]
"""One tokenised example (or one window of a long one), before packing.

``input_ids`` holds its token ids, special tokens included; ``token_type_ids`` may stand beside it.
``target_positions`` holds the tokens that are scored, counted from the item's own start. Every
other key becomes an entry of ``PackedBatch.targets``: sequences are joined end to end (one entry
per target), single numbers are stacked (one entry per item).
"""

_PACKED = ("input_ids", "token_type_ids", "target_positions")


class PackedBatch:
    """R rows of L tokens; several examples stand end to end in a row.

    A batch without examples (B = 0) is one row of filler: a rank that has nothing to do still runs
    the same forward pass as the others. Not a dataclass, whose fields a trainer in a half precision
    would convert one by one: only ``to`` changes its tensors.

    Attributes:
        input_ids: (R, L), int64; filler holds the padding id.
        segment_ids: (R, L), int64: which of the batch's B examples a token belongs to, 0 to B - 1;
            -1 for filler.
        position_ids: (R, L), int64: from 0 in each example; 0 on filler.
        token_type_ids: (R, L), int64: 0 unless the items say otherwise.
        segment_starts: (B,), int64: flat index into R * L of each example's first token.
        segment_lengths: (B,), int64, at least 1.
        item_ids: (B,), int64: which item of the split each example is.
        targets: what the objective scores. ``positions`` (M,), int64, are flat indices into R * L,
            present for token-level targets only. The rest (``labels``, ``unit_ids``, ``weights``,
            ...) is named by the data: (M, ...) beside ``positions``, or (B, ...) per example.
        totals: how many targets of each loss term the whole optimizer step has, over all ranks and
            accumulated batches, where a loss of several terms has to know them in advance. Of a
            streamed corpus: over this rank's batches alone.
    """

    def __init__(
        self,
        input_ids: Tensor,
        segment_ids: Tensor,
        position_ids: Tensor,
        token_type_ids: Tensor,
        segment_starts: Tensor,
        segment_lengths: Tensor,
        item_ids: Tensor,
        targets: dict[str, Tensor],
        totals: Mapping[str, float] | None = None,
    ) -> None:
        self.input_ids = input_ids
        self.segment_ids = segment_ids
        self.position_ids = position_ids
        self.token_type_ids = token_type_ids
        self.segment_starts = segment_starts
        self.segment_lengths = segment_lengths
        self.item_ids = item_ids
        self.targets = targets
        self.totals = dict(totals or {})

    @classmethod
    def pack(
        cls,
        items: Sequence[Item],
        rows: Sequence[Sequence[int]],
        row_length: int,
        pad_token_id: int,
        item_ids: Sequence[int] | None = None,
        totals: Mapping[str, float] | None = None,
    ) -> PackedBatch:
        """Lay items out in rows.

        Args:
            items: the batch's B tokenised examples.
            rows: for each row, which of ``items`` stand in it, in order; each item exactly once.
            row_length: L, tokens.
            pad_token_id: fills what is left of a row.
            item_ids: (B,), the items' places in their split; default 0 to B - 1.
            totals: see the class.

        Raises:
            ValueError: a row's items are longer than ``row_length``; an item is missing or stands
                in two rows; an item has no tokens, other keys than the first, a target position
                outside its own tokens, or a target column of another length than its positions.
        """
        if sorted(i for row in rows for i in row) != list(range(len(items))):
            raise ValueError(f"each of {len(items)} items must stand in exactly one row: {rows}")
        if row_length < 1:
            raise ValueError(f"row_length must be at least 1, not {row_length}")
        shape = (max(len(rows), 1), row_length)
        input_ids = np.full(shape, pad_token_id, np.int64)
        segment_ids = np.full(shape, -1, np.int64)
        position_ids = np.zeros(shape, np.int64)
        token_type_ids = np.zeros(shape, np.int64)
        starts = np.zeros(len(items), np.int64)
        lengths = np.array([len(item["input_ids"]) for item in items], np.int64)
        for r, row in enumerate(rows):
            at = 0
            for i in row:
                end = at + int(lengths[i])
                if end > row_length:
                    raise ValueError(f"row {r} holds more than row_length = {row_length} tokens")
                input_ids[r, at:end] = items[i]["input_ids"]
                segment_ids[r, at:end] = i
                position_ids[r, at:end] = np.arange(end - at)
                if "token_type_ids" in items[i]:
                    token_type_ids[r, at:end] = items[i]["token_type_ids"]
                starts[i] = r * row_length + at
                at = end
        return cls(
            input_ids=torch.from_numpy(input_ids),
            segment_ids=torch.from_numpy(segment_ids),
            position_ids=torch.from_numpy(position_ids),
            token_type_ids=torch.from_numpy(token_type_ids),
            segment_starts=torch.from_numpy(starts),
            segment_lengths=torch.from_numpy(lengths),
            item_ids=torch.as_tensor(
                np.arange(len(items)) if item_ids is None else np.asarray(item_ids, np.int64)
            ).reshape(len(items)),
            targets=_targets(items, starts),
            totals=totals,
        )

    @property
    def num_examples(self) -> int:
        """B."""
        return self.segment_starts.numel()

    @property
    def num_tokens(self) -> int:
        """Tokens that are not filler."""
        return int(self.segment_lengths.sum())

    def target(self, name: str) -> Tensor:
        """A target column; empty, int64, in a batch without examples, which has none."""
        return self.targets.get(name, self.segment_starts.new_zeros(0))

    def to(self, *args: Any, **kwargs: Any) -> PackedBatch:
        """The batch on another device, as ``Tensor.to``."""
        return self._map(lambda tensor: tensor.to(*args, **kwargs))

    def pin_memory(self) -> PackedBatch:
        """The batch in page-locked memory, as ``Tensor.pin_memory``."""
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, function: Callable[[Tensor], Tensor]) -> PackedBatch:
        tensors = dict(vars(self))
        totals = tensors.pop("totals")
        targets = {name: function(tensor) for name, tensor in tensors.pop("targets").items()}
        moved = {name: function(tensor) for name, tensor in tensors.items()}
        return PackedBatch(**moved, targets=targets, totals=totals)


def _targets(items: Sequence[Item], starts: np.ndarray[Any, Any]) -> dict[str, Tensor]:
    """Join the items' target columns; positions become flat indices."""
    if not items:
        return {}
    _check_items(items)
    targets: dict[str, Tensor] = {}
    if "target_positions" in items[0]:
        positions = [
            np.asarray(item["target_positions"], np.int64) + start
            for item, start in zip(items, starts, strict=True)
        ]
        targets["positions"] = torch.from_numpy(np.concatenate(positions))
    for name in items[0]:
        if name in _PACKED:
            continue
        values = [np.asarray(item[name]) for item in items]
        per_target = values[0].ndim > 0 and "target_positions" in items[0]
        if per_target:  # an empty list has no type of its own
            joined = np.concatenate([v for v in values if v.size] or [np.zeros(0, np.int64)])
        else:
            joined = np.stack(values)
        kind = np.float32 if joined.dtype.kind == "f" else np.int64
        targets[name] = torch.from_numpy(joined.astype(kind))
    return targets


def _check_items(items: Sequence[Item]) -> None:
    """What would otherwise be dropped, or scored at a neighbour's token, without a word."""
    for i, item in enumerate(items):
        num_tokens = len(item["input_ids"])
        if num_tokens == 0:
            raise ValueError(f"item {i} of the batch has no tokens")
        if item.keys() != items[0].keys():
            raise ValueError(
                f"item {i} of the batch has keys {sorted(item)}, item 0 has {sorted(items[0])}"
            )
        if "target_positions" not in item:
            continue
        positions = np.asarray(item["target_positions"], np.int64)
        if positions.size and not 0 <= positions.min() <= positions.max() < num_tokens:
            raise ValueError(
                f"item {i} of the batch has target positions outside its {num_tokens} tokens"
            )
        for name in item.keys() - _PACKED:
            size = np.shape(item[name])[:1]
            if size and size != positions.shape:
                raise ValueError(
                    f"item {i} of the batch has {size[0]} {name!r} for {positions.size} targets"
                )
