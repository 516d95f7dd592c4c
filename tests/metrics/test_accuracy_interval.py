"""Wilson's interval, against its definition."""

import math

import pytest

from lit_llm.metrics.accuracy_interval import accuracy_with_interval


@pytest.mark.parametrize(("correct", "total"), [(0, 7), (7, 7), (60, 100), (5210, 10000)])
def test_ends_are_where_the_normal_test_just_rejects(correct, total):
    """Each end p solves |correct / total - p| = 1.96 * sqrt(p (1 - p) / total)."""
    scores = accuracy_with_interval("a", correct, total)
    assert scores["a"] == correct / total
    for end in (scores["a_low"], scores["a_high"]):
        distance = abs(correct / total - end)
        assert distance == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / total), abs=1e-9)
    assert scores["a_low"] <= correct / total <= scores["a_high"]


def test_nothing_to_be_right_about():
    assert accuracy_with_interval("a", 0, 0) == {}
