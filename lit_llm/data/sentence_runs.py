"""Runs of consecutive sentences: taken up to a target, and cut to a limit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Sentence = Sequence[int] | NDArray[np.integer[Any]]


def equal_pieces(sentence: Sentence, longest: int) -> list[Sentence]:
    """A sentence in as few pieces of at most ``longest`` tokens as it needs, all about as long."""
    if len(sentence) <= longest:
        return [sentence] if len(sentence) else []
    number = -(-len(sentence) // longest)
    borders = [len(sentence) * i // number for i in range(number + 1)]
    return [sentence[a:b] for a, b in pairwise(borders)]


def take_run(
    sentences: Iterable[Sentence], target: int, room: float, at_least: int
) -> list[Sentence]:
    """The first sentences, until they have ``target`` tokens or the next would exceed ``room``.

    Args:
        sentences: none empty; only as many are taken as are needed, and the next one.
        target: tokens; a run that has reached it ends.
        room: tokens; infinite for a run that ends with the sentence that reaches the target.
        at_least: sentences, taken whatever their length, where there are so many.
    """
    run: list[Sentence] = []
    total = 0
    for sentence in sentences:
        if len(run) >= at_least and (total >= target or total + len(sentence) > room):
            break
        run.append(sentence)
        total += len(sentence)
    return run


def truncate_pair(
    rng: np.random.Generator, a: Sentence, b: Sentence, limit: int
) -> tuple[Sentence, Sentence]:
    """Take tokens off the longer segment (B when equal), each from its front or its end at random.

    Args:
        rng: two draws are taken if anything is cut.
        a: tokens of the first segment.
        b: tokens of the second; may be empty.
        limit: tokens of both together afterwards, at most.

    Source:
        Devlin et al. 2019, appendix A.2 (their code's rule, token by token; here in two draws).
    """
    excess = len(a) + len(b) - limit
    if excess <= 0:
        return a, b
    uneven = min(excess, abs(len(a) - len(b)))
    off_a = (excess - uneven) // 2 + uneven * (len(a) > len(b))
    off_b = excess - off_a
    from_a, from_b = int(rng.binomial(off_a, 0.5)), int(rng.binomial(off_b, 0.5))
    return a[from_a : len(a) - off_a + from_a], b[from_b : len(b) - off_b + from_b]
