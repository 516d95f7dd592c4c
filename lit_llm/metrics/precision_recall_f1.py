"""Precision, recall and F1 from counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Scores = dict[str, float]
"""``precision``, ``recall``, ``f1``, each in [0, 1], and ``support``, the gold count."""


def precision_recall_f1(correct: int, predicted: int, gold: int) -> Scores:
    """Scores of one class.

    A quotient without a denominator is 0.0, as conlleval and seqeval print it: nothing predicted
    has precision 0, nothing in the gold has recall 0, and neither has F1 0.

    Args:
        correct: how many stand in both gold and prediction.
        predicted: how many stand in the prediction.
        gold: how many stand in the gold.
    """
    return {
        "precision": correct / predicted if predicted else 0.0,
        "recall": correct / gold if gold else 0.0,
        # 2PR / (P + R) without the two roundings.
        "f1": 2 * correct / (predicted + gold) if predicted + gold else 0.0,
        "support": gold,
    }


def micro_average(rows: Sequence[tuple[int, int, int]]) -> Scores:
    """Scores of all classes as one: (correct, predicted, gold) are summed first."""
    return precision_recall_f1(*(sum(row[column] for row in rows) for column in range(3)))


def macro_average(rows: Sequence[Mapping[str, float]]) -> Scores:
    """Unweighted mean over classes; 0.0 when there is none.

    The caller leaves out classes that stand neither in gold nor in the prediction.
    """
    return _mean(rows, [1] * len(rows))


def weighted_average(rows: Sequence[Mapping[str, float]]) -> Scores:
    """Mean over classes weighted by their support; 0.0 when all supports are 0."""
    return _mean(rows, [int(row["support"]) for row in rows])


def _mean(rows: Sequence[Mapping[str, float]], weights: Sequence[int]) -> Scores:
    means: Scores = {
        name: sum(weight * row[name] for weight, row in zip(weights, rows, strict=True))
        / (sum(weights) or 1)
        for name in ("precision", "recall", "f1")
    }
    means["support"] = sum(int(row["support"]) for row in rows)
    return means
