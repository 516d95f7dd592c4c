"""Pairs of sentence runs by their rules, one sentence and one token at a time.

Written from Devlin et al. 2019 (appendix A.2) and Lan et al. 2020 (section 3.1).
"""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction

Sentences = list[list[int]]


def pieces(sentences: Sentences, longest: int) -> Sentences:
    """No piece longer than ``longest``, as few as possible, none empty, about equal."""
    found = []
    for sentence in sentences:
        number = 1
        while number * longest < len(sentence):
            number += 1
        ends = [len(sentence) * i // number for i in range(number + 1)]
        parts = [sentence[ends[i] : ends[i + 1]] for i in range(number)]
        found += [part for part in parts if part]
    return found


def run_end(
    sentences: Sentences, start: int, target: int, capacity: int, pairs: bool, full_sentences: bool
) -> int:
    """Where a run that begins at ``start`` ends."""
    end, total = start, 0
    while end < len(sentences):
        needed = end - start < (2 if pairs else 1)
        if not needed and total >= target:
            break
        if not needed and full_sentences and total + len(sentences[end]) > capacity:
            break
        total += len(sentences[end])
        end += 1
    return end


def truncated_lengths(length_a: int, length_b: int, limit: int) -> tuple[int, int]:
    """One token off the longer one, or off B, until they fit."""
    while length_a + length_b > limit:
        if length_a > length_b:
            length_a -= 1
        else:
            length_b -= 1
    return length_a, length_b


def truncation_law(length_a: int, length_b: int, limit: int) -> dict[tuple[int, int], Fraction]:
    """How many tokens go at A's and B's front, by tossing a coin for each token."""
    reached = {(length_a, length_b, 0, 0): Fraction(1)}
    law: dict[tuple[int, int], Fraction] = defaultdict(Fraction)
    while reached:
        after: dict[tuple[int, int, int, int], Fraction] = defaultdict(Fraction)
        for (a, b, front_a, front_b), chance in reached.items():
            if a + b <= limit:
                law[front_a, front_b] += chance
                continue
            for front in (0, 1):
                state = (
                    (a - 1, b, front_a + front, front_b)
                    if a > b
                    else (a, b - 1, front_a, front_b + front)
                )
                after[state] += chance / 2
        reached = after
    return dict(law)


def is_truncation(
    kept: tuple[list[int], list[int]], whole: tuple[list[int], list[int]], limit: int
) -> bool:
    """Whether two segments can be what is left of two others; tokens are distinct."""
    if tuple(map(len, kept)) != truncated_lengths(*map(len, whole), limit):
        return False
    for part, full in zip(kept, whole, strict=True):
        first = full.index(part[0]) if part and part[0] in full else 0
        if part != full[first : first + len(part)]:
            return False
    return True
