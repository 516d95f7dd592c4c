from __future__ import annotations

import pytest
import torch

from lit_llm.backbone.quick_dropout import QuickDropout, draw_dropped, kept_scale


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_share_and_mean_are_those_of_dropout(probability):
    torch.manual_seed(0)
    ones = torch.ones(400, 1000)
    out = QuickDropout(probability)(ones)
    assert (out == 0).float().mean().item() == pytest.approx(probability, abs=0.003)
    assert out.max().item() == pytest.approx(1 / (1 - probability), rel=1e-3)
    assert out.mean().item() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_gradient_is_dropped_where_the_numbers_were(dtype):
    torch.manual_seed(0)
    states = (1 + torch.rand(7, 33)).to(dtype).requires_grad_()  # none is 0
    out = QuickDropout(0.25)(states)
    out.backward(torch.ones_like(out))
    kept = out != 0
    assert out.dtype == states.grad.dtype == dtype
    torch.testing.assert_close(states.grad, kept * torch.full_like(states, kept_scale(0.25)))
    torch.testing.assert_close(out, states.detach() * states.grad)
    assert not kept.all()


def test_numbers_are_independent_of_their_neighbours():
    torch.manual_seed(0)
    dropped = (draw_dropped(torch.Size([1_000_003]), 0.3) < 0).float() - 0.3
    for shift in (1, 2, 4, 768):
        together = (dropped[shift:] * dropped[:-shift]).mean().item()
        assert together == pytest.approx(0, abs=0.001)


def test_generator_of_torch_decides():
    dropout, states = QuickDropout(0.5), torch.ones(100)
    outs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        outs.append(dropout(states))
    assert outs[0].equal(outs[1])
    assert not outs[0].equal(outs[2])


def test_evaluation_and_probability_zero_hand_the_tensor_on():
    states = torch.randn(3, 4)
    assert QuickDropout(0.5).eval()(states) is states
    assert QuickDropout(0.0)(states).equal(states)
    assert QuickDropout(1.0)(states).equal(torch.zeros(3, 4))


def test_memory_kept_is_one_byte_a_number():
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda tensor: tensor):
        QuickDropout(0.5)(torch.ones(8, 8, requires_grad=True))
    assert [tensor.dtype for tensor in kept] == [torch.bool]


def test_a_single_number_is_dropped_or_scaled():
    torch.manual_seed(0)
    found = {QuickDropout(0.5)(torch.tensor(3.0)).item() for _ in range(50)}
    assert found == {0.0, 6.0}
