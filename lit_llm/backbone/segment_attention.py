"""Attention inside each segment of a packed batch, for training on a CPU."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import AttentionInterface, AttentionMaskInterface

from lit_llm.backbone.quick_dropout import draw_dropped, kept_scale
from lit_llm.backbone.segment_layout import SegmentLayout, Stripe

SEGMENT_ATTENTION = "lit_llm_segments"
"""The ``attn_implementation`` of a model that takes ``segments=SegmentLayout(batch)``."""

_KEPT_LENGTH = 256  # longer segments' probabilities outweigh all else that a layer keeps
_REFUSED = ("softcap", "position_bias", "s_aux", "cache", "output_attentions")


class _SegmentAttention(torch.autograd.Function):
    """``softmax(scaling * Q K^T) V`` inside segments; (R, L, N, H) in and out, of one dtype.

    The probabilities of segments up to ``_KEPT_LENGTH`` tokens are kept for the backward pass, for
    reading them costs less than computing them again; those of longer ones are computed again,
    unless some were dropped. Dropped ones are kept with a minus sign, so one tensor tells what was
    computed and what dropped.
    Fewer key heads than query heads: the queries of a group are rows of one product.
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
        out = _zero_ended(q)
        saved: list[Tensor | None] = []
        for stripe in layout.stripes(causal, q.dtype):
            probs = _probabilities(q, k, stripe, (heads, groups), scaling)
            if dropout:
                probs = probs.copysign(draw_dropped(probs.shape, dropout).to(probs.device))
            kept = probs.relu() if dropout else probs
            stripe.put(kept @ stripe.keys(v, groups), out, heads, groups)
            keep = dropout or stripe.bucket.length <= _KEPT_LENGTH
            saved.append(probs if keep else None)
        if dropout:
            out *= kept_scale(dropout)
        ctx.save_for_backward(q, k, v, *saved)
        ctx.layout, ctx.scaling, ctx.dropout, ctx.groups = layout, scaling, dropout, groups
        ctx.causal = causal
        return _scatter(out, layout, heads)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, *saved = ctx.saved_tensors
        layout, heads, groups = ctx.layout, grad_output.shape[2], ctx.groups
        grad = _gather(grad_output, layout)
        grad.index_fill_(0, layout.rows(heads)[2], 0)  # nothing depends on an empty slot
        if ctx.dropout:
            grad *= kept_scale(ctx.dropout)
        grad_q, grad_k, grad_v = _zero_ended(q), _zero_ended(k), _zero_ended(v)
        for stripe, probs in zip(layout.stripes(ctx.causal, q.dtype), saved, strict=True):
            if probs is None:
                probs = _probabilities(q, k, stripe, (heads, groups), ctx.scaling)
            q_i, grad_i = (stripe.queries(x, heads, groups).flatten(1, 2) for x in (q, grad))
            k_i, v_i = (stripe.keys(x, groups) for x in (k, v))
            kept = probs.relu() if ctx.dropout else probs
            # A bucket's first stripe sees every key, and the others add to what it wrote.
            beta = 0 if stripe.stop == stripe.bucket.length else 1
            stripe.keys(grad_v, groups).baddbmm_(kept.mT, grad_i, beta=beta)
            scores = torch.bmm(grad_i, v_i.mT)  # gradients, of probabilities and then of scores
            if ctx.dropout:
                scores = torch.ops.aten.threshold_backward(scores, probs, 0)  # 0 where dropped
                probs = probs.abs()
            torch._softmax_backward_data(scores, probs, -1, q.dtype, grad_input=scores)
            stripe.put(_product(scores, k_i, ctx.scaling), grad_q, heads, groups)
            stripe.keys(grad_k, groups).baddbmm_(scores.mT, q_i, beta=beta, alpha=ctx.scaling)
        grads = ((grad_q, heads), (grad_k, groups), (grad_v, groups))
        return *(_scatter(rows, layout, n) for rows, n in grads), None, None, None, None


def _probabilities(
    q: Tensor, k: Tensor, stripe: Stripe, heads: tuple[int, int], scaling: float
) -> Tensor:
    """A stripe's attention weights before dropout, (size * groups, heads // groups * n, stop)."""
    num_heads, groups = heads
    q_i, k_i = stripe.queries(q, num_heads, groups).flatten(1, 2), stripe.keys(k, groups)
    probs = _product(q_i, k_i.mT, scaling)
    if stripe.bias is not None:
        scores = probs.view(stripe.bucket.size, num_heads, -1, stripe.stop)
        scores[..., -stripe.bias.shape[-1] :] += stripe.bias
    return torch.softmax(probs, -1, out=probs)


