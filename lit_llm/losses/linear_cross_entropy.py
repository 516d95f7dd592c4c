"""Cross-entropy of an output layer over a vocabulary, never holding all its logits."""

from __future__ import annotations

import torch
from torch import Tensor

from lit_llm.losses.chunked_logits import CHUNK_TOKENS, check_linear
from lit_llm.losses.linear_loss import linear_loss


def linear_cross_entropy(
    features_MD: Tensor,
    weight_VD: Tensor,
    labels_M: Tensor,
    bias_V: Tensor | None = None,
    chunk_tokens: int = CHUNK_TOKENS,
) -> tuple[Tensor, Tensor]:
    """``cross_entropy(features @ weight.T + bias, labels)``, without the (M, V) logits.

    Summed over targets, and counted; (0, 0) with zero gradient when there are none. Memory is
    ``chunk_tokens * V`` numbers beside the gradients, and no logit is computed twice; see
    ``linear_loss``. Under autocast matrices are multiplied in its type; softmax, loss and the sums
    over chunks stay in float32. Cannot be differentiated twice.

    Args:
        features_MD: what goes into the output layer, (M, D), floating point.
        weight_VD: (V, D); outside autocast of the features' type.
        labels_M: (M,), int64, 0 to V - 1.
        bias_V: (V,), or none.
        chunk_tokens: rows at a time, at least 1; the result does not depend on it.

    Returns:
        (sum, count): scalar () float32 (float64 for float64 features), nats; scalar () int64,
        targets.

    Raises:
        ValueError: shapes or types do not fit, ``chunk_tokens`` is below 1, or, on the CPU, a
            label is outside 0 to V - 1 (see ``check_labels``).
    """
    dtype = check_linear(features_MD, weight_VD, labels_M, bias_V, chunk_tokens)
    count = torch.full((), len(labels_M), dtype=torch.int64, device=labels_M.device)

    def losses_(rows: slice, logits_mV: Tensor) -> Tensor:
        return _softmax_(logits_mV, labels_M[rows])

    return linear_loss(features_MD, weight_VD, bias_V, losses_, chunk_tokens, dtype), count


def _softmax_(logits_mV: Tensor, labels_m: Tensor) -> Tensor:
    """The loss of each row, (m,); the logits become its gradient with respect to them."""
    at = labels_m.unsqueeze(1)
    label_logit_m = logits_mV.gather(1, at).squeeze(1)
    maximum_m1 = logits_mV.amax(1, keepdim=True)
    sum_m1 = logits_mV.sub_(maximum_m1).exp_().sum(1, keepdim=True)
    loss_m = (maximum_m1 + sum_m1.log()).squeeze(1) - label_logit_m
    logits_mV.div_(sum_m1)
    logits_mV.scatter_(1, at, logits_mV.gather(1, at) - 1)
    return loss_m
