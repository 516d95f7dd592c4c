"""One vector per example of a packed batch."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from lit_llm.backbone.backbone import Backbone
from lit_llm.batch import PackedBatch

Pooling = Literal["first", "last", "mean"]


def pooled(backbone: Backbone, batch: PackedBatch, pooling: Pooling) -> Tensor:
    """``pool`` of a batch's hidden states, of which only the needed ones are computed.

    Args:
        backbone: the transformer.
        batch: what it reads.
        pooling: which tokens speak for the example.

    Returns:
        (B, D).

    Raises:
        ValueError: another word than first, last or mean.
    """
    if pooling in ("first", "last"):
        return backbone.at(batch, _speaking(batch, pooling))
    return pool(backbone(batch), batch, pooling)


def pool(hidden_RLD: Tensor, batch: PackedBatch, pooling: Pooling) -> Tensor:
    """The first or last token of each example, or the mean over its tokens.

    Args:
        hidden_RLD: hidden states of the batch, (R, L, D).
        batch: says where each example stands.
        pooling: which tokens speak for the example.

    Returns:
        (B, D), the hidden states' type; the mean is taken in float32, or float64 if they are.

    Raises:
        ValueError: another word than first, last or mean.
    """
    flat = hidden_RLD.flatten(0, 1)
    if pooling in ("first", "last"):
        return flat[_speaking(batch, pooling)]
    if pooling != "mean":
        raise ValueError(f"pooling is first, last or mean, not {pooling!r}")
    segments = batch.segment_ids.flatten()
    kept = segments >= 0
    dtype = torch.promote_types(flat.dtype, torch.float32)
    sums = torch.zeros(batch.num_examples, flat.shape[1], dtype=dtype, device=flat.device)
    sums = sums.index_add(0, segments[kept], flat[kept].to(dtype))
    return (sums / batch.segment_lengths.unsqueeze(1)).to(flat.dtype)


def _speaking(batch: PackedBatch, pooling: Pooling) -> Tensor:
    """Where the first or last token of each example stands in the flattened batch, (B,)."""
    if pooling == "first":
        return batch.segment_starts
    return batch.segment_starts + batch.segment_lengths - 1
