"""Expected calibration error from summed bins."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from lit_llm.metrics.check_probabilities import check_probabilities

# Confidences are summed as whole multiples of 2^-36, so that no order of ranks or batches changes
# the sum: exact for float32 confidences above 2^-12, and 100 million of them fit an int64.
_ONE = 2**36


class CalibrationError(Metric):
    """How far confidence is from accuracy: ``sum over bins of n_b / n * |accuracy_b - conf_b|``.

    The confidence of a prediction is the probability of its most probable class; bin b holds the
    confidences in ((b - 1) / num_bins, b / num_bins]. The state is summed counts per bin, so any
    split over ranks and updates gives the same number, and memory does not grow.

    Args:
        num_labels: C, at least 2.
        num_bins: bins of equal width, at least 1.

    Raises:
        ValueError: ``num_labels`` or ``num_bins`` is too small.

    Source:
        Guo et al. 2017, section 2, arXiv:1706.04599 (15 bins in its section 5). Equal to
        torchmetrics' ``MulticlassCalibrationError(norm="l1")``, which keeps every example and
        puts a confidence on a border into the bin above.
    """

    full_state_update = False
    higher_is_better = False
    is_differentiable = False
    counts: Tensor

    def __init__(self, num_labels: int, num_bins: int = 15) -> None:
        super().__init__()
        if num_labels < 2:
            raise ValueError(f"num_labels must be at least 2, not {num_labels}")
        if num_bins < 1:
            raise ValueError(f"num_bins must be at least 1, not {num_bins}")
        self.num_labels, self.num_bins = num_labels, num_bins
        # Rows: predictions, correct ones, confidence in units of 1 / _ONE.
        zeros = torch.zeros(3, num_bins, dtype=torch.int64)
        self.add_state("counts", zeros, dist_reduce_fx="sum")

    def update(self, probabilities_MC: Tensor, gold_M: Tensor) -> None:
        """Sort a batch into bins.

        Args:
            probabilities_MC: (M, C), in [0, 1]; each row sums to 1.
            gold_M: (M,), int64, 0 to C - 1.

        Raises:
            ValueError: shapes do not fit, or a probability or label is out of range.
        """
        check_probabilities(probabilities_MC, gold_M, self.num_labels)
        if gold_M.ndim != 1:
            raise ValueError(f"gold must be one class number per example, not {gold_M.shape}")
        confidence_M, predicted_M = probabilities_MC.double().max(dim=1)
        borders = torch.arange(1, self.num_bins, device=confidence_M.device) / self.num_bins
        bins_M = torch.bucketize(confidence_M, borders.double())
        values = torch.stack(
            [
                torch.ones_like(gold_M, dtype=torch.int64),
                (predicted_M == gold_M).long(),
                (confidence_M * _ONE).round().long(),
            ]
        )
        self.counts.index_add_(1, bins_M, values)

    def compute(self) -> float:
        """The error, in [0, 1], as a plain Python number; 0.0 without examples."""
        count, correct, confidence = self.counts.tolist()
        gaps = [abs(c - total / _ONE) for c, total in zip(correct, confidence, strict=True)]
        return float(sum(gaps) / (sum(count) or 1))
