"""The metrics of a sequence classification problem, under the names they are logged by."""

from __future__ import annotations

from torchmetrics import Metric, MetricCollection

from lit_llm.metrics.calibration_error import CalibrationError
from lit_llm.metrics.multi_label_scores import MultiLabelScores
from lit_llm.metrics.regression_scores import RegressionScores
from lit_llm.metrics.single_label_scores import SingleLabelScores


def classification_metrics(problem: str, num_labels: int) -> MetricCollection:
    """One collection to update, compute and reset.

    ``compute()`` gives a flat mapping of names to plain Python numbers:

    - ``single_label_classification``: ``accuracy``, ``f1`` (macro), ``mcc``,
      ``calibration_error`` (15 bins) and, for two classes, ``f1_positive``;
      ``update(probabilities (M, C), gold (M,) int64)``.
    - ``multi_label_classification``: ``f1`` (macro), ``micro_f1``, ``exact_match``;
      ``update(probabilities (M, C), gold (M, C) of 0 and 1)``.
    - ``regression``: ``mse``, ``pearson``, ``spearman``; ``update(predictions (M,), gold (M,))``.

    Args:
        problem: transformers' name for it, ``config.problem_type``.
        num_labels: C; 1 for regression.

    Raises:
        ValueError: the problem is none of the three, or ``num_labels`` does not fit it.
    """
    metrics: dict[str, Metric | MetricCollection]
    if problem == "single_label_classification":
        metrics = {
            "scores": SingleLabelScores(num_labels),
            "calibration_error": CalibrationError(num_labels),
        }
    elif problem == "multi_label_classification":
        metrics = {"scores": MultiLabelScores(num_labels)}
    elif problem == "regression":
        if num_labels != 1:
            raise ValueError(
                f"regression predicts one number: num_labels must be 1, not {num_labels}"
            )
        metrics = {"scores": RegressionScores()}
    else:
        raise ValueError(
            f"problem {problem!r} must be single_label_classification, "
            "multi_label_classification or regression"
        )
    # Compute groups would guess from the first batch which metrics share a state; none do.
    return MetricCollection(metrics, compute_groups=False)
