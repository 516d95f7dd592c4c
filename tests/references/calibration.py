"""Expected calibration error, example by example: Guo et al. 2017, section 2, equations 2 and 3."""

from __future__ import annotations

from collections.abc import Sequence


def expected_calibration_error(
    probabilities: Sequence[Sequence[float]], gold: Sequence[int], num_bins: int
) -> float:
    error = 0.0
    for m in range(1, num_bins + 1):
        members = [
            (max(row), row.index(max(row)) == label)
            for row, label in zip(probabilities, gold, strict=True)
            if (m - 1) / num_bins < max(row) <= m / num_bins
        ]
        if members:
            confidence = sum(c for c, _ in members) / len(members)
            accuracy = sum(right for _, right in members) / len(members)
            error += len(members) / len(gold) * abs(accuracy - confidence)
    return error
