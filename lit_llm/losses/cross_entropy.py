"""Cross-entropy of one class per target, summed."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from lit_llm.losses.check_labels import check_labels
from lit_llm.losses.weighted_sum import weighted_sum

# torch skips labels of -100 unless told otherwise, while the count would go on counting them.
_NO_LABEL_IS_IGNORED = torch.iinfo(torch.int64).min


def cross_entropy(
    logits_MC: Tensor,
    labels_M: Tensor,
    weights_M: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """``sum(w * ((1 - e) * -log p[label] + e * mean over classes of -log p))``, e the smoothing.

    Summed over targets, and counted; (0, 0) with zero gradient when there are none. Every target
    is scored: no label means "ignore me". The caller divides once per step.

    Args:
        logits_MC: unnormalised scores, (M, C), floating point; half precision is raised to
            float32 first.
        labels_M: (M,), int64, 0 to C - 1.
        weights_M: (M,), at least 0, dimensionless; see ``weighted_sum``.
        label_smoothing: probability mass spread evenly over all classes, in [0, 1].

    Returns:
        (sum, count): scalar () float32 (float64 for float64 logits), nats; scalar () int64,
        targets, or float32, the sum of their weights.

    Raises:
        ValueError: shapes do not fit, labels are not int64, ``label_smoothing`` is outside [0, 1],
            or, on the CPU, a label is outside 0 to C - 1; see ``check_labels``.

    Source:
        Smoothing: Szegedy et al. 2016, section 7, arXiv:1512.00567.
        Differs: a sum, not a mean.
    """
    if logits_MC.ndim != 2 or labels_M.shape != logits_MC.shape[:1]:
        raise ValueError(
            "logits must be (M, C) and labels (M,), "
            f"not {tuple(logits_MC.shape)} and {tuple(labels_M.shape)}"
        )
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"label_smoothing must be in [0, 1], not {label_smoothing}")
    check_labels(labels_M, logits_MC.shape[1])
    loss_M = functional.cross_entropy(
        logits_MC.to(torch.promote_types(logits_MC.dtype, torch.float32)),
        labels_M,
        reduction="none",
        ignore_index=_NO_LABEL_IS_IGNORED,
        label_smoothing=label_smoothing,
    )
    return weighted_sum(loss_M, weights_M)
