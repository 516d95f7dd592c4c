from __future__ import annotations

import math

import pytest
import torch

from lit_llm.losses.cross_entropy import cross_entropy
from tests.references import losses as reference

M, C = 7, 5


def batch(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    logits_MC = torch.randn(M, C, generator=g, dtype=dtype).requires_grad_()
    return logits_MC, torch.randint(C, (M,), generator=g), torch.rand(M, generator=g)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_and_its_gradient_equal_the_reference(
    label_smoothing: float, weighted: bool
) -> None:
    logits_MC, labels_M, weights_M = batch()
    weights = weights_M.tolist() if weighted else [1.0] * M
    total, count = cross_entropy(
        logits_MC, labels_M, weights_M if weighted else None, label_smoothing
    )
    total.backward()
    arguments = (logits_MC.tolist(), labels_M.tolist(), weights, label_smoothing)
    expected, expected_count = reference.cross_entropy(*arguments)
    assert total.item() == pytest.approx(expected, rel=1e-12)
    assert count.item() == pytest.approx(expected_count, rel=1e-6)  # float32
    gradient_MC = torch.tensor(reference.cross_entropy_gradient(*arguments), dtype=torch.float64)
    torch.testing.assert_close(logits_MC.grad, gradient_MC)


def test_cross_entropy_of_known_probabilities_has_its_hand_value() -> None:
    # p = (1/4, 3/4) and (1/2, 1/2): -ln(3/4) - ln(1/2) = ln(8/3).
    logits_MC = torch.tensor([[0.0, math.log(3.0)], [2.0, 2.0]])
    total, count = cross_entropy(logits_MC, torch.tensor([1, 0]))
    torch.testing.assert_close(total, torch.tensor(math.log(8 / 3)))
    assert (count.item(), count.dtype, count.shape) == (2, torch.int64, ())
    assert (total.dtype, total.shape) == (torch.float32, ())


def test_windows_of_one_review_weigh_one_together() -> None:
    logits_MC, labels_M, _ = batch(torch.float32)
    weights_M = torch.tensor([1 / 3] * 3 + [1 / 2] * 2 + [1.0] * 2)
    total, count = cross_entropy(logits_MC, labels_M, weights_M)
    assert count.dtype == torch.float32
    torch.testing.assert_close(count, torch.tensor(4.0))
    each_M = torch.stack(
        [cross_entropy(logits_MC[i : i + 1], labels_M[i : i + 1])[0] for i in range(M)]
    )
    expected = each_M[:3].mean() + each_M[3:5].mean() + each_M[5:].sum()
    torch.testing.assert_close(total, expected)


@pytest.mark.parametrize("weights_M", [None, torch.zeros(0)])
def test_no_targets_give_zero_with_zero_gradient(weights_M: torch.Tensor | None) -> None:
    weight_DC = torch.randn(3, C, requires_grad=True)
    logits_MC = torch.zeros(0, 3) @ weight_DC
    total, count = cross_entropy(logits_MC, torch.zeros(0, dtype=torch.int64), weights_M)
    total.backward()
    assert (total.item(), count.item(), total.shape) == (0.0, 0, ())
    assert count.dtype == (torch.int64 if weights_M is None else torch.float32)
    assert weight_DC.grad is not None
    assert weight_DC.grad.abs().sum() == 0


def test_order_of_targets_does_not_change_the_sum() -> None:
    logits_MC, labels_M, weights_M = batch()
    order = torch.randperm(M, generator=torch.Generator().manual_seed(1))
    expected = cross_entropy(logits_MC, labels_M, weights_M)
    found = cross_entropy(logits_MC[order], labels_M[order], weights_M[order])
    torch.testing.assert_close(found, expected)


def test_half_precision_logits_are_summed_in_float32() -> None:
    logits_MC = torch.zeros(4096, 2, dtype=torch.bfloat16)  # a bfloat16 sum would stick at 256
    total, _ = cross_entropy(logits_MC, torch.zeros(4096, dtype=torch.int64))
    torch.testing.assert_close(total, torch.tensor(4096 * math.log(2)))


def test_weights_receive_no_gradient() -> None:
    logits_MC, labels_M, weights_M = batch()
    weights_M.requires_grad_()
    total, count = cross_entropy(logits_MC, labels_M, weights_M)
    total.backward()
    assert weights_M.grad is None
    assert not count.requires_grad


@pytest.mark.parametrize("label", [-100, -1, C])
def test_label_outside_the_classes_is_refused(label: int) -> None:
    logits_MC, labels_M, _ = batch()
    labels_M[2] = label
    with pytest.raises(ValueError, match=f"label {label} is outside 0 to 4"):
        cross_entropy(logits_MC, labels_M)


def test_wrong_arguments_are_refused() -> None:
    logits_MC, labels_M, _ = batch()
    with pytest.raises(ValueError, match=r"\(7, 5\) and \(6,\)"):
        cross_entropy(logits_MC, labels_M[:-1])
    with pytest.raises(ValueError, match=r"\(1, 7, 5\)"):
        cross_entropy(logits_MC[None], labels_M)
    with pytest.raises(ValueError, match=r"torch\.float32"):
        cross_entropy(logits_MC, labels_M.float())
    with pytest.raises(ValueError, match=r"label_smoothing .* 1\.5"):
        cross_entropy(logits_MC, labels_M, label_smoothing=1.5)
    with pytest.raises(ValueError, match=r"\(7,\), not \(3,\)"):
        cross_entropy(logits_MC, labels_M, torch.ones(3))
