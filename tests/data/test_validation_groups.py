"""Which groups validate."""

from __future__ import annotations

import pytest

from lit_llm.data.validation_groups import is_validation, refuse_unknown_groups

GROUPS = [f"book {i}" for i in range(4000)]


def test_about_the_fraction_of_the_groups_validates() -> None:
    # Binomial: 4000 x 0.1 = 400 expected, standard deviation sqrt(4000 x 0.1 x 0.9) = 19.
    assert 325 < sum(is_validation(group, 0.1) for group in GROUPS) < 475
    assert not any(is_validation(group, 0.0) for group in GROUPS)
    assert all(is_validation(group, 1.0) for group in GROUPS)


def test_a_larger_fraction_only_adds_groups() -> None:
    small = {group for group in GROUPS if is_validation(group, 0.05)}
    large = {group for group in GROUPS if is_validation(group, 0.06)}
    assert small < large


def test_named_groups_validate_in_any_case() -> None:
    named = ["book 1", "book 2"]
    assert [group for group in GROUPS if is_validation(group, 0.0, named)] == named


def test_split_stays_what_it_was() -> None:
    # A change of the hash would move validation text of earlier runs into training.
    assert [i for i in range(100) if is_validation(f"book {i}", 0.05)] == [2, 7, 22, 29, 41, 73, 89]


@pytest.mark.parametrize("fraction", [-0.1, 1.5, float("nan")])
def test_fraction_outside_0_to_1_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match=rf"must be in \[0, 1\], not {fraction}"):
        is_validation("g", fraction)


def test_misspelt_group_is_refused_with_the_closest() -> None:
    refuse_unknown_groups(["Emma"], {"Emma", "Persuasion"})
    with pytest.raises(ValueError, match=r"'Ema' is not among the 2 .* closest are 'Emma'"):
        refuse_unknown_groups(["Ema"], {"Emma", "Persuasion"})
