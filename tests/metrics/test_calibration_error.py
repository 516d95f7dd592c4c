from __future__ import annotations

import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from lit_llm.metrics.calibration_error import CalibrationError
from tests.references.calibration import expected_calibration_error


def batch(m: int, num_labels: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    probabilities_MC = (2 * torch.randn(m, num_labels, generator=g)).softmax(dim=1)
    return probabilities_MC, torch.randint(num_labels, (m,), generator=g)


def error(probabilities_MC: torch.Tensor, gold_M: torch.Tensor, num_bins: int = 15) -> float:
    metric = CalibrationError(probabilities_MC.shape[1], num_bins)
    metric.update(probabilities_MC, gold_M)
    return metric.compute()


@pytest.mark.parametrize("num_labels", [2, 5])
@pytest.mark.parametrize("num_bins", [1, 4, 15])
def test_calibration_error_equals_the_reference_and_torchmetrics(
    num_labels: int, num_bins: int
) -> None:
    probabilities_MC, gold_M = batch(500, num_labels, seed=num_bins)
    found = error(probabilities_MC, gold_M, num_bins)
    arguments = (probabilities_MC.tolist(), gold_M.tolist(), num_bins)
    assert found == pytest.approx(expected_calibration_error(*arguments), abs=1e-9)
    other = multiclass_calibration_error(probabilities_MC, gold_M, num_labels, num_bins, "l1")
    assert found == pytest.approx(other.item(), abs=1e-6)  # float32


def test_four_predictions_have_their_hand_value() -> None:
    # Two bins. (0, 0.5]: confidences 0.5, 0.5, both right: |1 - 0.5| * 2/4 = 0.25 (0.5 is inside).
    # (0.5, 1]: confidences 0.75, 1.0, none right: |0 - 0.875| * 2/4 = 0.4375.
    probabilities_MC = torch.tensor([[0.5, 0.5], [0.5, 0.5], [0.25, 0.75], [1.0, 0.0]])
    assert error(probabilities_MC, torch.tensor([0, 0, 0, 1]), num_bins=2) == 0.6875


def test_sure_and_right_is_calibrated() -> None:
    assert error(torch.eye(3), torch.arange(3)) == 0.0
    assert error(torch.eye(3), torch.arange(3).roll(1)) == 1.0


def test_ranks_batches_and_order_do_not_change_a_bit() -> None:
    probabilities_MC, gold_M = batch(300, 2, seed=0)
    first, second = CalibrationError(2), CalibrationError(2)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(1))
    for i in order.tolist():
        (first, second)[i % 2].update(probabilities_MC[i : i + 1], gold_M[i : i + 1])
    second.update(probabilities_MC[:0], gold_M[:0])
    first.merge_state(second)
    assert first.compute() == error(probabilities_MC, gold_M)


def test_no_examples_have_no_error() -> None:
    assert error(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64)) == 0.0


def test_half_precision_probabilities_are_accepted() -> None:
    probabilities_MC, gold_M = batch(100, 3, seed=0)
    exact = error(probabilities_MC, gold_M)
    assert error(probabilities_MC.bfloat16(), gold_M) == pytest.approx(exact, abs=0.05)


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="num_bins must be at least 1, not 0"):
        CalibrationError(2, 0)
    with pytest.raises(ValueError, match="num_labels must be at least 2, not 1"):
        CalibrationError(1)
    with pytest.raises(ValueError, match="not logits"):
        error(torch.tensor([[2.0, -1.0]]), torch.tensor([0]))
    with pytest.raises(ValueError, match="one class number per example"):
        error(torch.eye(2), torch.eye(2))
