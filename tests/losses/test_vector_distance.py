from __future__ import annotations

import math

import pytest
import torch

from lit_llm.losses.vector_distance import vector_distance


def vectors() -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(4, 3, generator=g, dtype=torch.float64) for _ in range(2))
    return student.requires_grad_(), teacher.requires_grad_()


@pytest.mark.parametrize("distance", ["squared_error", "cosine"])
def test_it_equals_its_definition(distance: str) -> None:
    student, teacher = vectors()
    total, count = vector_distance(student, teacher, distance)
    expected = 0.0
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        if distance == "squared_error":
            expected += sum((a - b) ** 2 for a, b in zip(s, t, strict=True)) / len(s)
        else:
            dot = sum(a * b for a, b in zip(s, t, strict=True))
            expected += 1 - dot / math.sqrt(sum(a * a for a in s) * sum(b * b for b in t))
    assert total.item() == pytest.approx(expected, rel=1e-12)
    assert count.item() == 4
    assert torch.autograd.gradcheck(lambda s: vector_distance(s, teacher, distance)[0], (student,))
    total.backward()
    assert teacher.grad is None


def test_hand_values() -> None:
    # (3, 4) against (4, 3): squares 1 and 1; the cosine is 24 / 25.
    student, teacher = torch.tensor([[3.0, 4.0]]), torch.tensor([[4.0, 3.0]])
    assert vector_distance(student, teacher)[0].item() == pytest.approx(1.0)
    assert vector_distance(student, teacher, "cosine")[0].item() == pytest.approx(1 / 25)
    assert vector_distance(7 * student, teacher, "cosine")[0].item() == pytest.approx(1 / 25)


def test_no_token_is_no_distance() -> None:
    student, teacher = (x[:0] for x in vectors())
    for distance in ("squared_error", "cosine"):
        total, count = vector_distance(student, teacher, distance)
        total.backward()
        assert (total.item(), count.item()) == (0, 0)


def test_what_does_not_fit_is_refused() -> None:
    student, teacher = vectors()
    with pytest.raises(ValueError, match=r"must both be \(T, D\), not \(4, 3\) and \(4, 2\)"):
        vector_distance(student, teacher[:, :2])
    with pytest.raises(ValueError, match="distance is one of squared_error, cosine, not 'kl'"):
        vector_distance(student, teacher, "kl")
