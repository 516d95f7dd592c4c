"""Which tokens are masked together: single ones, whole words, or spans of words.

Each function chooses exactly ``count`` of an item's maskable tokens, numbered from 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Generator = np.random.Generator


class Words:
    """The words of an item's maskable tokens.

    A word ends where the next begins or where a special token stands: a continuing piece right
    behind a special token begins a word.

    Args:
        maskable: (n,), positions in the item, ascending.
        continues: (n,), whether the token there continues a word.

    Attributes:
        borders: (W + 1,), index into ``maskable`` of each word's first token, and n at the end.
        run_ends: (W,), one past the last word that is not behind a special token.
    """

    def __init__(self, maskable: NDArray[np.int64], continues: NDArray[np.bool_]) -> None:
        behind_gap = np.diff(maskable, prepend=-2) != 1
        starts = np.flatnonzero(behind_gap | ~continues)
        runs = np.cumsum(behind_gap)[starts]
        self.borders = np.append(starts, len(maskable))
        self.run_ends = np.searchsorted(runs, runs, side="right")


def choose_tokens(rng: Generator, num_maskable: int, count: int) -> NDArray[np.int64]:
    """``count`` tokens, every set of them equally likely: (M,), ascending."""
    return np.sort(rng.choice(num_maskable, count, replace=False, shuffle=False))


def choose_words(rng: Generator, words: Words, count: int) -> NDArray[np.int64]:
    """Whole words in random order, those left out that would be too much: (M,), ascending.

    Source:
        The BERT repository's README of 2019-05-31. Differs: where no word is short enough for what
        is left, the first one left out is masked in part, from its beginning.
    """
    order = rng.permutation(len(words.run_ends))
    lengths = np.diff(words.borders)
    shuffled = lengths[order]
    fitting = int(np.searchsorted(np.cumsum(shuffled), count, side="right"))
    taken = np.zeros(len(order), np.bool_)
    taken[order[:fitting]] = True
    left, at = count - int(shuffled[:fitting].sum()), fitting
    while left:
        short = np.flatnonzero(shuffled[at:] <= left)
        if not len(short):
            break
        at += int(short[0])
        taken[order[at]] = True
        left -= int(shuffled[at])
        at += 1
    tokens = np.repeat(taken, lengths)
    if left:
        first = words.borders[order[fitting]]
        tokens[first : first + left] = True
    return np.flatnonzero(tokens)


def choose_spans(
    rng: Generator, words: Words, count: int, prob: float, max_words: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Spans of geometric length from random words on, until there are enough tokens.

    A span begins at a word that is not masked yet, each equally likely, and ends early at a special
    token or a masked word.

    Returns:
        (tokens, spans): (M,), ascending, and the number of the span each belongs to, below M.

    Source:
        Joshi et al. 2020, section 3.1, arXiv:1907.10529. The last span is cut to the exact number
        of tokens, even inside a word.
    """
    num_words = len(words.run_ends)
    order = rng.permutation(num_words).tolist()  # without the masked ones: uniform over the rest
    lengths = span_lengths(rng.random(num_words), prob, max_words).tolist()
    borders, run_ends = words.borders.tolist(), words.run_ends.tolist()
    masked = bytearray(num_words)
    spans = []
    left = count
    for word, length in zip(order, lengths, strict=True):
        if masked[word]:
            continue
        end = min(word + length, run_ends[word])
        stop = masked.find(1, word, end)
        stop = end if stop < 0 else stop
        masked[word:stop] = b"\x01" * (stop - word)
        last = min(borders[stop], borders[word] + left)
        spans.append((borders[word], last))
        left -= last - borders[word]
        if not left:
            break
    firsts, lasts = np.array(sorted(spans)).T
    sizes = lasts - firsts
    shifts = firsts - (np.cumsum(sizes) - sizes)
    return np.arange(count) + np.repeat(shifts, sizes), np.repeat(np.arange(len(sizes)), sizes)


def span_lengths(uniform: NDArray[np.float64], prob: float, max_words: int) -> NDArray[np.int64]:
    """Numbers from [0, 1) as lengths with P(l) proportional to ``prob (1 - prob)^(l - 1)``.

    From 1 to ``max_words``; conditioned on that, not clipped, which is what gives the paper's mean
    of 3.8 words at 0.2 and 10 (clipped, it would be 4.5).
    """
    weights = prob * (1 - prob) ** np.arange(max_words)
    thresholds = np.cumsum(weights[:-1]) / weights.sum()
    return 1 + np.searchsorted(thresholds, uniform, side="right")
