from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from lit_llm.losses import chunked_logits
from lit_llm.losses.linear_cross_entropy import linear_cross_entropy
from lit_llm.losses.linear_log_likelihood import linear_log_likelihood
from tests.references import losses as reference

M, D, V = 7, 4, 11


def operands(dtype=torch.float64, bias=True):
    g = torch.Generator().manual_seed(0)
    features_MD = torch.randn(M, D, generator=g, dtype=dtype).requires_grad_()
    weight_VD = torch.randn(V, D, generator=g, dtype=dtype).requires_grad_()
    bias_V = torch.randn(V, generator=g, dtype=dtype).requires_grad_()
    return features_MD, weight_VD, torch.randint(V, (M,), generator=g), bias_V if bias else None


def plain(features_MD, weight_VD, labels_M, bias_V):
    logits_MV = functional.linear(features_MD, weight_VD, bias_V)
    return functional.cross_entropy(logits_MV.float(), labels_M, reduction="sum")


def gradients(loss, tensors):
    return torch.autograd.grad(loss, [tensor for tensor in tensors if tensor is not None])


@pytest.fixture(params=[4, 8192])
def block_words(request, monkeypatch):
    """Blocks of words that do not divide the vocabulary, or one for all of it."""
    monkeypatch.setattr(chunked_logits, "BLOCK_WORDS", request.param)


@pytest.mark.usefixtures("block_words")
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("chunk_tokens", [1, 2, 6, 7, 8])
def test_loss_and_gradients_equal_those_of_all_logits_at_once(chunk_tokens, bias):
    features_MD, weight_VD, labels_M, bias_V = operands(bias=bias)
    total, count = linear_cross_entropy(features_MD, weight_VD, labels_M, bias_V, chunk_tokens)
    logits_MV = functional.linear(features_MD, weight_VD, bias_V)
    expected = functional.cross_entropy(logits_MV, labels_M, reduction="sum")
    assert_close(total, expected)
    assert (count.item(), count.dtype, count.shape) == (M, torch.int64, ())
    tensors = (features_MD, weight_VD, bias_V)
    assert_close(gradients(3 * total, tensors), gradients(3 * expected, tensors))


def test_loss_and_gradients_equal_the_reference():
    features_MD, weight_VD, labels_M, _ = operands()
    total, _ = linear_cross_entropy(features_MD, weight_VD, labels_M, chunk_tokens=3)
    logits = (features_MD @ weight_VD.t()).tolist()
    arguments = (logits, labels_M.tolist(), [1.0] * M, 0.0)
    assert total.item() == pytest.approx(reference.cross_entropy(*arguments)[0], rel=1e-12)
    slope_MV = torch.tensor(reference.cross_entropy_gradient(*arguments), dtype=torch.float64)
    total.backward()
    assert_close(features_MD.grad, slope_MV @ weight_VD.detach())  # the chain rule, by hand
    assert_close(weight_VD.grad, slope_MV.t() @ features_MD.detach())


def test_gradients_equal_finite_differences():
    features_MD, weight_VD, labels_M, bias_V = operands()

    def loss(*tensors):
        features_MD, weight_VD, bias_V = tensors
        return linear_cross_entropy(features_MD, weight_VD, labels_M, bias_V, chunk_tokens=3)[0]

    assert torch.autograd.gradcheck(loss, (features_MD, weight_VD, bias_V))


def test_known_probabilities_have_their_hand_value():
    # Logits (0, ln 3) and (0, 0), so p = (1/4, 3/4) and (1/2, 1/2): -ln(3/4) - ln(1/2) = ln(8/3).
    features_MD = torch.tensor([[1.0], [0.0]], requires_grad=True)
    weight_VD = torch.tensor([[0.0], [math.log(3.0)]], requires_grad=True)
    labels_M = torch.tensor([1, 0])
    total, _ = linear_cross_entropy(features_MD, weight_VD, labels_M)
    assert (total.dtype, total.shape) == (torch.float32, ())
    assert_close(total, torch.tensor(math.log(8 / 3)))
    total.backward()
    # d/d feature = sum over v of (p - 1[v = label]) * weight = (3/4 - 1) ln 3 and (1/2) ln 3.
    assert_close(features_MD.grad, torch.tensor([[-0.25], [0.5]]) * math.log(3.0))
    # Only the first target has a feature, 1: (1/4, 3/4 - 1).
    assert_close(weight_VD.grad, torch.tensor([[0.25], [-0.25]]))


