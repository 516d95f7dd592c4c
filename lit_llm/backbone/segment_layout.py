"""Where the segments of a packed batch stand, for attention that is computed segment by segment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from lit_llm.batch import PackedBatch

# Lengths are rounded up to this: torch's bf16 softmax takes 2-10 times longer a score for others,
# and another bucket costs 0.1 ms a layer (16, 8 and merging neighbours were no faster, 64 slower).
_STEP = 32
# Causal attention of longer ones is computed in two halves. (At 512 tokens one piece took 224 ms,
# two 109, four 98, and each further piece is one more rounding of the keys' gradients.)
_WHOLE_LENGTH = 256
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


class Stripe(NamedTuple):
    """Queries ``start`` to ``stop`` of a bucket's segments, with the keys that they may see."""

    bucket: Bucket
    start: int
    stop: int  # no key from here on is seen
    bias: Tensor | None  # added to the scores of the last keys: 0 or -inf; None hides nothing

    def queries(self, rows: Tensor, heads: int, groups: int) -> Tensor:
        """Their share of gathered vectors, (size * groups, heads // groups, stop - start, H)."""
        part = self.bucket.part(rows, heads, groups)
        places = part.view(len(part), heads // groups, self.bucket.length, -1)
        return places[:, :, self.start : self.stop]

    def put(self, results: Tensor, rows: Tensor, heads: int, groups: int) -> None:
        """Write (size * groups, heads // groups * n, H) results to the queries' places in rows."""
        places = self.queries(rows, heads, groups)
        places.copy_(results.view(places.shape))

    def keys(self, rows: Tensor, groups: int) -> Tensor:
        """The share of the keys before ``stop``, (size * groups, stop, H)."""
        return self.bucket.part(rows, groups, groups)[:, : self.stop]


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
        self._stripes: dict[tuple[bool, torch.dtype], list[Stripe]] = {}
        for members, length in _plan_buckets(lengths):
            member = torch.tensor(members, device=self._device)
            slot = torch.arange(length, device=self._device)
            last = batch.segment_lengths[member, None] - 1
            # An empty slot repeats its segment's last token: finite, and of no other example.
            self._tokens.append(batch.segment_starts[member, None] + slot.minimum(last))
            self.buckets.append(Bucket(self.num_slots, len(members), length, slot > last))
            self.num_slots += len(members) * length

    def tokens(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Of each bucket where its tokens stand in the flattened batch, and which are empty.

        Yields:
            int64 and bool, (size, length); an empty place repeats its segment's last token.
        """
        for bucket, tokens in zip(self.buckets, self._tokens, strict=True):
            yield tokens, bucket.empty

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

    def stripes(self, causal: bool, dtype: torch.dtype) -> list[Stripe]:
        """What is computed together; of a bucket the stripe that sees most keys comes first.

        A bucket is one stripe, or, where the future of long segments is hidden, two: the first
        half's queries see half the keys, so a quarter of the scores is not computed.

        Args:
            causal: whether a token sees only the earlier tokens of its segment.
            dtype: of the scores.
        """
        key = (causal, dtype)
        if key not in self._stripes:
            self._stripes[key] = [
                Stripe(bucket, start, stop, self._bias(bucket, stop - start, causal, dtype))
                for bucket in self.buckets
                for start, stop in _cuts(bucket.length, causal)
            ]
        return self._stripes[key]

    def _bias(
        self, bucket: Bucket, queries: int, causal: bool, dtype: torch.dtype
    ) -> Tensor | None:
        """What hides scores: (size, 1, 1, length), or (queries, queries) where causal.

        Empty slots come last in a segment, so the triangle alone keeps its tokens from seeing them.
        """
        hidden = bucket.empty[:, None, None]
        if causal:
            hidden = hidden.new_ones(queries, queries).triu(1)
        bias = torch.zeros(hidden.shape, dtype=dtype, device=self._device)
        return bias.masked_fill_(hidden, -torch.inf) if hidden.any() else None


def _cuts(length: int, causal: bool) -> list[tuple[int, int]]:
    """Where a bucket's stripes start and stop."""
    if not causal or length <= _WHOLE_LENGTH:
        return [(0, length)]
    middle = length // (2 * _STEP) * _STEP
    return [(middle, length), (0, middle)]


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
