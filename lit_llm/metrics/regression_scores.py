"""Mean squared error and correlations of one number per example."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class RegressionScores(Metric):
    """Mean squared error, Pearson and Spearman correlation.

    Ranks need all numbers at once, so this metric keeps them (8 bytes per example) and joins them
    over ranks; a rank or an update without examples is fine (torchmetrics 1.9 gives NaN).

    Source:
        Equal to scipy's ``pearsonr`` and ``spearmanr``, where they are defined.
    """

    full_state_update = False
    is_differentiable = False
    predictions: list[Tensor]
    gold: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("predictions", [], dist_reduce_fx="cat")
        self.add_state("gold", [], dist_reduce_fx="cat")

    def update(self, predictions_M: Tensor, gold_M: Tensor) -> None:
        """Keep a batch.

        Args:
            predictions_M: (M,), finite; kept in float32.
            gold_M: (M,), finite; kept in float32.

        Raises:
            ValueError: shapes do not fit, or a number is not finite.
        """
        if predictions_M.ndim != 1 or predictions_M.shape != gold_M.shape:
            raise ValueError(
                "predictions and gold must both be (M,), "
                f"not {tuple(predictions_M.shape)} and {tuple(gold_M.shape)}"
            )
        for name, values_M in (("prediction", predictions_M), ("gold", gold_M)):
            bad = values_M[~values_M.isfinite()]
            if bad.numel():
                raise ValueError(f"{name} {float(bad[0])} is not finite: the model has diverged")
        # float32 always: it is what torchmetrics sends for a rank that kept nothing.
        self.predictions.append(predictions_M.detach().float())
        self.gold.append(gold_M.detach().float())

    def compute(self) -> dict[str, float]:
        """The scores, as plain Python numbers, computed in float64.

        Returns:
            ``mse``, the labels' unit squared; ``pearson`` and ``spearman``, in [-1, 1], ties
            sharing their mean rank. A correlation that is not defined (fewer than two examples,
            or all predictions or all labels equal) is 0.0; without examples all are 0.0.
        """
        if not len(self.predictions):  # a list of batches, or one joined tensor after a sync
            return {"mse": 0.0, "pearson": 0.0, "spearman": 0.0}
        predictions_M = dim_zero_cat(self.predictions).double()
        gold_M = dim_zero_cat(self.gold).double()
        squares = (predictions_M - gold_M).square()
        return {
            "mse": float(squares.sum()) / (squares.numel() or 1),
            "pearson": _correlation(predictions_M, gold_M),
            "spearman": _correlation(_ranks(predictions_M), _ranks(gold_M)),
        }


def _correlation(x_M: Tensor, y_M: Tensor) -> float:
    # Equal numbers can have a mean that differs from them in the last bit: ask them, not the sum.
    if x_M.numel() < 2 or bool((x_M == x_M[0]).all()) or bool((y_M == y_M[0]).all()):
        return 0.0
    x_M, y_M = x_M - x_M.mean(), y_M - y_M.mean()
    value = float((x_M / x_M.norm()) @ (y_M / y_M.norm()))
    return min(max(value, -1.0), 1.0)


def _ranks(values_M: Tensor) -> Tensor:
    """Place of each number in ascending order; equal numbers share the mean of their places."""
    _, inverse_M, counts = torch.unique(values_M, return_inverse=True, return_counts=True)
    places: Tensor = counts.cumsum(0) - (counts.double() - 1) / 2
    return places[inverse_M]
