from __future__ import annotations

import math

import pytest
import torch

from lit_llm.losses.binary_cross_entropy import binary_cross_entropy
from tests.references import losses as reference

M, C = 6, 4


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    logits_MC = torch.randn(M, C, generator=g, dtype=torch.float64).requires_grad_()
    return logits_MC, torch.randint(2, (M, C), generator=g).double(), torch.rand(M, generator=g)


@pytest.mark.parametrize("weighted", [False, True])
def test_binary_cross_entropy_equals_the_reference(weighted: bool) -> None:
    logits_MC, labels_MC, weights_M = batch()
    total, count = binary_cross_entropy(logits_MC, labels_MC, weights_M if weighted else None)
    weights = weights_M.tolist() if weighted else [1.0] * M
    expected, expected_count = reference.binary_cross_entropy(
        logits_MC.tolist(), labels_MC.tolist(), weights
    )
    assert total.item() == pytest.approx(expected, rel=1e-12)
    assert count.item() == pytest.approx(expected_count, rel=1e-6)  # float32
    total.backward()
    # d / d logit = w * (s(x) - y) / C
    gradient_MC = torch.tensor(weights)[:, None] * (logits_MC.sigmoid() - labels_MC) / C
    torch.testing.assert_close(logits_MC.grad, gradient_MC.detach())


def test_sum_over_count_equals_torch_mean() -> None:
    logits_MC, labels_MC, _ = batch()
    total, count = binary_cross_entropy(logits_MC, labels_MC)
    torch.testing.assert_close(total / count, torch.nn.BCEWithLogitsLoss()(logits_MC, labels_MC))


def test_even_odds_have_their_hand_value() -> None:
    # Each decision at logit 0 costs ln 2; the mean over 3 classes too; 2 targets: 2 ln 2.
    total, count = binary_cross_entropy(torch.zeros(2, 3), torch.tensor([[1.0, 0, 0], [1, 1, 0]]))
    torch.testing.assert_close(total, torch.tensor(2 * math.log(2)))
    assert (count.item(), count.dtype, total.dtype) == (2, torch.int64, torch.float32)


def test_no_targets_give_zero_with_zero_gradient() -> None:
    weight_DC = torch.randn(3, C, requires_grad=True)
    total, count = binary_cross_entropy(torch.zeros(0, 3) @ weight_DC, torch.zeros(0, C))
    total.backward()
    assert (total.item(), count.item()) == (0.0, 0)
    assert weight_DC.grad is not None
    assert weight_DC.grad.abs().sum() == 0


def test_order_of_targets_does_not_change_the_sum() -> None:
    logits_MC, labels_MC, weights_M = batch()
    expected = binary_cross_entropy(logits_MC, labels_MC, weights_M)
    found = binary_cross_entropy(logits_MC.flip(0), labels_MC.flip(0), weights_M.flip(0))
    torch.testing.assert_close(found, expected)


def test_extreme_logits_stay_finite() -> None:
    total, _ = binary_cross_entropy(torch.tensor([[1e4, -1e4]]), torch.tensor([[0.0, 1.0]]))
    torch.testing.assert_close(total, torch.tensor(1e4))


def test_wrong_arguments_are_refused() -> None:
    logits_MC, labels_MC, _ = batch()
    with pytest.raises(ValueError, match=r"\(6, 4\) and \(6, 3\)"):
        binary_cross_entropy(logits_MC, labels_MC[:, :3])
    with pytest.raises(ValueError, match=r"\(24,\) and \(24,\)"):
        binary_cross_entropy(logits_MC.flatten(), labels_MC.flatten())
    with pytest.raises(ValueError, match="at least one class"):
        binary_cross_entropy(torch.zeros(2, 0), torch.zeros(2, 0))
    with pytest.raises(ValueError, match=r"torch\.int64"):
        binary_cross_entropy(logits_MC, labels_MC.long())
    with pytest.raises(ValueError, match=r"\[0, 1\], not -1\.0"):
        binary_cross_entropy(logits_MC, labels_MC - 1)
    with pytest.raises(ValueError, match=r"\(6,\), not \(6, 4\)"):
        binary_cross_entropy(logits_MC, labels_MC, labels_MC)
