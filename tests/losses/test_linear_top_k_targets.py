from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from lit_llm.losses.linear_soft_targets import linear_soft_targets
from lit_llm.losses.linear_top_k_targets import TopK, linear_top_k_targets, most_likely
from lit_llm.losses.soft_targets import soft_targets
from tests.references.losses import top_k_targets

M, D, V = 7, 4, 11
KINDS = ["kl", "reverse_kl", "jensen_shannon"]


def operands(scale=1.0):
    """Features, weight and bias of a student, and a teacher's scores (M, V), in float64."""
    g = torch.Generator().manual_seed(0)
    shapes = [(M, D), (V, D), (V,), (M, V)]
    *student, scores = (torch.randn(s, generator=g, dtype=torch.float64) * scale for s in shapes)
    return [tensor.requires_grad_() for tensor in student], scores


def logits_of(features, weight, bias):
    return features @ weight.t() + bias


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 4, V - 1, V])
def test_loss_is_its_definition(k, kind):
    (features, weight, bias), scores = operands()
    teacher = most_likely(scores, k, 2.5)
    total, count = linear_top_k_targets(features, weight, teacher, bias, 2.5, kind)
    logits = logits_of(features, weight, bias).tolist()
    pairs = zip(logits, scores.tolist(), strict=True)
    each = [top_k_targets(*pair, k, 2.5, kind) for pair in pairs]
    assert total.item() == pytest.approx(sum(each), rel=1e-12)
    assert (count.item(), count.dtype) == (M, torch.int64)


def test_hand_value():
    # Student: three equal scores, so q = (1/3, 1/3, 1/3). Teacher at T = 2: scores 2 ln 2, 0, 0
    # give p = (1/2, 1/4, 1/4). Joined, with k = 1: p' = (1/2, 1/2) and q' = (1/3, 2/3), so
    # KL = 1/2 ln 3/2 + 1/2 ln 3/4 = 1/2 ln 9/8, four times as much with T^2. At the first word's
    # score the gradient is T^2 / T (q - p) = 2 (1/3 - 1/2), and each of the others has half of it.
    features, weight = torch.zeros(1, 1), torch.zeros(3, 1)
    bias = torch.zeros(3, requires_grad=True)
    teacher = most_likely(torch.tensor([[2 * math.log(2), 0.0, 0.0]]), 1, 2.0)
    assert teacher.ids.tolist() == [[0]]
    assert_close(teacher.log_rest.exp(), torch.tensor([0.5]))
    total, _ = linear_top_k_targets(features, weight, teacher, bias, 2.0)
    total.backward()
    assert total.item() == pytest.approx(2 * math.log(9 / 8))
    assert_close(bias.grad, torch.tensor([-1 / 3, 1 / 6, 1 / 6]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 4, V])
@pytest.mark.parametrize("chunk_tokens", [3, 8])
def test_gradients_are_those_of_differences(chunk_tokens, k, kind):
    student, scores = operands()
    teacher = most_likely(scores, k, 1.5)

    def loss(features, weight, bias):
        return linear_top_k_targets(features, weight, teacher, bias, 1.5, kind, chunk_tokens)[0]

    assert torch.autograd.gradcheck(loss, student)


@pytest.mark.parametrize("kind", KINDS)
def test_it_grows_with_k_up_to_the_full_loss(kind):
    (features, weight, bias), scores = operands()
    logits = logits_of(features, weight, bias)
    full, _ = soft_targets(logits, scores, 2.0, kind)
    found = [
        linear_soft_targets(features, weight, most_likely(scores, k, 2.0), bias, 2.0, kind)[0]
        for k in range(1, V + 1)
    ]
    assert_close(found[-1], full)
    assert found == sorted(found)
    assert found[0] < 0.9 * full
    tensors = [features, weight, bias]
    assert_close(torch.autograd.grad(found[-1], tensors), torch.autograd.grad(full, tensors))


def test_pseudo_labels_are_words_whatever_the_rest_weighs():
    (features, weight, bias), scores = operands(scale=0.1)  # no word outweighs all others
    teacher = most_likely(scores, 2, 2.5)
    assert (teacher.log_rest > teacher.log_probabilities[:, 0]).all()
    total, _ = linear_top_k_targets(features, weight, teacher, bias, 2.5, "pseudo_labels")
    logits = logits_of(features, weight, bias)
    expected, _ = soft_targets(logits, scores, 2.5, "pseudo_labels")
    assert_close(total, expected)


