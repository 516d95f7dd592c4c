"""Where the segments of a packed batch stand, for attention that is computed segment by segment."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lit_llm.batch import PackedBatch

# Lengths are rounded up to this: torch's bf16 softmax takes 2-10 times longer a score for others,
# and another bucket costs 0.1 ms a layer (16, 8 and merging neighbours were no faster, 64 slower).
_STEP = 32
_SCORES = 512 * 512  # scores of one head that a bucket may hold: temporaries stay in cache


class Bucket(NamedTuple):
    """Segments computed together: slots ``first`` to ``first + size * length``."""

    first: int
    size: int
    length: int
    empty: Tensor  # (size, length), bool: the slots behind a segment's last token

    def part(self, rows: Tensor, heads: int, groups: int) -> Tensor:
        """This bucket's share of gathered head vectors, (size * groups, tokens of a group, H)."""
        end = self.first + self.size * self.length
        share = rows[self.first * heads : end * heads]
        return share.view(self.size * groups, -1, rows.shape[-1])


class SegmentLayout:
    """Where a batch's segments stand: computed once per batch, used by every layer.

    Segments are sorted into buckets of nearly equal length (to 32). Their tokens are gathered head
    by head, so that a bucket's attention is a batched matrix product over contiguous memory, and
    gathered back. Time and memory grow with the sum of squared segment lengths, not with R * L * L.

    Pass it to a transformers model built with ``attn_implementation=SEGMENT_ATTENTION`` as the
    keyword ``segments``, and no attention mask. (A keyword, not a context: it also reaches a layer
    that gradient checkpointing runs again during the backward pass.)

    Args:
        batch: the packed batch, of which only the segments' places matter. Filler, which is all
            there is when B = 0, gets attention zero.
        causal: whether a token sees only the earlier tokens of its segment; None leaves it to each
            attention module, as transformers does.
    """

    def __init__(self, batch: PackedBatch, causal: bool | None = None) -> None:
        self.shape = tuple(batch.input_ids.shape)
        self.causal = causal
        lengths = batch.segment_lengths.tolist()
        self.longest = max(lengths, default=0)
        self.num_slots = 0
        self.buckets: list[Bucket] = []
        self._device = batch.input_ids.device
        self._tokens: list[Tensor] = []
        self._rows: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
        self._biases: dict[tuple[int, bool, torch.dtype], Tensor | None] = {}
        for members, length in _plan_buckets(lengths):
            member = torch.tensor(members, device=self._device)
            slot = torch.arange(length, device=self._device)
            last = batch.segment_lengths[member, None] - 1
            # An empty slot repeats its segment's last token: finite, and of no other example.
            self._tokens.append(batch.segment_starts[member, None] + slot.minimum(last))
            self.buckets.append(Bucket(self.num_slots, len(members), length, slot > last))
            self.num_slots += len(members) * length

    def rows(self, heads: int) -> tuple[Tensor, Tensor, Tensor]:
        """How (R * L * N, H) head vectors move to the buckets' order and back, all int64.

        Args:
            heads: N, of the queries or of the keys.

        Returns:
            ``gather`` (num_slots * N,): the batch's rows in the order bucket, segment, head, slot.
            ``scatter`` (R * L * N,): where each row of the batch then stands; for filler, one past
            the end. ``empty``: which of the gathered rows are no token.
        """
        if heads not in self._rows:
            head = torch.arange(heads, device=self._device)[:, None]
            gathers, empties = [head.new_empty(0)], [head.new_empty(0, dtype=torch.bool)]
            for bucket, tokens in zip(self.buckets, self._tokens, strict=True):
                row = tokens[:, None] * heads + head
                gathers.append(row.flatten())
                empties.append(bucket.empty[:, None].expand_as(row).flatten())
            gather, is_empty = torch.cat(gathers), torch.cat(empties)
            filled = (~is_empty).nonzero().squeeze(1)
            scatter = gather.new_full((self.shape[0] * self.shape[1] * heads,), len(gather))
            scatter[gather[filled]] = filled
            self._rows[heads] = gather, scatter, is_empty.nonzero().squeeze(1)
        return self._rows[heads]

    def bias(self, index: int, causal: bool, dtype: torch.dtype) -> Tensor | None:
        """What hides scores of bucket ``index``: 0 or -inf; None where nothing is hidden.

        Shaped (size, 1, 1, length), or (length, length) where causal: empty slots come last in a
        segment, so the triangle alone keeps its tokens from seeing them.
        """
        key = (index, causal, dtype)
        if key not in self._biases:
            bucket = self.buckets[index]
            hidden = bucket.empty[:, None, None]
            if causal:
                hidden = hidden.new_ones(bucket.length, bucket.length).triu(1)
            bias = torch.zeros(hidden.shape, dtype=dtype, device=self._device)
            bias.masked_fill_(hidden, -torch.inf)
            self._biases[key] = bias if hidden.any() else None
        return self._biases[key]


def _plan_buckets(lengths: list[int]) -> list[tuple[list[int], int]]:
    """Group segments whose lengths round up alike: (which segments, slots of each), per bucket."""
    by_slots: dict[int, list[int]] = {}
    for i, length in enumerate(lengths):
        by_slots.setdefault(-(-length // _STEP) * _STEP, []).append(i)
    buckets = []
    for slots, members in sorted(by_slots.items()):
        most = max(1, _SCORES // slots**2)
        buckets += [(members[i : i + most], slots) for i in range(0, len(members), most)]
    return buckets
