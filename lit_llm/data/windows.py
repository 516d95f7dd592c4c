"""Windows over long examples: where they stand, and which one a word is read in."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from operator import itemgetter


def overlapping_windows(num: int, size: int, stride: int) -> list[tuple[int, int]]:
    """Cover ``num`` tokens by windows of ``size``, one every ``stride`` tokens.

    The last window is moved back until it is full, so that its tokens too have context. An
    example of at most ``size`` tokens is one window; ``num`` 0 is one empty window.

    Args:
        num: tokens to cover.
        size: the most tokens a window may hold, at least 1.
        stride: tokens from one window's start to the next, 1 to ``size``.

    Returns:
        (start, end) of each window, end exclusive, both strictly increasing.

    Raises:
        ValueError: ``size`` or ``stride`` is out of range.
    """
    return windows_at_borders(range(num + 1), size, stride)


def windows_at_borders(borders: Sequence[int], size: int, stride: int) -> list[tuple[int, int]]:
    """As ``overlapping_windows``, but no window begins or ends inside a word.

    A window ends at the last border that ``size`` allows. The next one begins at the last border
    not past ``stride``, or further on where it would hold no new word otherwise.

    Args:
        borders: where each word starts, in tokens, ascending, and last where the last word ends.
        size: the most tokens a window may hold; at least the longest word.
        stride: tokens from one window's start to the next at most, 1 to ``size``.

    Raises:
        ValueError: ``size`` or ``stride`` is out of range, or a word is longer than ``size``.
    """
    if size < 1 or not 1 <= stride <= size:
        raise ValueError(f"windows need 1 <= stride <= size, got stride {stride}, size {size}")
    windows = []
    start, last = 0, len(borders) - 1
    while borders[-1] - borders[start] > size:
        end = bisect_right(borders, borders[start] + size) - 1
        if end == start:
            raise ValueError(f"the word at token {borders[start]} does not fit in {size} tokens")
        windows.append((borders[start], borders[end]))
        longer = min(end, bisect_left(borders, borders[end + 1] - size))
        start = max(longer, bisect_right(borders, borders[start] + stride) - 1)
    if windows:
        start = bisect_left(borders, borders[last] - size)
    windows.append((borders[start], borders[last]))
    return windows


def best_window(start: int, end: int, windows: Sequence[tuple[int, int]]) -> int:
    """The window in which the tokens ``start`` to ``end`` have most context on their poorer side.

    Ties go to the earlier window. The choice never goes back from one word to the next: a later
    window (a', b') beats an earlier one (a, b) exactly when start + end > a' + b.

    Args:
        start: a word's first token.
        end: one past its last.
        windows: (start, end) of each, both strictly increasing.

    Returns:
        An index into ``windows``.

    Raises:
        ValueError: no window holds the whole word.
    """
    first = bisect_left(windows, end, key=itemgetter(1))
    stop = bisect_right(windows, start, key=itemgetter(0))
    if first >= stop:
        raise ValueError(f"no window holds tokens {start} to {end}")
    return max(range(first, stop), key=lambda i: min(start - windows[i][0], windows[i][1] - end))


def context_widths(left: int, right: int, spare: int) -> tuple[int, int]:
    """Share ``spare`` tokens between two sides; what one side cannot use goes to the other.

    Args:
        left: tokens wanted and available on the left.
        right: the same on the right.
        spare: tokens that fit beside the sentence, at least 0.

    Returns:
        (left, right) granted: never more than wanted, in sum never more than ``spare``.
    """
    granted = min(left, max(spare // 2, spare - right))
    return granted, min(right, spare - granted)
