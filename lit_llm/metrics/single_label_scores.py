"""Accuracy, F1 and Matthews correlation of one class per example."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchmetrics import Metric

from lit_llm.metrics.check_probabilities import check_probabilities
from lit_llm.metrics.precision_recall_f1 import macro_average, precision_recall_f1


class SingleLabelScores(Metric):
    """What one confusion matrix says; the most probable class is the prediction.

    The state is the confusion matrix (gold down, prediction across), in whole numbers, so any
    split over ranks and updates, empty ones among them, gives the same scores. (torchmetrics 1.9
    refuses an empty batch, which is what a rank without examples has, and its Matthews correlation
    is not 0 when only one class is predicted.)

    Args:
        num_labels: C, at least 2.

    Raises:
        ValueError: ``num_labels`` is below 2.

    Source:
        Matthews correlation of C classes: Gorodkin 2004. All equal to scikit-learn.
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    confusion_CC: Tensor

    def __init__(self, num_labels: int) -> None:
        super().__init__()
        if num_labels < 2:
            raise ValueError(f"num_labels must be at least 2, not {num_labels}")
        self.num_labels = num_labels
        zeros = torch.zeros(num_labels, num_labels, dtype=torch.int64)
        self.add_state("confusion_CC", zeros, dist_reduce_fx="sum")

    def update(self, probabilities_MC: Tensor, gold_M: Tensor) -> None:
        """Count a batch.

        Args:
            probabilities_MC: (M, C), in [0, 1]; of equal ones the first class is predicted.
            gold_M: (M,), int64, 0 to C - 1.

        Raises:
            ValueError: shapes do not fit, or a probability or label is out of range.
        """
        check_probabilities(probabilities_MC, gold_M, self.num_labels)
        if gold_M.ndim != 1:
            raise ValueError(f"gold must be one class number per example, not {gold_M.shape}")
        cells = gold_M.long() * self.num_labels + probabilities_MC.argmax(dim=1)
        counts = torch.bincount(cells, minlength=self.num_labels**2)
        self.confusion_CC += counts.view_as(self.confusion_CC)

    def compute(self) -> dict[str, float]:
        """The scores, as plain Python numbers.

        Returns:
            ``accuracy``, in [0, 1]; ``f1``, the mean over classes that stand in gold or
            prediction (macro); ``mcc``, in [-1, 1], 0.0 where it is not defined (one class only);
            for two classes also ``f1_positive``, of class 1. Without examples all are 0.0.
            (The micro F1 of single labels is the accuracy.)
        """
        confusion: list[list[int]] = self.confusion_CC.tolist()  # exact, whatever the counts
        gold = [sum(row) for row in confusion]
        predicted = [sum(column) for column in zip(*confusion, strict=True)]
        correct = [confusion[c][c] for c in range(self.num_labels)]
        total = sum(gold)
        rows = [precision_recall_f1(*row) for row in zip(correct, predicted, gold, strict=True)]
        occurring = [row for row, p, g in zip(rows, predicted, gold, strict=True) if p + g]
        scores = {
            "accuracy": sum(correct) / (total or 1),
            "f1": macro_average(occurring)["f1"],
            "mcc": _matthews_correlation(sum(correct), gold, predicted),
        }
        if self.num_labels == 2:
            scores["f1_positive"] = rows[1]["f1"]
        return scores


def _matthews_correlation(correct: int, gold: list[int], predicted: list[int]) -> float:
    total = sum(gold)
    covariance = correct * total - sum(p * g for p, g in zip(predicted, gold, strict=True))
    gold_variance = total**2 - sum(g * g for g in gold)
    predicted_variance = total**2 - sum(p * p for p in predicted)
    if not gold_variance or not predicted_variance:
        return 0.0
    return covariance / math.sqrt(gold_variance * predicted_variance)