def test_large_logits_stay_finite():
    features_MD = torch.tensor([[1000.0], [-1000.0]], requires_grad=True)
    weight_VD = torch.tensor([[1.0], [-1.0]])
    total, _ = linear_cross_entropy(features_MD, weight_VD, torch.tensor([0, 0]))
    total.backward()
    assert total.item() == 2000  # ln(e^1000 / e^1000) and ln(e^1000 / e^-1000)
    assert_close(features_MD.grad, torch.tensor([[0.0], [-2.0]]))


@pytest.mark.parametrize("bias", [False, True])
def test_no_targets_give_zero_with_zero_gradient(bias):
    _, weight_VD, _, bias_V = operands(torch.float32, bias)
    features_MD = torch.zeros(0, D, requires_grad=True)
    labels_M = torch.zeros(0, dtype=torch.int64)
    total, count = linear_cross_entropy(features_MD, weight_VD, labels_M, bias_V)
    assert (total.item(), total.shape, total.dtype) == (0.0, (), torch.float32)
    assert (count.item(), count.dtype) == (0, torch.int64)
    total.backward()
    assert features_MD.grad.shape == (0, D)
    assert weight_VD.grad.shape == (V, D)
    assert weight_VD.grad.abs().sum() == 0
    assert [t.shape for t in linear_log_likelihood(features_MD, weight_VD, labels_M)] == [(0,)] * 2


@pytest.mark.parametrize("trained", [{0}, {1}, {2}, {0, 2}, {1, 2}, set()])
def test_what_is_frozen_gets_no_gradient_and_changes_no_other(trained):
    features_MD, weight_VD, labels_M, bias_V = operands()
    expected = gradients(
        linear_cross_entropy(features_MD, weight_VD, labels_M, bias_V)[0],
        (features_MD, weight_VD, bias_V),
    )
    tensors = [
        tensor.detach().requires_grad_(i in trained)
        for i, tensor in enumerate((features_MD, weight_VD, bias_V))
    ]
    total, _ = linear_cross_entropy(tensors[0], tensors[1], labels_M, tensors[2])
    assert total.requires_grad == bool(trained)
    if trained:
        total.backward()
    for i, tensor in enumerate(tensors):
        assert (tensor.grad is not None) == (i in trained)
        if i in trained:
            assert_close(tensor.grad, expected[i])


def test_one_weight_for_input_and_output_adds_both_gradients():
    features_MD, weight_VD, labels_M, bias_V = operands()
    ids = torch.tensor([1, 1, 4, 0, 9, 10, 2])
    hidden_MD = functional.embedding(ids, weight_VD) * features_MD.detach()
    expected = gradients(
        functional.cross_entropy(
            functional.linear(hidden_MD, weight_VD, bias_V), labels_M, reduction="sum"
        ),
        (weight_VD,),
    )
    hidden_MD = functional.embedding(ids, weight_VD) * features_MD.detach()
    total, _ = linear_cross_entropy(hidden_MD, weight_VD, labels_M, bias_V, 3)
    assert_close(gradients(total, (weight_VD,)), expected)


@pytest.mark.usefixtures("block_words")
def test_autocast_multiplies_in_bfloat16_and_sums_in_float32():
    g = torch.Generator().manual_seed(0)
    features_MD = torch.randn(300, 64, generator=g).requires_grad_()
    weight_VD = (torch.randn(500, 64, generator=g) * 0.2).requires_grad_()
    bias_V = torch.randn(500, generator=g).requires_grad_()
    labels_M = torch.randint(500, (300,), generator=g)
    tensors = (features_MD, weight_VD, bias_V)
    with torch.autocast("cpu", torch.bfloat16):
        total, _ = linear_cross_entropy(features_MD, weight_VD, labels_M, bias_V, chunk_tokens=7)
    expected = plain(features_MD, weight_VD, labels_M, bias_V)
    assert total.dtype == torch.float32
    # bfloat16 keeps 8 bits: each logit, slope and product is off by up to 2^-9 of itself, and of
    # what is summed over hundreds of those much less is left. A bfloat16 sum of 43 chunks would
    # be off by far more.
    assert_close(total, expected, rtol=1e-3, atol=0)
    for ours, exact in zip(gradients(total, tensors), gradients(expected, tensors), strict=True):
        assert ours.dtype == torch.float32
        assert (ours - exact).norm() < 2**-7 * exact.norm()


