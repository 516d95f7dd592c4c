import random
from itertools import pairwise

import pytest

from lit_llm.data.windows import (
    best_window,
    context_widths,
    overlapping_windows,
    windows_at_borders,
)


def test_windows_hand_value():
    # Starts 0, 3, then 6 would reach past 8: the last window is moved back to 8 - 4 = 4.
    assert overlapping_windows(8, 4, 3) == [(0, 4), (3, 7), (4, 8)]
    assert overlapping_windows(4, 4, 1) == [(0, 4)]
    assert overlapping_windows(0, 4, 2) == [(0, 0)]


def test_windows_at_borders_hand_value():
    # Words of 2, 2, 3 and 1 tokens. From 0, five tokens reach into the third word: stop at 4.
    # One stride of 3 on is inside the second word: back to its start, 2; from there to 7.
    assert windows_at_borders([0, 2, 4, 7, 8], 5, 3) == [(0, 4), (2, 7), (4, 8)]


def test_windows_at_borders_pass_over_a_word_longer_than_the_stride():
    assert windows_at_borders([0, 4, 5, 9], 5, 2) == [(0, 5), (4, 9)]


def test_windows_cover_everything_and_fit():
    rng = random.Random(0)
    for _ in range(500):
        lengths = [rng.randint(1, 6) for _ in range(rng.randint(1, 40))]
        offset = rng.randint(0, 9)
        borders = [offset + sum(lengths[:i]) for i in range(len(lengths) + 1)]
        size = rng.randint(6, 20)
        windows = windows_at_borders(borders, size, rng.randint(1, size))
        assert windows[0][0] == offset
        assert windows[-1][1] == borders[-1]
        assert all(0 < end - start <= size for start, end in windows)
        assert {at for window in windows for at in window} <= set(borders)
        for (a, b), (c, d) in pairwise(windows):
            assert a < c <= b < d


def test_best_window_equals_brute_force_and_never_goes_back():
    rng = random.Random(1)
    for _ in range(300):
        lengths = [rng.randint(1, 5) for _ in range(rng.randint(1, 40))]
        borders = [sum(lengths[:i]) for i in range(len(lengths) + 1)]
        size = rng.randint(5, 16)
        windows = windows_at_borders(borders, size, rng.randint(1, size))
        chosen = []
        for start, end in pairwise(borders):
            scores = [
                min(start - a, b - end) if a <= start and end <= b else -1 for a, b in windows
            ]
            chosen.append(best_window(start, end, windows))
            assert chosen[-1] == scores.index(max(scores))
        assert chosen == sorted(chosen)


def test_context_widths_give_what_one_side_cannot_use_to_the_other():
    assert context_widths(5, 5, 20) == (5, 5)
    assert context_widths(5, 5, 6) == (3, 3)
    assert context_widths(1, 9, 6) == (1, 5)
    assert context_widths(9, 1, 6) == (5, 1)
    assert context_widths(9, 9, 0) == (0, 0)


def test_windows_refuse_bad_sizes():
    for size, stride in ((0, 1), (4, 0), (4, 5)):
        with pytest.raises(ValueError, match=f"stride {stride}, size {size}"):
            overlapping_windows(9, size, stride)
    with pytest.raises(ValueError, match="token 1 does not fit in 3 tokens"):
        windows_at_borders([0, 1, 6, 7], 3, 1)
    with pytest.raises(ValueError, match="token 1 does not fit in 3 tokens"):
        windows_at_borders([0, 1, 7], 3, 3)
    with pytest.raises(ValueError, match="no window holds tokens 3 to 5"):
        best_window(3, 5, [(0, 4), (4, 8)])
