from __future__ import annotations

import pytest
import torch

from lit_llm.losses.squared_error import squared_error
from tests.references import losses as reference


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    predictions_M = torch.randn(6, generator=g, dtype=torch.float64).requires_grad_()
    return predictions_M, torch.randn(6, generator=g).double(), torch.rand(6, generator=g)


@pytest.mark.parametrize("weighted", [False, True])
def test_squared_error_equals_the_reference(weighted: bool) -> None:
    predictions_M, labels_M, weights_M = batch()
    total, count = squared_error(predictions_M, labels_M, weights_M if weighted else None)
    weights = weights_M.tolist() if weighted else [1.0] * 6
    expected, expected_count = reference.squared_error(
        predictions_M.tolist(), labels_M.tolist(), weights
    )
    assert total.item() == pytest.approx(expected, rel=1e-12)
    assert count.item() == pytest.approx(expected_count, rel=1e-6)  # float32
    total.backward()
    gradient_M = 2 * torch.tensor(weights) * (predictions_M - labels_M)
    torch.testing.assert_close(predictions_M.grad, gradient_M.detach())


def test_sum_over_count_equals_torch_mean() -> None:
    predictions_M, labels_M, _ = batch()
    total, count = squared_error(predictions_M, labels_M)
    torch.testing.assert_close(total / count, torch.nn.MSELoss()(predictions_M, labels_M))


def test_small_numbers_have_their_hand_value() -> None:
    # (1 - 3)^2 + (2 - 5)^2 = 13; weights 1/2 and 1: 2 + 9 = 11, divided by 1.5.
    predictions_M, labels_M = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 5.0])
    total, count = squared_error(predictions_M, labels_M)
    assert (total.item(), count.item(), count.dtype) == (13.0, 2, torch.int64)
    assert total.dtype == torch.float32
    total, count = squared_error(predictions_M, labels_M, torch.tensor([0.5, 1.0]))
    assert (total.item(), count.item(), count.dtype) == (11.0, 1.5, torch.float32)


def test_no_targets_give_zero_with_zero_gradient() -> None:
    weight_D = torch.randn(3, requires_grad=True)
    total, count = squared_error(torch.zeros(0, 3) @ weight_D, torch.zeros(0))
    total.backward()
    assert (total.item(), count.item()) == (0.0, 0)
    assert weight_D.grad is not None
    assert weight_D.grad.abs().sum() == 0


def test_order_of_targets_does_not_change_the_sum() -> None:
    predictions_M, labels_M, weights_M = batch()
    expected = squared_error(predictions_M, labels_M, weights_M)
    found = squared_error(predictions_M.flip(0), labels_M.flip(0), weights_M.flip(0))
    torch.testing.assert_close(found, expected)


def test_wrong_arguments_are_refused() -> None:
    predictions_M, labels_M, _ = batch()
    with pytest.raises(ValueError, match=r"\(6, 1\) and \(6,\): squeeze"):
        squared_error(predictions_M[:, None], labels_M)
    with pytest.raises(ValueError, match=r"\(6, 1\) and \(6, 1\): squeeze"):
        squared_error(predictions_M[:, None], labels_M[:, None])
    with pytest.raises(ValueError, match=r"torch\.int64"):
        squared_error(predictions_M, labels_M.long())
    with pytest.raises(ValueError, match=r"\(6,\), not \(5,\)"):
        squared_error(predictions_M, labels_M, torch.ones(5))