def test_autocast_takes_features_of_another_type_and_leaves_float64_alone():
    features_MD, weight_VD, labels_M, bias_V = operands(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        half_MD = features_MD.detach().bfloat16().requires_grad_()
        total, _ = linear_cross_entropy(half_MD, weight_VD, labels_M, bias_V)
        total.backward()
        assert half_MD.grad.dtype == torch.bfloat16
        features_MD, weight_VD, labels_M, bias_V = operands(torch.float64)
        total, _ = linear_cross_entropy(features_MD, weight_VD, labels_M, bias_V)
    assert total.dtype == torch.float64
    logits_MV = functional.linear(features_MD, weight_VD, bias_V)
    assert_close(total, functional.cross_entropy(logits_MV, labels_M, reduction="sum"))


def test_half_precision_weights_get_gradients_of_their_own_type():
    features_MD, weight_VD, labels_M, bias_V = operands(torch.bfloat16)
    total, _ = linear_cross_entropy(features_MD, weight_VD, labels_M, bias_V, 2)
    assert total.dtype == torch.float32
    found = gradients(total, (features_MD, weight_VD, bias_V))
    assert {gradient.dtype for gradient in found} == {torch.bfloat16}
    wide = [t.detach().float().requires_grad_() for t in (features_MD, weight_VD, bias_V)]
    expected = gradients(plain(wide[0], wide[1], labels_M, wide[2]), wide)
    for ours, exact in zip(found, expected, strict=True):
        assert (ours.float() - exact).norm() < 2**-6 * exact.norm()  # 8 bits, several roundings


def test_a_loss_scale_that_float16_cannot_hold_reaches_the_features():
    features_MD, weight_VD, labels_M, _ = operands(torch.float16)
    weight_VD = weight_VD.detach() / 2**8  # so that the scaled gradients themselves fit
    total, _ = linear_cross_entropy(features_MD, weight_VD, labels_M)
    once = torch.autograd.grad(total, features_MD, retain_graph=True)[0]
    scaled = torch.autograd.grad(total * 2.0**16, features_MD)[0]
    assert_close(scaled.float() / 2**16, once.float())


def test_many_targets_are_summed_in_float32():
    features_MD = torch.ones(4096, 1, dtype=torch.bfloat16)  # a bfloat16 sum would stick at 256
    weight_VD = torch.zeros(2, 1, dtype=torch.bfloat16, requires_grad=True)
    labels_M = torch.zeros(4096, dtype=torch.int64)
    total, _ = linear_cross_entropy(features_MD, weight_VD, labels_M, chunk_tokens=4)
    # Each of 1,024 additions may be off by half of float32's last bit, 2^-24.
    assert_close(total, torch.tensor(4096 * math.log(2)), rtol=2**-14, atol=0)
    total.backward()
    assert weight_VD.grad.tolist() == [[-2048], [2048]]  # p - 1 and p, each 1/2 from every target


def test_no_gradients_are_computed_without_need(monkeypatch):
    features_MD, weight_VD, labels_M, bias_V = operands()
    expected, _ = linear_cross_entropy(features_MD, weight_VD, labels_M, bias_V)
    monkeypatch.setattr("lit_llm.losses.linear_loss._add_gradients", None)
    with torch.no_grad():
        total, _ = linear_cross_entropy(features_MD, weight_VD, labels_M, bias_V)
    assert not total.requires_grad
    assert_close(total, expected.detach())


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_activation_checkpointing_changes_nothing(use_reentrant):
    features_MD, weight_VD, labels_M, bias_V = operands()
    tensors = (features_MD, weight_VD, bias_V)
    expected = gradients(linear_cross_entropy(features_MD, weight_VD, labels_M, bias_V)[0], tensors)
    total = checkpoint(
        lambda *t: linear_cross_entropy(t[0], t[1], labels_M, t[2], 3)[0],
        *tensors,
        use_reentrant=use_reentrant,
    )
    total.backward()
    assert_close(tuple(tensor.grad for tensor in tensors), expected)


def test_second_derivatives_are_refused():
    features_MD, weight_VD, labels_M, _ = operands()
    total, _ = linear_cross_entropy(features_MD, weight_VD, labels_M)
    (gradient,) = torch.autograd.grad(total.square(), features_MD, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_the_caller_keeps_its_tensors():
    features_MD, weight_VD, labels_M, bias_V = operands()
    before = [t.detach().clone() for t in (features_MD, weight_VD, labels_M, bias_V)]
    linear_cross_entropy(features_MD, weight_VD, labels_M, bias_V)[0].backward()
    assert_close([t.detach() for t in (features_MD, weight_VD, labels_M, bias_V)], before)


@pytest.mark.parametrize("chunk_tokens", [1, 3, 512])
@pytest.mark.parametrize("bias", [False, True])
def test_log_likelihood_equals_log_softmax_and_its_best_token(chunk_tokens, bias):
    features_MD, weight_VD, labels_M, bias_V = operands(bias=bias)
    logits_MV = functional.linear(features_MD, weight_VD, bias_V)
    labels_M[::2] = logits_MV.argmax(1)[::2]
    found, correct_M = linear_log_likelihood(features_MD, weight_VD, labels_M, bias_V, chunk_tokens)
    expected_M = torch.log_softmax(logits_MV, 1)[torch.arange(M), labels_M]
    assert not found.requires_grad
    assert_close(found, expected_M.detach())
    assert correct_M.tolist() == (logits_MV.argmax(1) == labels_M).tolist()
    assert correct_M[::2].all()
    total, _ = linear_cross_entropy(features_MD, weight_VD, labels_M, bias_V)
    assert_close(-found.sum(), total.detach())


def test_log_likelihood_has_its_hand_value():
    # Logits (0, ln 3): p = (1/4, 3/4).
    found, correct_M = linear_log_likelihood(
        torch.ones(2, 1), torch.tensor([[0.0], [math.log(3.0)]]), torch.tensor([0, 1])
    )
    assert_close(found, torch.tensor([math.log(0.25), math.log(0.75)]))
    assert correct_M.tolist() == [False, True]


@pytest.mark.parametrize("function", [linear_cross_entropy, linear_log_likelihood])
def test_wrong_arguments_are_refused(function):
    features_MD, weight_VD, labels_M, bias_V = operands()
    with pytest.raises(ValueError, match=r"\(7, 4\), \(11, 4\) and \(6,\)"):
        function(features_MD, weight_VD, labels_M[:-1])
    with pytest.raises(ValueError, match=r"\(7, 4\), \(4, 11\) and \(7,\)"):
        function(features_MD, weight_VD.t(), labels_M)
    with pytest.raises(ValueError, match=r"\(1, 7, 4\)"):
        function(features_MD[None], weight_VD, labels_M)
    with pytest.raises(ValueError, match=r"bias must be \(11,\), not \(10,\)"):
        function(features_MD, weight_VD, labels_M, bias_V[1:])
    with pytest.raises(ValueError, match=r"torch\.float64.*torch\.float32"):
        function(features_MD, weight_VD.float(), labels_M)
    with pytest.raises(ValueError, match="chunk_tokens must be at least 1, not 0"):
        function(features_MD, weight_VD, labels_M, bias_V, 0)
    with pytest.raises(ValueError, match=r"int64, not torch\.float32"):
        function(features_MD, weight_VD, labels_M.float())
    for label in (-100, -1, V):
        labels_M[2] = label
        with pytest.raises(ValueError, match=f"label {label} is outside 0 to 10"):
            function(features_MD, weight_VD, labels_M)
