"""A loss per target becomes a sum and a count."""

from __future__ import annotations

import torch
from torch import Tensor


def weighted_sum(loss_M: Tensor, weights_M: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """``sum(w * loss)`` and what to divide it by: the number of targets, or ``sum(w)``.

    With the k windows of one review weighing 1/k each, the count is the number of reviews. The
    sum hangs on the graph of ``loss_M`` even when M is 0: it is 0 then, with zero gradient, so a
    rank without targets runs the same backward pass as the others.

    Args:
        loss_M: one loss per target, (M,), floating point.
        weights_M: (M,), at least 0, dimensionless; receives no gradient. Default: 1 each.

    Returns:
        (sum, count): scalar () of the loss's dtype; scalar (), int64 without weights and float32
        with them.

    Raises:
        ValueError: ``weights_M`` is not of the shape of ``loss_M``.
    """
    if weights_M is None:
        count = torch.full((), loss_M.numel(), dtype=torch.int64, device=loss_M.device)
        return loss_M.sum(), count
    if weights_M.shape != loss_M.shape:
        raise ValueError(
            f"weights must be one per target, {tuple(loss_M.shape)}, not {tuple(weights_M.shape)}"
        )
    weights_M = weights_M.detach().to(loss_M.dtype)
    return (weights_M * loss_M).sum(), weights_M.sum(dtype=torch.float32)
