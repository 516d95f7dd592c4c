from __future__ import annotations

import time

import numpy as np
import pytest

from lit_llm.data.rows import (
    Rows,
    balance_rows,
    epoch_order,
    filler_fraction,
    length_correlation,
    one_per_row,
    pack_in_order,
)


def in_order(lengths: list[int], row_length: int, **options: int) -> list[list[int]]:
    order = np.arange(len(lengths), dtype=np.int32)
    rows = pack_in_order(np.array(lengths), order, row_length, **options)
    return [rows[r] for r in range(len(rows))]


def test_epoch_order_is_a_permutation_of_seed_and_epoch_alone() -> None:
    np.random.seed(0)  # noqa: NPY002 - the global generator must not matter
    first = epoch_order(100, seed=3, epoch=5)
    np.random.seed(1)  # noqa: NPY002
    assert (epoch_order(100, seed=3, epoch=5) == first).all()
    assert sorted(first.tolist()) == list(range(100))
    assert (epoch_order(100, seed=3, epoch=6) != first).any()
    assert (epoch_order(100, seed=4, epoch=5) != first).any()


def test_pack_in_order_takes_the_fullest_row_with_room() -> None:
    # 6 opens row 0 (4 left), 7 opens row 1 (3 left); 3 fits both and goes to row 1, 4 fills row 0.
    assert in_order([6, 7, 3, 4], row_length=10) == [[0, 3], [1, 2]]


def test_pack_in_order_closes_the_oldest_row() -> None:
    # With two rows open, row 0 is closed when row 2 begins, so the last 1 opens row 3.
    assert in_order([9, 10, 10, 1], row_length=10, open_rows=2) == [[0], [1], [2], [3]]
    assert in_order([9, 10, 10, 1], row_length=10, open_rows=3) == [[0, 3], [1], [2]]


def test_pack_in_order_equals_a_plain_search() -> None:
    generator = np.random.default_rng(0)
    for open_rows in (1, 3, 1000):
        lengths = generator.integers(1, 31, 300)
        room: list[int] = []
        expected: list[list[int]] = []
        for i, length in enumerate(lengths.tolist()):
            begin = max(0, len(room) - open_rows)
            fitting = [r for r in range(begin, len(room)) if room[r] >= length]
            least = min((room[r] for r in fitting), default=None)
            if least is None:
                room.append(30)
                expected.append([])
                row = len(room) - 1
            else:  # among equals, the one that was last given an example
                row = max((r for r in fitting if room[r] == least), key=lambda r: expected[r][-1])
            room[row] -= length
            expected[row].append(i)
        assert in_order(lengths.tolist(), 30, open_rows=open_rows) == expected


def test_pack_in_order_bounds_how_far_an_example_moves() -> None:
    lengths = np.random.default_rng(1).integers(1, 513, 20_000)
    order = epoch_order(20_000, seed=0, epoch=0)
    rows = pack_in_order(lengths, order, 512, open_rows=16)
    row_of = np.repeat(np.arange(len(rows)), np.diff(rows.starts))
    arrival = np.empty(20_000, int)
    arrival[order] = np.arange(20_000)
    newest = np.maximum.accumulate(row_of[np.argsort(arrival[rows.items])])  # when each came
    assert (newest - row_of[np.argsort(arrival[rows.items])]).max() < 16


@pytest.mark.parametrize(("length", "message"), [(11, "example 1 has 11 tokens"), (0, "no tokens")])
def test_pack_in_order_refuses_lengths_that_fit_no_row(length: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        in_order([3, length], row_length=10)


def test_pack_in_order_of_nothing_has_no_rows() -> None:
    assert in_order([], row_length=10) == []


def test_a_million_lengths_are_planned_in_seconds_and_megabytes() -> None:
    lengths = np.random.default_rng(0).integers(3, 60, 1_000_000).astype(np.int32)
    begin = time.process_time()
    rows = pack_in_order(lengths, epoch_order(1_000_000, 0, 0), 512)
    assert time.process_time() - begin < 5  # about 0.6
    assert rows.items.nbytes + rows.starts.nbytes < 6e6
    assert filler_fraction(rows, lengths, 512) < 0.01


def test_balance_rows_deals_the_longest_to_the_emptiest() -> None:
    # Total 24 for rows of 12: 8 | 7, then 5 to the second (12), 4 to the first (12).
    assert balance_rows([4, 8, 5, 7], row_length=12) == [[1, 0], [3, 2]]


def test_balance_rows_lengthens_rows_to_avoid_filler() -> None:
    # Three rows of 8 for 5, 5, 5 + 3 waste 6 of 24; two of 10 waste 2 of 20; one wastes nothing.
    assert balance_rows([5, 5, 5, 3], row_length=9) == [[0, 1, 2, 3]]


@pytest.mark.parametrize("multiple", [1, 2, 3, 4])
def test_balance_rows_gives_every_rank_the_same_number_of_rows(multiple: int) -> None:
    generator = np.random.default_rng(multiple)
    for size in range(1, 40):
        lengths = generator.integers(1, 100, size).tolist()
        rows = balance_rows(lengths, row_length=128, multiple=multiple)
        assert sorted(i for row in rows for i in row) == list(range(size))
        assert all(rows)
        assert len(rows) % multiple == 0 if size >= multiple else len(rows) == size


def test_length_correlation_is_one_for_sorted_and_zero_without_variation() -> None:
    lengths = np.array([3, 1, 2])
    assert length_correlation(one_per_row(np.array([1, 2, 0], np.int32)), lengths) == 1.0
    assert length_correlation(one_per_row(np.array([0, 2, 1], np.int32)), lengths) == -1.0
    assert length_correlation(one_per_row(np.arange(3, dtype=np.int32)), np.array([2, 2, 2])) == 0.0
    one_row = Rows(np.arange(3, dtype=np.int32), np.array([0, 3]))
    assert length_correlation(one_row, lengths) == 0.0


def test_weighted_order_has_whole_parts_exactly_and_the_rest_on_average():
    """Weights 1, 2, 0.25 and 0: of 40 examples of a quarter, 10 an epoch, each in every fourth."""
    weights = np.repeat([1.0, 2.0, 0.25, 0.0], 40)
    seen = np.zeros(160)
    for epoch in range(400):
        order = epoch_order(160, 7, epoch, weights)
        counts = np.bincount(order, minlength=160)
        assert counts[:40].tolist() == [1] * 40
        assert counts[40:80].tolist() == [2] * 40
        assert counts[80:120].sum() == 10
        assert counts[80:120].max() <= 1
        assert counts[120:].sum() == 0
        seen += counts
    # A quarter of 400 is 100; five standard deviations of a binomial are 43.
    assert abs(seen[80:120] - 100).max() < 43


def test_weighted_order_is_a_function_of_its_arguments():
    weights = np.linspace(0.1, 1.9, 30)
    one = epoch_order(30, 1, 2, weights)
    assert one.tolist() == epoch_order(30, 1, 2, weights).tolist()
    assert one.tolist() != epoch_order(30, 1, 3, weights).tolist()
    assert {len(epoch_order(30, 1, e, weights)) for e in range(50)} == {30}


@pytest.mark.parametrize("weight", [0.5, 1.0, 1.5])
def test_one_example_with_a_weight(weight):
    lengths = {len(epoch_order(1, 0, e, np.array([weight]))) for e in range(20)}
    assert lengths == {round(weight)}
