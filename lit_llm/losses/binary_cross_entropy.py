"""Binary cross-entropy of any number of classes per target, summed over targets."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from lit_llm.losses.weighted_sum import weighted_sum


def binary_cross_entropy(
    logits_MC: Tensor, labels_MC: Tensor, weights_M: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """``sum over targets of w * mean over classes of -(y log s(x) + (1 - y) log(1 - s(x)))``.

    ``s`` is the logistic function. The *mean* over classes makes sum / count equal to
    ``torch.nn.BCEWithLogitsLoss()`` on the same targets, so learning rates carry over; the sum
    over targets is what the caller divides, once per step. (0, 0) with zero gradient when there
    are no targets.

    Args:
        logits_MC: unnormalised scores, (M, C), C at least 1, floating point; half precision is
            raised to float32 first.
        labels_MC: (M, C), floating point, 0 or 1 (or a probability between).
        weights_M: (M,), at least 0, dimensionless; see ``weighted_sum``.

    Returns:
        (sum, count): scalar () float32 (float64 for float64 logits), nats; scalar () int64,
        targets (not targets times classes), or float32, the sum of their weights.

    Raises:
        ValueError: shapes do not fit, there is no class, labels are not floating point, or, on
            the CPU, a label is outside [0, 1].
    """
    if logits_MC.ndim != 2 or labels_MC.shape != logits_MC.shape:
        raise ValueError(
            "logits and labels must both be (M, C), "
            f"not {tuple(logits_MC.shape)} and {tuple(labels_MC.shape)}"
        )
    if logits_MC.shape[1] == 0:
        raise ValueError("logits must have at least one class: (M, 0) has no mean over classes")
    if not labels_MC.is_floating_point():
        raise ValueError(f"labels must be floating point, 0.0 or 1.0, not {labels_MC.dtype}")
    if labels_MC.device.type == "cpu":
        outside = labels_MC[~((labels_MC >= 0) & (labels_MC <= 1))]
        if outside.numel():
            raise ValueError(f"labels must be in [0, 1], not {float(outside[0])}")
    dtype = torch.promote_types(logits_MC.dtype, torch.float32)
    loss_MC = functional.binary_cross_entropy_with_logits(
        logits_MC.to(dtype), labels_MC.to(dtype), reduction="none"
    )
    return weighted_sum(loss_MC.mean(dim=1), weights_M)