def test_the_rest_of_a_sure_student_is_exact():
    # q = (1, e^-40, e^-40) to within rounding, so 1 - q_1 would be 0 in float32. By hand, with
    # p' = (1/2, 1/2) and q' = (1, 2 e^-40): KL = 1/2 ln 1/2 + 1/2 (ln 1/2 + 40 - ln 2).
    bias = torch.tensor([40.0, 0.0, 0.0], requires_grad=True)
    teacher = most_likely(torch.tensor([[math.log(2), 0.0, 0.0]]), 1, 1.0)
    total, _ = linear_top_k_targets(torch.zeros(1, 1), torch.zeros(3, 1), teacher, bias)
    assert total.item() == pytest.approx(20 - 1.5 * math.log(2), rel=1e-6)
    total.backward()
    assert_close(bias.grad, torch.tensor([0.5, -0.25, -0.25]))


def test_what_is_rounded_to_half_precision_is_a_distribution_again():
    (features, weight, bias), scores = operands(scale=3.0)
    teacher = most_likely(scores, V, 1.0)
    rounded = TopK(teacher.ids, teacher.log_probabilities.half(), teacher.log_rest.half())
    exact, _ = linear_top_k_targets(features, weight, teacher, bias)
    found, _ = linear_top_k_targets(features, weight, rounded, bias)
    assert_close(found, exact, rtol=1e-3, atol=1e-3)
    same = most_likely(logits_of(features, weight, bias).detach(), 4, 1.0)
    half = TopK(same.ids, same.log_probabilities.half(), same.log_rest.half())
    for kind in KINDS:
        assert 0 <= linear_top_k_targets(features, weight, half, bias, 1.0, kind)[0] < 1e-4


def test_under_autocast_it_stays_close_and_sums_in_float32():
    student, scores = operands()
    features, weight, bias = (tensor.detach().float() for tensor in student)
    teacher = most_likely(scores.float(), 4, 1.0)
    exact, _ = linear_top_k_targets(features, weight, teacher, bias)
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = linear_top_k_targets(features, weight, teacher, bias)
    assert found.dtype == torch.float32
    assert_close(found, exact, rtol=0.05, atol=0.05)


def test_no_target_gives_nothing_but_stays_on_the_graph():
    (_, weight, bias), scores = operands()
    features = torch.zeros(0, D, dtype=torch.float64, requires_grad=True)
    teacher = most_likely(scores[:0], 2, 1.0)
    total, count = linear_top_k_targets(features, weight, teacher, bias)
    total.backward()
    assert (total.item(), count.item()) == (0.0, 0)
    assert not weight.grad.any()


def test_most_likely_words_are_those_of_the_softened_scores():
    scores = torch.tensor([[0.0, 3.0, 1.0, 2.0], [5.0, 0.0, 0.0, 4.0]], dtype=torch.float64)
    found = most_likely(scores, 2, 2.0)
    p = torch.softmax(scores / 2, dim=1)
    assert found.ids.tolist() == [[1, 3], [0, 3]]
    assert_close(found.log_probabilities.exp(), p.gather(1, found.ids))
    assert_close(found.log_rest.exp(), 1 - found.log_probabilities.exp().sum(1))
    assert most_likely(scores, 4, 2.0).log_rest.tolist() == [-math.inf] * 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": 3}, r"with M = 7 and k from 1 to 11, not \(3, 2\)"),
        ({"k": 0}, r"k from 1 to 11, not \(7, 0\)"),
        ({"temperature": 0.0}, "temperature must be above 0, not 0.0"),
        ({"divergence": "squared_error"}, "squared_error compares scores"),
        ({"divergence": "tv"}, "divergence is one of kl, .*not 'tv'"),
        ({"words": 1}, r"label \d+ is outside 0 to 9"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    (features, weight, bias), scores = operands()
    teacher = most_likely(scores[: changes.get("rows", M)], changes.get("k", 2), 1.0)
    fewer = V - changes.get("words", 0)
    settings = [changes.get("temperature", 1.0), changes.get("divergence", "kl")]
    with pytest.raises(ValueError, match=message):
        linear_top_k_targets(features, weight[:fewer], teacher, bias[:fewer], *settings)
