"""Cross-entropy of an output layer over a vocabulary, never holding all its logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lit_llm.losses.chunked_logits import (
    CHUNK_TOKENS,
    check_linear,
    chunked_logits,
    word_blocks,
)


def linear_cross_entropy(
    features_MD: Tensor,
    weight_VD: Tensor,
    labels_M: Tensor,
    bias_V: Tensor | None = None,
    chunk_tokens: int = CHUNK_TOKENS,
) -> tuple[Tensor, Tensor]:
    """``cross_entropy(features @ weight.T + bias, labels)``, without the (M, V) logits.

    Summed over targets, and counted; (0, 0) with zero gradient when there are none. The loss being
    a sum, its gradients are added up chunk by chunk in the forward pass, and the backward pass only
    scales them: memory is ``chunk_tokens * V`` numbers beside the gradients, and no logit is
    computed twice. Under autocast matrices are multiplied in its type; softmax, loss and the sums
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

    Source:
        Gradients in the forward pass: Hsu et al. 2024, FusedLinearCrossEntropy, arXiv:2410.10989.
        Differs: the weight's gradient is added up in float32; no kernels of its own.
    """
    dtype = check_linear(features_MD, weight_VD, labels_M, bias_V, chunk_tokens)
    count = torch.full((), len(labels_M), dtype=torch.int64, device=labels_M.device)
    tensors = (features_MD, weight_VD, bias_V)
    # Inside a Function gradients look switched off, and no_grad does not show in needs_input_grad.
    wanted = [
        torch.is_grad_enabled() and tensor is not None and tensor.requires_grad
        for tensor in tensors
    ]
    total: Tensor = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        *tensors, labels_M, chunk_tokens, dtype, wanted
    )
    return total, count


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        features_MD: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        labels_M: Tensor,
        chunk_tokens: int,
        dtype: torch.dtype,
        wanted: list[bool],
    ) -> Tensor:
        wide = torch.promote_types(dtype, torch.float32)
        tensors = (features_MD, weight_VD, bias_V)
        gradients = [
            torch.zeros_like(tensor, dtype=wide) if want and tensor is not None else None
            for tensor, want in zip(tensors, wanted, strict=True)
        ]
        total = torch.zeros((), dtype=wide, device=features_MD.device)
        features_MD, weight_VD = features_MD.to(dtype), weight_VD.to(dtype)
        with torch.autocast(features_MD.device.type, enabled=False):
            for rows, logits_mV in chunked_logits(features_MD, weight_VD, bias_V, chunk_tokens):
                total += _softmax_(logits_mV, labels_M[rows]).sum()
                if any(wanted):
                    _add_gradients(gradients, rows, logits_mV, features_MD[rows], weight_VD)
        ctx.save_for_backward(*gradients)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        # In float32, for float16 cannot hold a loss scale of 2^16; autograd then casts them.
        scaled = (
            None if gradient is None else gradient * upstream for gradient in ctx.saved_tensors
        )
        return *scaled, None, None, None, None


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


def _add_gradients(
    gradients: list[Tensor | None],
    rows: slice,
    slope_mV: Tensor,
    features_mD: Tensor,
    weight_VD: Tensor,
) -> None:
    """What a chunk adds to the gradients of features, weight and bias, in place.

    Args:
        gradients: of (M, D), (V, D) and (V,), float32; None where none is wanted.
        rows: which rows the chunk is.
        slope_mV: gradient with respect to the chunk's logits, float32.
        features_mD: of the chunk, in the type matrices are multiplied in.
        weight_VD: likewise.
    """
    features, weight, bias = gradients
    if bias is not None:
        bias += slope_mV.sum(0)
    for words in word_blocks(slope_mV.shape[1]):
        slope = slope_mV[:, words].to(features_mD.dtype)
        if features is not None:
            features[rows] += slope @ weight_VD[words]
        if weight is not None and weight.dtype == slope.dtype:
            weight[words].addmm_(slope.t(), features_mD)
        elif weight is not None:
            weight[words] += slope.t() @ features_mD
