"""How likely an output layer over a vocabulary finds each target, for evaluation."""

from __future__ import annotations

import torch
from torch import Tensor

from lit_llm.losses.chunked_logits import (
    CHUNK_TOKENS,
    check_linear,
    chunked_logits,
)


@torch.no_grad()
def linear_log_likelihood(
    features_MD: Tensor,
    weight_VD: Tensor,
    labels_M: Tensor,
    bias_V: Tensor | None = None,
    chunk_tokens: int = CHUNK_TOKENS,
) -> tuple[Tensor, Tensor]:
    """``log_softmax(features @ weight.T + bias)`` at the labels, and whether they score highest.

    Never holds the (M, V) logits, and gives no gradient: ``linear_cross_entropy`` does. That
    function's loss is minus the sum of these log-likelihoods.

    Args:
        features_MD: what goes into the output layer, (M, D), floating point.
        weight_VD: (V, D); outside autocast of the features' type.
        labels_M: (M,), int64, 0 to V - 1.
        bias_V: (V,), or none.
        chunk_tokens: rows at a time, at least 1; the result does not depend on it.

    Returns:
        (log_likelihood, correct): (M,) float32 (float64 for float64 features), nats, at most 0;
        (M,) bool, the label is the most likely token (the first of equals).

    Raises:
        ValueError: as ``linear_cross_entropy``.
    """
    dtype = check_linear(features_MD, weight_VD, labels_M, bias_V, chunk_tokens)
    features_MD, weight_VD = features_MD.to(dtype), weight_VD.to(dtype)
    wide = torch.promote_types(dtype, torch.float32)
    log_likelihood_M = features_MD.new_empty(len(labels_M), dtype=wide)
    correct_M = torch.empty_like(labels_M, dtype=torch.bool)
    with torch.autocast(features_MD.device.type, enabled=False):
        for rows, logits_mV in chunked_logits(features_MD, weight_VD, bias_V, chunk_tokens):
            label_m = labels_M[rows]
            correct_M[rows] = logits_mV.argmax(1) == label_m
            label_logit_m = logits_mV.gather(1, label_m.unsqueeze(1)).squeeze(1)
            log_likelihood_M[rows] = label_logit_m - logits_mV.logsumexp(1)
    return log_likelihood_M, correct_M
