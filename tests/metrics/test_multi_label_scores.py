from __future__ import annotations

import warnings

import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score

from lit_llm.metrics.multi_label_scores import MultiLabelScores


def scores(probabilities_MC: torch.Tensor, gold_MC: torch.Tensor) -> dict[str, float]:
    metric = MultiLabelScores(probabilities_MC.shape[1])
    metric.update(probabilities_MC, gold_MC)
    return metric.compute()


@pytest.mark.parametrize("num_labels", [2, 4])
def test_scores_equal_sklearn_on_random_batches(num_labels: int) -> None:
    for seed in range(20):
        g = torch.Generator().manual_seed(seed)
        m = int(torch.randint(1, 12, (), generator=g))
        probabilities_MC = torch.rand(m, num_labels, generator=g)
        gold_MC = torch.randint(2, (m, num_labels), generator=g)
        found, predicted = scores(probabilities_MC, gold_MC.float()), (probabilities_MC > 0.5).int()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name, average in (("f1", "macro"), ("micro_f1", "micro")):
                expected = f1_score(gold_MC, predicted, average=average, zero_division=0)
                assert found[name] == pytest.approx(expected)
        assert found["exact_match"] == pytest.approx(accuracy_score(gold_MC, predicted))


def test_two_examples_have_their_hand_value() -> None:
    # Class 0: right twice, F1 1. Class 1: one false, one missed, F1 0. Micro: 2 of 3 and 3: 2/3.
    probabilities_MC = torch.tensor([[0.9, 0.1], [0.8, 0.7]])
    found = scores(probabilities_MC, torch.tensor([[1, 1], [1, 0]]))
    assert found == {"f1": 0.5, "micro_f1": pytest.approx(2 / 3), "exact_match": 0.0}
    assert (
        scores(torch.tensor([[0.5]]), torch.tensor([[0]]))["exact_match"] == 1.0
    )  # 0.5: not above


def test_ranks_and_empty_batches_sum_to_one_process() -> None:
    g = torch.Generator().manual_seed(0)
    probabilities_MC = torch.rand(20, 3, generator=g)
    gold_MC = torch.randint(2, (20, 3), generator=g)
    first, second = MultiLabelScores(3), MultiLabelScores(3)
    first.update(probabilities_MC[:7], gold_MC[:7])
    second.update(probabilities_MC[7:], gold_MC[7:])
    second.update(probabilities_MC[:0], gold_MC[:0])
    first.merge_state(second)
    assert first.compute() == scores(probabilities_MC, gold_MC)
    assert scores(probabilities_MC[:0], gold_MC[:0])["exact_match"] == 0.0


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0 or 1 per example and class"):
        scores(torch.eye(2), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"gold label 2 must be a whole number, 0 to 1"):
        scores(torch.eye(2), torch.tensor([[0, 1], [2, 0]]))
    with pytest.raises(ValueError, match=r"gold label 0\.5 must be"):
        scores(torch.eye(2), torch.full((2, 2), 0.5))
    with pytest.raises(ValueError, match="at least 1, not 0"):
        MultiLabelScores(0)