def _gather(states: Tensor, layout: SegmentLayout) -> Tensor:
    """(R, L, N, H) -> (num_slots * N, H) in the buckets' order."""
    rows = states.reshape(-1, states.shape[-1])
    return rows.index_select(0, layout.rows(states.shape[2])[0])


def _scatter(rows: Tensor, layout: SegmentLayout, heads: int) -> Tensor:
    """(num_slots * N + 1, H), the last row zero -> (R, L, N, H)."""
    return rows.index_select(0, layout.rows(heads)[1]).view(*layout.shape, heads, -1)


def _zero_ended(like: Tensor) -> Tensor:
    """Memory for results shaped as ``like``, and a last row of zeros, which filler reads."""
    rows = like.new_empty(len(like) + 1, like.shape[1])
    rows[-1] = 0
    return rows


def _product(left: Tensor, right: Tensor, scaling: float) -> Tensor:
    """``scaling * left @ right``, scaled before it is rounded."""
    out = left.new_empty(left.shape[0], left.shape[1], right.shape[2])
    return torch.baddbmm(out, left, right, beta=0, alpha=scaling, out=out)


def segment_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    sliding_window: int | None = None,
    segments: SegmentLayout | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """The attention function that transformers calls under the name ``SEGMENT_ATTENTION``.

    Equal to ``sdpa`` with a (R, 1, L, L) block mask, zeros on filler; in bf16 under autocast as
    exact as ``sdpa`` is. Differentiable once.

    Args:
        module: the calling attention module; its ``is_causal`` decides where nothing else does.
        query: (R, N, L, H).
        key: (R, N', L, H), N' dividing N: a group of N / N' query heads shares a key head.
        value: as ``key``.
        attention_mask: must be None: the layout says what may be seen.
        dropout: probability of dropping an attention weight, in [0, 1], met to 1 / 32,768.
        scaling: of the scores; default H ** -0.5.
        is_causal: overrides the module; the layout's own ``causal`` overrides both.
        sliding_window: how far a token may look; accepted where it covers the longest segment.
        segments: the batch's layout.
        kwargs: what else the model passes on; ignored unless it would change the attention.

    Returns:
        The context, (R, L, N, H), and no weights.

    Raises:
        ValueError: no layout, or one of another shape; an attention mask; a sliding window shorter
            than the longest segment; or an option that would change the attention.
    """
    _check(query, key, attention_mask, sliding_window, segments, kwargs)
    layout = cast(SegmentLayout, segments)
    for causal in (layout.causal, is_causal, getattr(module, "is_causal", True)):
        if causal is not None:
            break
    device, dtype = query.device.type, query.dtype
    if torch.is_autocast_enabled(device):  # rotary positions leave float32 behind
        dtype = torch.get_autocast_dtype(device)
    states = [x.transpose(1, 2).to(dtype) for x in (query, key, value)]
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    context = _SegmentAttention.apply(  # type: ignore[no-untyped-call]
        *states, layout, scaling, causal, dropout
    )
    return context, None


def no_mask(*args: Any, **kwargs: Any) -> None:
    """Build no mask: transformers asks for one by the same name."""


def _check(
    query: Tensor,
    key: Tensor,
    attention_mask: Tensor | None,
    sliding_window: int | None,
    segments: SegmentLayout | None,
    options: dict[str, Any],
) -> None:
    """Refuse what would be silently wrong; see ``segment_attention``."""
    if not isinstance(segments, SegmentLayout):
        raise ValueError(f"{SEGMENT_ATTENTION} needs the keyword segments=SegmentLayout(batch)")
    rows = (query.shape[0], query.shape[2])
    if rows != segments.shape or rows != (key.shape[0], key.shape[2]):
        raise ValueError(
            f"{SEGMENT_ATTENTION} attends inside one batch of {segments.shape} tokens, but the "
            f"queries are {tuple(query.shape)} and the keys {tuple(key.shape)}: pass this batch's "
            "layout, and use sdpa for cross-attention or generation"
        )
    if attention_mask is not None:
        raise ValueError(f"{SEGMENT_ATTENTION} takes no attention_mask: pass segments alone")
    if sliding_window is not None and sliding_window < segments.longest:
        raise ValueError(
            f"{SEGMENT_ATTENTION} has no sliding window, and the longest example, of "
            f"{segments.longest} tokens, exceeds this model's ({sliding_window}): use sdpa"
        )
    for name in _REFUSED:
        if options.get(name) is not None and options[name] is not False:
            raise ValueError(f"{SEGMENT_ATTENTION} does not support {name}: use sdpa or eager")


AttentionInterface.register(SEGMENT_ATTENTION, segment_attention)
AttentionMaskInterface.register(SEGMENT_ATTENTION, no_mask)
