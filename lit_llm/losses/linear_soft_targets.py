"""A student's output layer over a vocabulary against a teacher's, never holding all logits."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lit_llm.losses.chunked_logits import CHUNK_TOKENS, check_linear
from lit_llm.losses.linear_loss import linear_loss
from lit_llm.losses.linear_top_k_targets import TopK, linear_top_k_targets
from lit_llm.losses.soft_targets import Divergence, soft_targets

Scores = Callable[[slice], Tensor]
"""Of some rows, a teacher's scores of the vocabulary, (m, V), floating point."""


def linear_soft_targets(
    features_MD: Tensor,
    weight_VD: Tensor,
    teacher: Scores | TopK,
    bias_V: Tensor | None = None,
    temperature: float = 1.0,
    divergence: Divergence = "kl",
    chunk_tokens: int = CHUNK_TOKENS,
) -> tuple[Tensor, Tensor]:
    """``soft_targets(features @ weight.T + bias, teacher)``, without the (M, V) logits.

    Memory is a few times ``chunk_tokens * V`` numbers beside the gradients; see ``linear_loss``.

    Args:
        features_MD: what goes into the student's output layer, (M, D), floating point.
        weight_VD: (V, D); outside autocast of the features' type.
        teacher: asked for ``chunk_tokens`` rows at a time, without gradients, in order; or what it
            once said of its likeliest words, for ``linear_top_k_targets``.
        bias_V: (V,), or none.
        temperature: see ``soft_targets``.
        divergence: likewise.
        chunk_tokens: rows at a time, at least 1; the result does not depend on it.

    Returns:
        (sum, count): scalar () float32 (float64 for float64 features); scalar () int64, targets.

    Raises:
        ValueError: shapes or types do not fit, ``chunk_tokens`` is below 1, or as
            ``soft_targets`` and ``linear_top_k_targets``.
    """
    if isinstance(teacher, TopK):
        return linear_top_k_targets(
            features_MD, weight_VD, teacher, bias_V, temperature, divergence, chunk_tokens
        )
    dtype = check_linear(features_MD, weight_VD, None, bias_V, chunk_tokens)

    def losses_(rows: slice, logits_mV: Tensor) -> Tensor:
        student_mV = logits_mV.clone().requires_grad_()
        with torch.enable_grad():
            total, _ = soft_targets(student_mV, teacher(rows), temperature, divergence)
        (slope_mV,) = torch.autograd.grad(total, student_mV)
        logits_mV.copy_(slope_mV)
        return total.detach()

    total = linear_loss(features_MD, weight_VD, bias_V, losses_, chunk_tokens, dtype)
    return total, torch.full((), len(features_MD), dtype=torch.int64, device=features_MD.device)


def linear_scores(features_MD: Tensor, weight_VD: Tensor, bias_V: Tensor | None = None) -> Scores:
    """Scores of a teacher's own output layer, a few rows at a time, without gradients.

    Args:
        features_MD: (M, D).
        weight_VD: (V, D).
        bias_V: (V,), or none.
    """
    dtype = check_linear(features_MD, weight_VD, None, bias_V, CHUNK_TOKENS)
    features_MD, weight_VD = features_MD.detach().to(dtype), weight_VD.detach().to(dtype)

    def scores(rows: slice) -> Tensor:
        logits_mV = (features_MD[rows] @ weight_VD.t()).to(
            torch.promote_types(dtype, torch.float32)
        )
        return logits_mV if bias_V is None else logits_mV + bias_V.detach()

    return scores
