"""F1 and exact match of any number of classes per example."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from lit_llm.metrics.check_probabilities import check_probabilities
from lit_llm.metrics.precision_recall_f1 import macro_average, micro_average, precision_recall_f1


class MultiLabelScores(Metric):
    """Scores of sets of classes; a class is predicted when its probability is above 0.5.

    The states are summed counts, so any split over ranks and updates gives the same numbers.

    Args:
        num_labels: C, at least 1.

    Raises:
        ValueError: ``num_labels`` is below 1.

    Source:
        Equal to scikit-learn with multi-label indicators, ``zero_division=0``.
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    counts: Tensor
    exact: Tensor
    total: Tensor

    def __init__(self, num_labels: int) -> None:
        super().__init__()
        if num_labels < 1:
            raise ValueError(f"num_labels must be at least 1, not {num_labels}")
        self.num_labels = num_labels
        # Rows: correct, predicted, gold.
        zeros = torch.zeros(3, num_labels, dtype=torch.int64)
        self.add_state("counts", zeros, dist_reduce_fx="sum")
        self.add_state("exact", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("total", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, probabilities_MC: Tensor, gold_MC: Tensor) -> None:
        """Count a batch.

        Args:
            probabilities_MC: (M, C), in [0, 1], each class by itself (a sigmoid's output).
            gold_MC: (M, C), 0 or 1, any number type.

        Raises:
            ValueError: shapes do not fit, or a probability or label is out of range.
        """
        check_probabilities(probabilities_MC, gold_MC, self.num_labels)
        if gold_MC.ndim != 2:
            raise ValueError(f"gold must be 0 or 1 per example and class, not {gold_MC.shape}")
        predicted_MC, gold_MC = probabilities_MC > 0.5, gold_MC > 0.5
        kept = torch.stack([predicted_MC & gold_MC, predicted_MC, gold_MC])
        self.counts += kept.sum(dim=1)
        self.exact += (predicted_MC == gold_MC).all(dim=1).sum()
        self.total += len(gold_MC)

    def compute(self) -> dict[str, float]:
        """The scores, as plain Python numbers in [0, 1].

        Returns:
            ``f1``, the mean over all classes (macro; a class that never occurs counts as 0.0, as
            in scikit-learn); ``micro_f1``, over all decisions; ``exact_match``, the fraction of
            examples whose set of classes is right. Without examples all are 0.0.
        """
        rows = [(row[0], row[1], row[2]) for row in self.counts.T.tolist()]
        return {
            "f1": macro_average([precision_recall_f1(*row) for row in rows])["f1"],
            "micro_f1": micro_average(rows)["f1"],
            "exact_match": int(self.exact) / (int(self.total) or 1),
        }
