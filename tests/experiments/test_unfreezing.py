"""What a way of unfreezing costs, against hand values."""

import pytest

from experiments.unfreezing.compute import parts


def test_parts_of_a_full_step():
    found = parts(blocks=3, steps=8)
    # A forward pass is one of three units, and the head's products are not counted.
    assert found["full"] == 1
    assert found["head_only"] == pytest.approx(1 / 3)
    assert found["two_step"] == pytest.approx((1 / 3 + 1) / 2)
    # Two steps with the highest block (3 + 2 of 9 units), two with two of them (3 + 4), then all.
    assert found["three_stage"] == pytest.approx((2 * 5 / 9 + 2 * 7 / 9 + 4) / 8)
