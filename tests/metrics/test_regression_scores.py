from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import mean_squared_error

from lit_llm.metrics.regression_scores import RegressionScores


def scores(predictions_M: torch.Tensor, gold_M: torch.Tensor) -> dict[str, float]:
    metric = RegressionScores()
    metric.update(predictions_M, gold_M)
    return metric.compute()


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_scores_equal_scipy_with_and_without_ties(offset: float) -> None:
    for seed in range(30):
        g = torch.Generator().manual_seed(seed)
        gold_M = torch.randint(6, (25,), generator=g).float() + offset
        predictions_M = gold_M + torch.randn(25, generator=g)
        found = scores(predictions_M, gold_M)
        x, y = predictions_M.double(), gold_M.double()
        assert found["mse"] == pytest.approx(mean_squared_error(y, x))
        assert found["pearson"] == pytest.approx(pearsonr(x, y).statistic)
        assert found["spearman"] == pytest.approx(spearmanr(x, y).statistic)


def test_four_numbers_have_their_hand_value() -> None:
    # Centred: (-1.5, -0.5, 0.5, 1.5) and (-1.5, 0.5, -0.5, 1.5): (2.25 * 2 - 0.25 * 2) / 5 = 0.8;
    # they are their own ranks. Squared errors 0, 1, 1, 0.
    found = scores(torch.tensor([1.0, 2, 3, 4]), torch.tensor([1.0, 3, 2, 4]))
    assert found == pytest.approx({"mse": 0.5, "pearson": 0.8, "spearman": 0.8})


def test_undefined_correlations_are_zero() -> None:
    constant_M, gold_M = torch.full((3,), 0.1), torch.tensor([1.0, 2, 3])
    for found in (scores(constant_M, gold_M), scores(gold_M, constant_M)):
        assert (found["pearson"], found["spearman"]) == (0.0, 0.0)
    assert scores(gold_M[:1], gold_M[:1]) == {"mse": 0.0, "pearson": 0.0, "spearman": 0.0}
    assert scores(gold_M[:0], gold_M[:0]) == {"mse": 0.0, "pearson": 0.0, "spearman": 0.0}


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_nothing_kept_scores_zero() -> None:
    assert RegressionScores().compute() == {"mse": 0.0, "pearson": 0.0, "spearman": 0.0}


def test_ranks_and_empty_batches_join_to_one_process() -> None:
    g = torch.Generator().manual_seed(0)
    predictions_M, gold_M = torch.randn(20, generator=g), torch.randn(20, generator=g)
    first, second = RegressionScores(), RegressionScores()
    first.update(predictions_M[:7], gold_M[:7])
    second.update(predictions_M[7:], gold_M[7:])
    second.update(predictions_M[:0], gold_M[:0])
    first.merge_state(second)
    assert first.compute() == pytest.approx(scores(predictions_M, gold_M), rel=1e-12)


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 1\) and \(2,\)"):
        scores(torch.zeros(2, 1), torch.zeros(2))
    with pytest.raises(ValueError, match="prediction nan is not finite"):
        scores(torch.tensor([math.nan, 0.0]), torch.zeros(2))
    with pytest.raises(ValueError, match="gold inf is not finite"):
        scores(torch.zeros(1), torch.tensor([math.inf]))
