"""One vector per example of a packed batch."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from lit_llm.backbone.backbone import Backbone
from lit_llm.batch import PackedBatch

Pooling = Literal["first", "last", "mean"]


def pool(backbone: Backbone, batch: PackedBatch, pooling: Pooling) -> Tensor:
    """The first or last token of each example, or the mean over its tokens.

    Args:
        backbone: computes hidden states.
        batch: says where each example stands.
        pooling: which tokens speak for the example.

    Returns:
        (B, D), the hidden states' type; the mean is taken in float32, or float64 if they are.

    Raises:
        ValueError: another word than first, last or mean.
    """
    if pooling == "first":
        return backbone.at(batch, batch.segment_starts)
    if pooling == "last":
        return backbone.at(batch, batch.segment_starts + batch.segment_lengths - 1)
    if pooling != "mean":
        raise ValueError(f"pooling is first, last or mean, not {pooling!r}")
    return mean_of_tokens(backbone(batch), batch)


def mean_of_tokens(hidden_RLD: Tensor, batch: PackedBatch) -> Tensor:
    """The mean over each example's tokens, (B, D); see ``pool``."""
    flat, segments = hidden_RLD.flatten(0, 1), batch.segment_ids.flatten()
    kept = segments >= 0
    dtype = torch.promote_types(flat.dtype, torch.float32)
    sums = torch.zeros(batch.num_examples, flat.shape[1], dtype=dtype, device=flat.device)
    sums = sums.index_add(0, segments[kept], flat[kept].to(dtype))
    return (sums / batch.segment_lengths.unsqueeze(1)).to(flat.dtype)
