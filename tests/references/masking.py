"""Which sets of tokens are masked how often, by writing out every possible course of events.

Written from Devlin et al. 2019 (section 3.1), the BERT repository's README on whole words and
SpanBERT (Joshi et al. 2020, section 3.1), with the rule that the number of tokens is exact. An item
is a list of runs, a run a list of words, a word its number of tokens; tokens are numbered through.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations, permutations

Runs = list[list[int]]
Law = dict[frozenset[int], Fraction]


def words_of(runs: Runs) -> list[tuple[list[int], int]]:
    """(tokens, number of its run) of each word."""
    words, token = [], 0
    for number, run in enumerate(runs):
        for size in run:
            words.append((list(range(token, token + size)), number))
            token += size
    return words


def token_law(runs: Runs, count: int) -> Law:
    """All sets of ``count`` tokens, equally likely."""
    sets = list(combinations(range(sum(map(sum, runs))), count))
    return {frozenset(tokens): Fraction(1, len(sets)) for tokens in sets}


def whole_word_law(runs: Runs, count: int) -> Law:
    """Every order of the words: take each that still fits; if tokens are missing, cut one."""
    words = [tokens for tokens, _ in words_of(runs)]
    orders = list(permutations(words))
    law: Law = defaultdict(Fraction)
    for order in orders:
        masked: list[int] = []
        left_out = []
        for tokens in order:
            if len(masked) + len(tokens) <= count:
                masked += tokens
            else:
                left_out.append(tokens)
        if len(masked) < count:
            masked += left_out[0][: count - len(masked)]
        law[frozenset(masked)] += Fraction(1, len(orders))
    return dict(law)


def span_law(runs: Runs, count: int, prob: Fraction, max_words: int) -> Law:
    """Every start among the words still free, every length, until the number is reached."""
    words = words_of(runs)
    lengths = [prob * (1 - prob) ** (length - 1) for length in range(1, max_words + 1)]
    law: Law = defaultdict(Fraction)

    def outcomes(masked: frozenset[int]) -> Iterator[tuple[frozenset[int], Fraction]]:
        free = [i for i, (tokens, _) in enumerate(words) if masked.isdisjoint(tokens)]
        for start in free:
            for length, weight in enumerate(lengths, start=1):
                grown = set(masked)
                for i in range(start, start + length):
                    if i not in free or words[i][1] != words[start][1]:
                        break
                    for token in words[i][0]:
                        if len(grown) < count:
                            grown.add(token)
                yield frozenset(grown), weight / sum(lengths) / len(free)

    reached: Law = {frozenset(): Fraction(1)}
    while reached:
        after: Law = defaultdict(Fraction)
        for masked, so_far in reached.items():
            for grown, chance in outcomes(masked):
                (law if len(grown) == count else after)[grown] += so_far * chance
        reached = after
    return dict(law)
