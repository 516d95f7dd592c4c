"""Refuse what cannot be scored, before it is summed away."""

from __future__ import annotations

import torch
from torch import Tensor


def check_probabilities(probabilities_MC: Tensor, gold: Tensor, num_labels: int) -> None:
    """Check one batch of a classification metric.

    Args:
        probabilities_MC: (M, C), C = ``num_labels``, in [0, 1].
        gold: (M,) class numbers, or (M, C) of 0 and 1; any number type.
        num_labels: C.

    Raises:
        ValueError: shapes do not fit, a probability is not in [0, 1] (a model that has diverged
            gives NaN), or a label is outside 0 to C - 1, or neither 0 nor 1 for (M, C).
    """
    if probabilities_MC.ndim != 2 or probabilities_MC.shape[1] != num_labels:
        raise ValueError(
            f"probabilities must be (M, {num_labels}), not {tuple(probabilities_MC.shape)}"
        )
    if gold.shape not in (probabilities_MC.shape[:1], probabilities_MC.shape):
        raise ValueError(
            f"gold of shape {tuple(gold.shape)} does not stand beside probabilities of shape "
            f"{tuple(probabilities_MC.shape)}"
        )
    # The tolerance is for softmax in half precision, which can round above 1.
    bad = ~((probabilities_MC >= 0) & (probabilities_MC <= 1.01))
    if bad.any():
        row = int(bad.any(dim=1).nonzero()[0])
        value = float(probabilities_MC[row][bad[row]][0])
        raise ValueError(
            f"probability {value} of row {row} is not in [0, 1]: pass probabilities, not logits; "
            "NaN means that the model has diverged"
        )
    largest = num_labels - 1 if gold.ndim == 1 else 1
    wrong = gold[(gold < 0) | (gold > largest) | (gold != gold.to(torch.int64))]
    if wrong.numel():
        raise ValueError(f"gold label {wrong[0].item()} must be a whole number, 0 to {largest}")
