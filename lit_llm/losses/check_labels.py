"""Labels that must be class numbers."""

from __future__ import annotations

import torch
from torch import Tensor


def check_labels(labels_M: Tensor, num_classes: int) -> None:
    """Refuse labels that no output stands for.

    Args:
        labels_M: class numbers, (M,).
        num_classes: outputs of the head, C or V.

    Raises:
        ValueError: labels are not int64, or, on the CPU, one is outside 0 to ``num_classes`` - 1
            (CUDA stops with a device-side assert: looking first would make the step wait for the
            device).
    """
    if labels_M.dtype != torch.int64:
        raise ValueError(f"labels must be class numbers in int64, not {labels_M.dtype}")
    if labels_M.device.type == "cpu":
        outside = labels_M[(labels_M < 0) | (labels_M >= num_classes)]
        if outside.numel():
            raise ValueError(
                f"label {int(outside[0])} is outside 0 to {num_classes - 1}: "
                "the head needs one output per class of the data"
            )
