from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from lit_llm.losses.cross_entropy import cross_entropy
from lit_llm.losses.soft_binary_targets import soft_binary_targets
from lit_llm.losses.soft_targets import soft_targets
from tests.references import losses as reference

M, C = 6, 5
KINDS = ["kl", "reverse_kl", "jensen_shannon"]


def scores() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    student, teacher = (2 * torch.randn(M, C, generator=g, dtype=torch.float64) for _ in range(2))
    return student.requires_grad_(), teacher.requires_grad_(), torch.rand(M, generator=g)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("kind", KINDS)
def test_divergences_equal_their_definition(kind: str, temperature: float) -> None:
    student, teacher, weights = scores()
    total, count = soft_targets(student, teacher, temperature, kind, weights)
    pairs = zip(student.tolist(), teacher.tolist(), weights.tolist(), strict=True)
    expected = sum(w * reference.soft_targets(s, t, temperature, kind) for s, t, w in pairs)
    assert total.item() == pytest.approx(expected, rel=1e-6)
    assert count.item() == pytest.approx(weights.sum().item())
    assert torch.autograd.gradcheck(
        lambda s: soft_targets(s, teacher, temperature, kind)[0], (student,)
    )


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_the_gradient_is_that_of_the_paper(temperature: float) -> None:
    # Hinton et al. 2015, equation 2, times T^2: T (q - p).
    student, teacher, _ = scores()
    soft_targets(student, teacher, temperature)[0].backward()
    q, p = (torch.softmax(x.detach() / temperature, dim=1) for x in (student, teacher))
    torch.testing.assert_close(student.grad, temperature * (q - p))
    assert teacher.grad is None


def test_hand_values() -> None:
    # p = (3/4, 1/4), q = (1/2, 1/2): KL(p || q) = 3/4 ln(3/2) + 1/4 ln(1/2).
    teacher, student = torch.tensor([[math.log(3.0), 0.0]]), torch.zeros(1, 2)
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert soft_targets(student, teacher)[0].item() == pytest.approx(expected)
    # With T = 1/2 scores double: p = (9/10, 1/10), and T^2 = 1/4.
    expected = 0.25 * (0.9 * math.log(1.8) + 0.1 * math.log(0.2))
    assert soft_targets(student, teacher, 0.5)[0].item() == pytest.approx(expected)
    error = soft_targets(student, teacher, divergence="squared_error")[0]
    assert error.item() == pytest.approx(math.log(3.0) ** 2 / 2)


def test_pseudo_labels_are_the_cross_entropy_of_the_teachers_first_choice() -> None:
    student, teacher, weights = scores()
    total, count = soft_targets(student, teacher, 3.0, "pseudo_labels", weights)
    expected = cross_entropy(student, teacher.argmax(dim=1), weights)
    torch.testing.assert_close((total, count), expected)
    # Scores ln 3 and 0 of a student that is told the second: -ln(1/4).
    one, other = torch.tensor([[math.log(3.0), 0.0]]), torch.tensor([[1.0, 1.1]])
    found = soft_targets(one, other, divergence="pseudo_labels")[0]
    assert found.item() == pytest.approx(math.log(4.0))


def test_at_one_it_is_the_cross_entropy_but_for_the_teachers_entropy() -> None:
    student, teacher, _ = scores()
    p = torch.softmax(teacher.detach(), dim=1)
    entropy = -(p * p.log()).sum()
    expected = functional.cross_entropy(student, p, reduction="sum") - entropy
    torch.testing.assert_close(soft_targets(student, teacher)[0], expected)


def test_a_teacher_that_is_certain_gives_the_cross_entropy() -> None:
    student, _, _ = scores()
    labels = torch.tensor([0, 4, 2, 2, 1, 3])
    certain = 1e4 * functional.one_hot(labels, C).double()
    expected = cross_entropy(student, labels)[0]
    torch.testing.assert_close(soft_targets(student, certain)[0], expected)


def test_at_high_temperatures_it_is_the_squared_error_of_centred_scores() -> None:
    # Hinton et al. 2015, equation 4, times T^2: sum over classes of (s - t)^2 / (2 C).
    student, teacher, _ = scores()
    s, t = (x.detach() - x.detach().mean(dim=1, keepdim=True) for x in (student, teacher))
    expected = (s - t).square().sum() / (2 * C)
    for kind, scale in (("kl", 1), ("reverse_kl", 1), ("jensen_shannon", 0.25)):
        found = soft_targets(student, teacher, 1e3, kind)[0]
        torch.testing.assert_close(found, scale * expected, rtol=5e-3, atol=0)


@pytest.mark.parametrize("kind", [*KINDS, "squared_error"])
def test_a_student_like_its_teacher_has_nothing_to_learn(kind: str) -> None:
    student, _, _ = scores()
    total, _ = soft_targets(student, student.detach().clone(), 2.0, kind)
    total.backward()
    assert total.item() == pytest.approx(0.0, abs=1e-12)
    assert student.grad is not None
    assert student.grad.abs().max().item() < 1e-12


@pytest.mark.parametrize("kind", [*KINDS, "squared_error"])
def test_extreme_scores_stay_finite(kind: str) -> None:
    student = torch.tensor([[1e4, -1e4, 0.0]], dtype=torch.bfloat16).requires_grad_()
    total, _ = soft_targets(student, torch.tensor([[-1e4, 1e4, 0.0]]), 2.0, kind)
    total.backward()
    assert total.dtype == torch.float32
    assert total.isfinite()
    assert student.grad is not None
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_binary_targets_are_distributions_over_two_classes_each(temperature: float) -> None:
    student, teacher, weights = scores()
    total, _ = soft_binary_targets(student, teacher, temperature, weights)
    pairs = [
        torch.stack([x, torch.zeros_like(x)], dim=2).reshape(-1, 2) for x in (student, teacher)
    ]
    each = weights.repeat_interleave(C)
    expected = soft_targets(*pairs, temperature, weights_M=each)[0] / C
    torch.testing.assert_close(total, expected)
    assert torch.autograd.gradcheck(
        lambda s: soft_binary_targets(s, teacher, temperature)[0], (student,)
    )


def test_no_target_gives_nothing_but_stays_on_the_graph() -> None:
    empty = torch.zeros(0, C, requires_grad=True)
    for function in (soft_targets, soft_binary_targets):
        total, count = function(empty, torch.zeros(0, C))
        total.backward()
        assert (total.item(), count.item()) == (0.0, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(2, 3), torch.zeros(2, 4)), r"both be \(M, C\), not \(2, 3\) and \(2, 4\)"),
        ((torch.zeros(2, 3), torch.zeros(2, 3), 0.0), "temperature must be above 0, not 0.0"),
        ((torch.zeros(2, 3), torch.zeros(2, 3), 1.0, "cosine"), "not 'cosine'"),
    ],
)
def test_what_does_not_fit_is_refused(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        soft_targets(*arguments)
    if len(arguments) < 4:
        with pytest.raises(ValueError, match=message):
            soft_binary_targets(*arguments)
