"""Logits of an output layer over a vocabulary, a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from lit_llm.losses.check_labels import check_labels

# Of 256, 512 and 1,024 the fastest at D = 384 and V = 30,522 on a CPU (8,192 rows in bfloat16: 5.4,
# 4.7 and 5.3 s): fewer rows add up the weight's gradient more often, more rows leave the caches.
CHUNK_TOKENS = 512
# A narrow product's share of the vocabulary at a time: small enough for the allocator to hand out
# the same memory again. At 8,192 targets in training the whole vocabulary took 1.4 times as long.
BLOCK_WORDS = 8192


def check_linear(
    features_MD: Tensor,
    weight_VD: Tensor,
    labels_M: Tensor | None,
    bias_V: Tensor | None,
    chunk: int,
) -> torch.dtype:
    """Refuse what does not fit together.

    Returns:
        The type to multiply in, as a linear layer would: autocast's, or the operands' own.

    Raises:
        ValueError: shapes or, outside autocast, types do not fit, ``chunk`` is below 1, or as
            ``check_labels``.
    """
    rows = features_MD.shape[:1] if labels_M is None else labels_M.shape
    fits = features_MD.ndim == 2 and weight_VD.ndim == 2
    if not fits or features_MD.shape != (*rows, *weight_VD.shape[1:]):
        raise ValueError(
            "features must be (M, D), weight (V, D) and labels (M,), not "
            f"{tuple(features_MD.shape)}, {tuple(weight_VD.shape)} and {tuple(rows)}"
        )
    if bias_V is not None and bias_V.shape != weight_VD.shape[:1]:
        raise ValueError(f"bias must be {tuple(weight_VD.shape[:1])}, not {tuple(bias_V.shape)}")
    if chunk < 1:
        raise ValueError(f"chunk_tokens must be at least 1, not {chunk}")
    if labels_M is not None:
        check_labels(labels_M, weight_VD.shape[0])
    device = features_MD.device.type
    if torch.is_autocast_enabled(device) and features_MD.dtype != torch.float64:
        return torch.get_autocast_dtype(device)
    if features_MD.dtype != weight_VD.dtype:
        raise ValueError(f"features are {features_MD.dtype} and weight is {weight_VD.dtype}")
    return features_MD.dtype


def chunked_logits(
    features_MD: Tensor, weight_VD: Tensor, bias_V: Tensor | None, chunk_tokens: int
) -> Iterator[tuple[slice, Tensor]]:
    """``features @ weight.T + bias``, ``chunk_tokens`` rows at a time.

    The product is made in the operands' type and the bias added in float32. To be called without
    gradients, and outside autocast.

    Args:
        features_MD: (M, D), M may be 0.
        weight_VD: (V, D), of the same type.
        bias_V: (V,), any floating type, or none.
        chunk_tokens: rows at a time, at least 1.

    Yields:
        Which rows, and their logits, (m, V), float32 (float64 for float64 features). The caller
        may write into them; the next ones overwrite them.
    """
    M, V = len(features_MD), len(weight_VD)
    dtype = torch.promote_types(features_MD.dtype, torch.float32)
    # Made once: fresh memory of this size costs as much time as the softmax that fills it.
    room_mV = features_MD.new_empty(min(chunk_tokens, M), V, dtype=dtype)
    for start in range(0, M, chunk_tokens):
        rows = slice(start, min(start + chunk_tokens, M))
        logits_mV = room_mV[: rows.stop - start]
        if dtype == features_MD.dtype:
            torch.mm(features_MD[rows], weight_VD.t(), out=logits_mV)
        else:
            for words in word_blocks(V):
                logits_mV[:, words] = features_MD[rows] @ weight_VD[words].t()
        if bias_V is not None:
            logits_mV += bias_V
        yield rows, logits_mV


def word_blocks(vocabulary_size: int) -> Iterator[slice]:
    """The vocabulary in runs of at most ``BLOCK_WORDS``."""
    for start in range(0, vocabulary_size, BLOCK_WORDS):
        yield slice(start, min(start + BLOCK_WORDS, vocabulary_size))
