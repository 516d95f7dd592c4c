"""Attention inside each segment of a packed batch, for training on a CPU."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import AttentionInterface, AttentionMaskInterface

from lit_llm.batch import PackedBatch

SEGMENT_ATTENTION = "lit_llm_segments"
"""The ``attn_implementation`` of a model that takes ``segments=SegmentLayout(batch)``."""

_STEP = 32  # torch's bf16 softmax takes 2-10 times longer a score when rows are no multiple of 32
_WASTE = 64 * 64  # as many padded scores cost about what one more bucket costs (0.1 ms a layer)
_REFUSED = ("softcap", "position_bias", "s_aux", "output_attentions", "cache")


class _Bucket(NamedTuple):
    """Segments computed together: slots ``first`` to ``first + count * length``."""

    first: int
    count: int
    length: int
    empty: Tensor  # (count, length), bool: the slots behind a segment's last token

    def part(self, rows: Tensor, num_heads: int, groups: int) -> Tensor:
        """This bucket's share of gathered head vectors, (count * groups, tokens of a group, H)."""
        end = self.first + self.count * self.length
        share = rows[self.first * num_heads : end * num_heads]
        return share.view(self.count * groups, -1, rows.shape[-1])


class SegmentLayout:
    """Where a batch's segments stand: computed once per batch, used by every layer.

    Segments are sorted into a few buckets of nearly equal length. Their tokens are gathered head by
    head, so that a bucket's attention is a batched matrix product over contiguous memory, and
    gathered back. Time and memory grow with the sum of squared segment lengths, not with R * L * L.

    Pass it to a transformers model built with ``attn_implementation=SEGMENT_ATTENTION`` as the
    keyword ``segments``, and no attention mask. (A keyword, not a context: it also reaches a layer
    that gradient checkpointing runs again during the backward pass.)

    Args:
        batch: the packed batch, of which only the segments' places matter. With B = 0, or on
            filler, attention is zero.
        causal: whether a token sees only the earlier tokens of its segment; None leaves it to each
            attention module, as transformers does.
    """

    def __init__(self, batch: PackedBatch, causal: bool | None = None) -> None:
        self.shape = tuple(batch.input_ids.shape)
        self.causal = causal
        lengths = batch.segment_lengths.tolist()
        self.longest = max(lengths, default=0)
        self.num_slots = 0
        self.buckets: list[_Bucket] = []
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
            self.buckets.append(_Bucket(self.num_slots, len(members), length, slot > last))
            self.num_slots += len(members) * length

    def rows(self, num_heads: int) -> tuple[Tensor, Tensor, Tensor]:
        """How (R * L * N, H) head vectors move to the buckets' order and back, all int64.

        Args:
            num_heads: N, of the queries or of the keys.

        Returns:
            ``gather`` (num_slots * N,): the batch's rows in the order bucket, segment, head, slot.
            ``scatter`` (R * L * N,): where each row of the batch then stands; for filler, one past
            the end. ``empty``: which of the gathered rows are no token.
        """
        if num_heads not in self._rows:
            head = torch.arange(num_heads, device=self._device)[:, None]
            gather, empty = [head.new_empty(0)], [head.new_empty(0, dtype=torch.bool)]
            for bucket, tokens in zip(self.buckets, self._tokens, strict=True):
                row = tokens[:, None] * num_heads + head
                gather.append(row.flatten())
                empty.append(bucket.empty[:, None].expand_as(row).flatten())
            is_empty, source = torch.cat(empty), torch.cat(gather)
            filled = (~is_empty).nonzero().squeeze(1)
            scatter = source.new_full((self.shape[0] * self.shape[1] * num_heads,), len(source))
            scatter[source[filled]] = filled
            self._rows[num_heads] = source, scatter, is_empty.nonzero().squeeze(1)
        return self._rows[num_heads]

    def bias(self, index: int, causal: bool, dtype: torch.dtype) -> Tensor | None:
        """What hides scores of bucket ``index``: 0 or -inf; None where nothing is hidden.

        Shaped (count, 1, 1, length), or (length, length) where causal: empty slots come last in a
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
    """Group segments, longest first; a group is closed when its padding would exceed ``_WASTE``."""
    buckets: list[tuple[list[int], int]] = []
    waste = 0
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        length = -(-lengths[i] // _STEP) * _STEP
        if buckets:
            waste += buckets[-1][1] ** 2 - length**2
        if not buckets or waste > _WASTE:
            buckets.append(([], length))
            waste = 0
        buckets[-1][0].append(i)
    return buckets


class _SegmentAttention(torch.autograd.Function):
    """``softmax(scaling * Q K^T) V`` inside segments; (R, L, N, H) in and out, of one dtype.

    The probabilities are kept for the backward pass: recomputing them costs more than reading them.
    Dropped ones are kept with a minus sign, so one tensor tells what was computed and what dropped.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        layout: SegmentLayout,
        scaling: float,
        causal: bool,
        dropout: float,
    ) -> Tensor:
        heads, groups = query.shape[2], key.shape[2]
        q, k, v = (_gather(states, layout) for states in (query, key, value))
        out = _empty_rows(q)
        saved = []
        for i, bucket in enumerate(layout.buckets):
            q_i, k_i = bucket.part(q, heads, groups), bucket.part(k, groups, groups)
            probs = _product(q_i, k_i.mT, scaling)
            bias = layout.bias(i, causal, q.dtype)
            if bias is not None:
                probs.view(bucket.count, heads, bucket.length, bucket.length).add_(bias)
            torch.softmax(probs, -1, out=probs)
            if dropout:
                probs = _mark_dropped(probs, dropout)
            kept = probs.relu() if dropout else probs
            part = bucket.part(out, heads, groups)
            torch.bmm(kept, bucket.part(v, groups, groups), out=part)
            saved.append(probs)
        ctx.save_for_backward(q, k, v, *saved)
        ctx.layout, ctx.scaling, ctx.dropout = layout, scaling, dropout
        return _scatter(out, layout, query.shape, _kept_scale(dropout))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, *saved = ctx.saved_tensors
        layout: SegmentLayout = ctx.layout
        heads = grad_output.shape[2]
        groups = len(k) // max(layout.num_slots, 1)
        grad = _gather(grad_output, layout)
        grad.index_fill_(0, layout.rows(heads)[2], 0)  # an empty slot has no gradient
        if ctx.dropout:
            grad *= _kept_scale(ctx.dropout)
        grad_q, grad_k, grad_v = _empty_rows(q), _empty_rows(k), _empty_rows(v)
        for bucket, probs in zip(layout.buckets, saved, strict=True):
            q_i, grad_i = bucket.part(q, heads, groups), bucket.part(grad, heads, groups)
            k_i, v_i = bucket.part(k, groups, groups), bucket.part(v, groups, groups)
            kept = probs.relu() if ctx.dropout else probs
            torch.bmm(kept.mT, grad_i, out=bucket.part(grad_v, groups, groups))
            scores = torch.bmm(grad_i, v_i.mT)
            if ctx.dropout:
                scores = torch.ops.aten.threshold_backward(scores, probs, 0)
                probs = probs.abs()
            torch._softmax_backward_data(scores, probs, -1, q.dtype, grad_input=scores)
            _product(scores, k_i, ctx.scaling, bucket.part(grad_q, heads, groups))
            _product(scores.mT, q_i, ctx.scaling, bucket.part(grad_k, groups, groups))
        shape = grad_output.shape
        kv_shape = (*shape[:2], groups, shape[3])
        return (
            _scatter(grad_q, layout, shape),
            _scatter(grad_k, layout, kv_shape),
            _scatter(grad_v, layout, kv_shape),
            None,
            None,
            None,
            None,
        )


