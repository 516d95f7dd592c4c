from __future__ import annotations

import math

import pytest
import torch

from lit_llm.losses.map_distance import map_distance
from tests.references import losses as reference

S, N, T = 3, 2, 5
LENGTHS = [5, 3, 1]
EMPTY = torch.arange(T) >= torch.tensor(LENGTHS)[:, None]


def maps() -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    student, teacher = (
        2 * torch.randn(S, N, T, T, generator=g, dtype=torch.float64) for _ in range(2)
    )
    return student.requires_grad_(), teacher.requires_grad_()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("distance", ["kl", "squared_error"])
def test_it_equals_its_definition(distance: str, causal: bool) -> None:
    student, teacher = maps()
    total, count = map_distance(student, teacher, EMPTY, causal, distance)
    expected = 0.0
    for segment, length in enumerate(LENGTHS):
        for head in range(N):
            for token in range(length):
                end = token + 1 if causal else length
                s, t = (m[segment, head, token, :end].tolist() for m in (student, teacher))
                if distance == "kl":
                    expected += reference.soft_targets(s, t, 1.0, "kl") / N
                else:
                    squares = sum((a - b) ** 2 for a, b in zip(s, t, strict=True))
                    expected += squares / len(s) / N
    assert total.item() == pytest.approx(expected, rel=1e-9)
    assert count.item() == sum(LENGTHS)
    assert torch.autograd.gradcheck(
        lambda m: map_distance(m, teacher, EMPTY, causal, distance)[0], (student,)
    )
    total.backward()
    unseen = EMPTY[:, None, None, :] | EMPTY[:, None, :, None]
    if causal:
        unseen = unseen | torch.ones(T, T, dtype=torch.bool).triu(1)
    assert not student.grad.masked_select(unseen).any()
    assert teacher.grad is None


def test_hand_values() -> None:
    # One token looks at two: teacher 3/4 and 1/4, student 1/2 and 1/2; the other is alike.
    teacher = torch.tensor([[[[math.log(3.0), 0.0], [1.0, 1.0]]]])
    student, full = torch.tensor([[[[5.0, 5.0], [2.0, 2.0]]]]), torch.zeros(1, 2, dtype=torch.bool)
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert map_distance(student, teacher, full)[0].item() == pytest.approx(expected)
    # (5 - ln 3)^2 and 5^2, halved; 1 and 1, halved.
    expected = ((5 - math.log(3.0)) ** 2 + 25) / 2 + 1
    found, count = map_distance(student, teacher, full, distance="squared_error")
    assert (found.item(), count.item()) == (pytest.approx(expected), 2)


def test_like_maps_are_at_no_distance_and_no_segment_is_one() -> None:
    student, _ = maps()
    for distance in ("kl", "squared_error"):
        assert map_distance(student, student, EMPTY, distance=distance)[0].item() == 0
    total, count = map_distance(student[:0], student[:0], EMPTY[:0])
    assert (total.item(), count.item()) == (0, 0)


def test_what_does_not_fit_is_refused() -> None:
    student, teacher = maps()
    with pytest.raises(ValueError, match=r"must both be \(S, N, T, T\)"):
        map_distance(student, teacher[:, :1], EMPTY)
    with pytest.raises(ValueError, match="distance is one of squared_error, kl, not 'cosine'"):
        map_distance(student, teacher, EMPTY, distance="cosine")
