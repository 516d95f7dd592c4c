"""Squared error of one number per target, summed."""

from __future__ import annotations

import torch
from torch import Tensor

from lit_llm.losses.weighted_sum import weighted_sum


def squared_error(
    predictions_M: Tensor, labels_M: Tensor, weights_M: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """``sum(w * (prediction - label)^2)``.

    Summed over targets, and counted; (0, 0) with zero gradient when there are none. The caller
    divides once per step, and has the mean squared error.

    Args:
        predictions_M: (M,), floating point; half precision is raised to float32 first. A head
            with one output gives (M, 1): squeeze it, for (M, 1) against (M,) would silently
            become every prediction against every label.
        labels_M: (M,), floating point, in the same unit.
        weights_M: (M,), at least 0, dimensionless; see ``weighted_sum``.

    Returns:
        (sum, count): scalar () float32 (float64 for float64 predictions), the labels' unit
        squared; scalar () int64, targets, or float32, the sum of their weights.

    Raises:
        ValueError: shapes do not fit, or labels are not floating point.
    """
    if predictions_M.ndim != 1 or labels_M.shape != predictions_M.shape:
        raise ValueError(
            "predictions and labels must both be (M,), "
            f"not {tuple(predictions_M.shape)} and {tuple(labels_M.shape)}: squeeze the one output"
        )
    if not labels_M.is_floating_point():
        raise ValueError(f"labels must be floating point, not {labels_M.dtype}")
    dtype = torch.promote_types(predictions_M.dtype, torch.float32)
    return weighted_sum((predictions_M.to(dtype) - labels_M.to(dtype)).square(), weights_M)
