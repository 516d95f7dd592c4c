from __future__ import annotations

import math
import warnings

import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from lit_llm.metrics.single_label_scores import SingleLabelScores


def scores(probabilities_MC: torch.Tensor, gold_M: torch.Tensor) -> dict[str, float]:
    metric = SingleLabelScores(probabilities_MC.shape[1])
    metric.update(probabilities_MC, gold_M)
    return metric.compute()


@pytest.mark.parametrize("num_labels", [2, 3, 7])
def test_scores_equal_sklearn_on_random_batches(num_labels: int) -> None:
    for seed in range(20):
        g = torch.Generator().manual_seed(seed)
        m = int(torch.randint(1, 30, (), generator=g))
        probabilities_MC = torch.randn(m, num_labels, generator=g).softmax(dim=1)
        gold_M = torch.randint(num_labels, (m,), generator=g)
        found, predicted = scores(probabilities_MC, gold_M), probabilities_MC.argmax(dim=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert found["accuracy"] == pytest.approx(accuracy_score(gold_M, predicted))
            macro = f1_score(gold_M, predicted, average="macro", zero_division=0)
            assert found["f1"] == pytest.approx(macro)
            mcc = matthews_corrcoef(gold_M, predicted)
            assert found["mcc"] == pytest.approx(mcc, abs=1e-12)
            if num_labels == 2:
                positive = f1_score(gold_M, predicted, zero_division=0)
                assert found["f1_positive"] == pytest.approx(positive)
        assert ("f1_positive" in found) == (num_labels == 2)


def test_ten_decisions_have_their_hand_value() -> None:
    # TP 4, FP 1, FN 2, TN 3: accuracy 7/10; F1 of class 1: 8/11, of class 0: 6/9;
    # MCC: (4 * 3 - 1 * 2) / sqrt(5 * 6 * 4 * 5) = 10 / sqrt(600).
    predicted_M = torch.tensor([1] * 5 + [0] * 5)
    gold_M = torch.tensor([1, 1, 1, 1, 0, 1, 1, 0, 0, 0])
    assert scores(torch.eye(2)[predicted_M], gold_M) == pytest.approx(
        {
            "accuracy": 0.7,
            "f1": (8 / 11 + 6 / 9) / 2,
            "f1_positive": 8 / 11,
            "mcc": 10 / math.sqrt(600),
        }
    )


def test_confusion_matrix_has_gold_down_and_prediction_across() -> None:
    metric = SingleLabelScores(2)
    metric.update(torch.tensor([[0.9, 0.1]] * 3), torch.tensor([1, 1, 0]))
    assert metric.confusion_CC.tolist() == [[1, 0], [2, 0]]


def test_one_predicted_class_has_no_correlation() -> None:
    found = scores(torch.tensor([[0.2, 0.8]] * 10), torch.tensor([1] * 9 + [0]))
    assert (found["accuracy"], found["mcc"]) == (0.9, 0.0)


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_mcc_of_a_million_examples_is_exact() -> None:
    # Counts whose products float32 cannot hold; from 3/4 right and 1/2 per class, by the formula.
    metric = SingleLabelScores(2)
    metric.confusion_CC += torch.tensor([[750_001, 250_000], [250_000, 750_001]])
    assert metric.compute()["mcc"] == pytest.approx(500_001 / 1_000_001, rel=1e-14)


def test_ranks_and_empty_batches_sum_to_one_process() -> None:
    g = torch.Generator().manual_seed(0)
    probabilities_MC = torch.randn(20, 3, generator=g).softmax(dim=1)
    gold_M = torch.randint(3, (20,), generator=g)
    first, second = SingleLabelScores(3), SingleLabelScores(3)
    first.update(probabilities_MC[:13], gold_M[:13])
    second.update(probabilities_MC[13:], gold_M[13:])
    second.update(probabilities_MC[:0], gold_M[:0])
    first.merge_state(second)
    assert first.compute() == scores(probabilities_MC, gold_M)


def test_no_examples_score_zero() -> None:
    found = scores(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64))
    assert found == {"accuracy": 0.0, "f1": 0.0, "mcc": 0.0, "f1_positive": 0.0}


def test_wrong_input_is_refused() -> None:
    good, gold_M = torch.full((2, 3), 1 / 3), torch.tensor([0, 2])
    metric = SingleLabelScores(3)
    with pytest.raises(ValueError, match=r"must be \(M, 3\), not \(2, 2\)"):
        metric.update(good[:, :2], gold_M)
    with pytest.raises(ValueError, match=r"gold of shape \(1,\) does not stand beside"):
        metric.update(good, gold_M[:1])
    with pytest.raises(ValueError, match="one class number per example"):
        metric.update(good, torch.ones(2, 3))
    with pytest.raises(ValueError, match="gold label 3 must be a whole number, 0 to 2"):
        metric.update(good, torch.tensor([0, 3]))
    with pytest.raises(ValueError, match="gold label -100 must be"):
        metric.update(good, torch.tensor([0, -100]))
    with pytest.raises(ValueError, match=r"probability -1\.0 of row 1 .* not logits"):
        metric.update(torch.tensor([[0.0, 1, 0], [0.0, 0, -1]]), gold_M)
    with pytest.raises(ValueError, match="probability nan of row 0"):
        metric.update(good * math.nan, gold_M)
    assert metric.confusion_CC.sum() == 0
    with pytest.raises(ValueError, match="at least 2, not 1"):
        SingleLabelScores(1)