def _gather(states, layout):
    return states.reshape(-1, states.shape[-1]).index_select(0, layout.rows(states.shape[2])[0])


def _empty_rows(like):
    rows = like.new_empty(len(like) + 1, like.shape[1])
    rows[-1] = 0
    return rows


def _scatter(rows, layout, shape, scale=1.0):
    return rows.index_select(0, layout.rows(shape[2])[1]).view(shape)


def _product(a, b, scaling, out=None):
    if out is None:
        out = a.new_empty(a.shape[0], a.shape[1], b.shape[2])
    return torch.baddbmm(out, a, b, beta=0, alpha=scaling, out=out)


def _kept_scale(d):
    return 0.0 if d == 1 else 1 / (1 - round(d * 65536) / 65536)


def _mark_dropped(probs: Tensor, dropout: float) -> Tensor:
    seed = int(torch.randint(2**62, ()))
    bits = np.random.Generator(np.random.SFC64(seed)).integers(
        0, 2**64, size=-(-probs.numel() // 4), dtype=np.uint64
    )
    noise = torch.from_numpy(bits.view(np.int16))[: probs.numel()].view(probs.shape)
    dropped = noise.to(probs.device) < round(dropout * 65536) - 32768
    return torch.where(dropped, -probs, probs)


def segment_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    segments: SegmentLayout | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    if is_causal is None:
        is_causal = getattr(module, "is_causal", True)
    if segments.causal is not None:
        is_causal = segments.causal
    dtype = (
        torch.get_autocast_dtype(query.device.type)
        if torch.is_autocast_enabled(query.device.type)
        else query.dtype
    )
    q, k, v = (x.transpose(1, 2).to(dtype) for x in (query, key, value))
    if scaling is None:
        scaling = query.shape[-1] ** -0.5
    out = _SegmentAttention.apply(q, k, v, segments, scaling, is_causal, dropout)
    return out, None


def no_mask(*args, **kwargs):
    return None


AttentionInterface.register(SEGMENT_ATTENTION, segment_attention)
AttentionMaskInterface.register(SEGMENT_ATTENTION, no_mask)
