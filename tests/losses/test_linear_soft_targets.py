from __future__ import annotations

import pytest
import torch
from torch.nn import functional
from torch.testing import assert_close

from lit_llm.losses.linear_soft_targets import linear_scores, linear_soft_targets
from lit_llm.losses.soft_targets import soft_targets

M, D, V = 7, 4, 11


def operands(bias=True):
    g = torch.Generator().manual_seed(0)
    shapes = [(M, D), (V, D), (V,), (M, D + 2), (V, D + 2), (V,)]
    made = [torch.randn(shape, generator=g, dtype=torch.float64) for shape in shapes]
    student = [tensor.requires_grad_() for tensor in made[:3]]
    return (student, made[3:]) if bias else ([*student[:2], None], [*made[3:5], None])


@pytest.mark.parametrize("kind", ["kl", "reverse_kl", "jensen_shannon", "squared_error"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("chunk_tokens", [1, 3, 8])
def test_loss_and_gradients_equal_those_of_all_logits_at_once(chunk_tokens, bias, kind):
    (features, weight, offset), theirs = operands(bias)
    teacher = linear_scores(*theirs)
    total, count = linear_soft_targets(features, weight, teacher, offset, 2.0, kind, chunk_tokens)
    logits = functional.linear(features, weight, offset)
    expected, _ = soft_targets(logits, functional.linear(*theirs), 2.0, kind)
    assert_close(total, expected)
    assert (count.item(), count.dtype) == (M, torch.int64)
    tensors = [tensor for tensor in (features, weight, offset) if tensor is not None]
    found = torch.autograd.grad(3 * total, tensors)
    assert_close(found, torch.autograd.grad(3 * expected, tensors))


def test_under_autocast_it_stays_close_and_sums_in_float32():
    (features, weight, offset), theirs = operands()
    features, weight, offset, *theirs = (
        x.detach().float() for x in (features, weight, offset, *theirs)
    )
    exact, _ = linear_soft_targets(features, weight, linear_scores(*theirs), offset)
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = linear_soft_targets(features, weight, linear_scores(*theirs), offset)
    assert found.dtype == torch.float32
    assert_close(found, exact, rtol=0.05, atol=0.05)


def test_no_target_gives_nothing_but_stays_on_the_graph():
    (_, weight, offset), (_, *theirs) = operands()
    features = torch.zeros(0, D, dtype=torch.float64, requires_grad=True)
    nobody = torch.zeros(0, D + 2, dtype=torch.float64)
    total, count = linear_soft_targets(features, weight, linear_scores(nobody, *theirs), offset)
    total.backward()
    assert (total.item(), count.item()) == (0.0, 0)
    assert weight.grad is not None
    assert not weight.grad.any()


def test_shapes_that_do_not_fit_are_refused():
    (features, weight, offset), theirs = operands()
    with pytest.raises(ValueError, match=r"features must be \(M, D\)"):
        linear_soft_targets(features[:, :2], weight, linear_scores(*theirs), offset)
    with pytest.raises(ValueError, match=r"student and teacher must both be \(M, C\)"):
        linear_soft_targets(features, weight[:5], linear_scores(*theirs), offset[:5])
