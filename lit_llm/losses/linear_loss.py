"""A loss of an output layer over a vocabulary, a sum over rows, never holding all its logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lit_llm.losses.chunked_logits import chunked_logits, word_blocks

Losses = Callable[[slice, Tensor], Tensor]
"""Of (which rows, their logits (m, V)) their losses, (m,) or their sum; the logits become the
gradient of the sum with respect to them, in place."""


def linear_loss(
    features_MD: Tensor,
    weight_VD: Tensor,
    bias_V: Tensor | None,
    losses_: Losses,
    chunk_tokens: int,
    dtype: torch.dtype,
) -> Tensor:
    """The sum of a loss over rows of ``features @ weight.T + bias``.

    Its gradients are added up chunk by chunk in the forward pass, and the backward pass only scales
    them. Cannot be differentiated twice.

    Args:
        features_MD: (M, D), floating point.
        weight_VD: (V, D).
        bias_V: (V,), or none.
        losses_: what is summed.
        chunk_tokens: rows at a time.
        dtype: matrices are multiplied in it; see ``check_linear``.

    Returns:
        scalar (), float32 (float64 for float64 features).

    Source:
        Gradients in the forward pass: Hsu et al. 2024, FusedLinearCrossEntropy, arXiv:2410.10989.
        Differs: the weight's gradient is added up in float32; no kernels of its own.
    """
    tensors = (features_MD, weight_VD, bias_V)
    # Inside a Function gradients look switched off, and no_grad does not show in needs_input_grad.
    wanted = [
        torch.is_grad_enabled() and tensor is not None and tensor.requires_grad
        for tensor in tensors
    ]
    total: Tensor = _LinearLoss.apply(  # type: ignore[no-untyped-call]
        *tensors, losses_, chunk_tokens, dtype, wanted
    )
    return total


class _LinearLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        features_MD: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        losses_: Losses,
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
                total += losses_(rows, logits_mV).sum()
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
