import math
import statistics

import pytest

from lit_llm.tables.statistics import Summary, standard_deviation


def test_hand_values():
    # deviations from 2.5: -1.5 -0.5 0.5 1.5; squares 2.25 + 0.25 + 0.25 + 2.25 = 5; 5 / 3
    summary = Summary((0, 1, 2, 3), (1.0, 2.0, 3.0, 4.0))
    assert summary.n == 4
    assert summary.mean == 2.5
    assert summary.std == math.sqrt(5 / 3)
    # 3 apart: 2 * 1.5 ** 2 / 1
    assert Summary((0, 1), (4.0, 7.0)).std == math.sqrt(4.5)


@pytest.mark.parametrize(
    "values",
    [
        [0.8672, 0.8664, 0.8680],
        [1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16],  # a difference of squares loses all digits here
        [-0.1, 0.2, -0.3, 0.4, -0.5],
        [1e-12, 3e-12],
        [0.5] * 7,
    ],
)
def test_agrees_with_the_standard_library(values):
    summary = Summary(tuple(range(len(values))), tuple(values))
    assert summary.mean == pytest.approx(statistics.fmean(values), rel=1e-15)
    assert summary.std == pytest.approx(statistics.stdev(values), rel=1e-12)


def test_order_does_not_matter():
    values = (0.1, 0.7, 0.3, 1e16, -1e16)
    one, two = Summary((), values), Summary((), values[::-1])
    assert (one.mean, one.std) == (two.mean, two.std)


def test_one_value_has_no_spread_and_none_no_mean():
    assert Summary((3,), (0.25,)).mean == 0.25
    assert Summary((3,), (0.25,)).std is None
    assert (Summary((), ()).n, Summary((), ()).std) == (0, None)
    assert math.isnan(Summary((), ()).mean)


@pytest.mark.parametrize("values", [[], [1.0]])
def test_a_spread_of_fewer_than_two_values_is_refused(values):
    with pytest.raises(ValueError, match=f"needs two values, not {len(values)}"):
        standard_deviation(values)
