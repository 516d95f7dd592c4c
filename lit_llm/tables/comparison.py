"""Whether one row of a table is better than another, seed by seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lit_llm.tables.statistics import Summary
from lit_llm.tables.student_t import cdf, quantile

LEVEL, POWER = 0.05, 0.8
"""Chance of seeing a difference that is none, and of seeing one that is."""


@dataclass(frozen=True)
class Comparison:
    """The differences of two rows over the seeds that both have.

    Attributes:
        differences: this row's figure minus the other's, of each seed that both have.
    """

    differences: Summary

    @classmethod
    def of(cls, ours: Summary, theirs: Summary) -> Comparison:
        """Pair two summaries by seed."""
        other = dict(zip(theirs.seeds, theirs.values, strict=True))
        pairs = [
            (seed, value - other[seed])
            for seed, value in zip(ours.seeds, ours.values, strict=True)
            if seed in other
        ]
        return cls(Summary(tuple(seed for seed, _ in pairs), tuple(value for _, value in pairs)))

    @property
    def half_width(self) -> float | None:
        """Of the 95 % interval around the mean difference; None below two seeds."""
        error = self._standard_error
        return None if error is None else quantile(1 - LEVEL / 2, self.differences.n - 1) * error

    @property
    def smallest_detectable(self) -> float | None:
        """The true difference that so many seeds show with 80 % power; None below two seeds.

        Source:
            Cohen 1988, chapter 2, for a paired t test; by t quantiles in place of the noncentral
            distribution, which makes it a little too large for very few seeds.
        """
        error = self._standard_error
        if error is None:
            return None
        degrees = self.differences.n - 1
        return (quantile(1 - LEVEL / 2, degrees) + quantile(POWER, degrees)) * error

    @property
    def p_value(self) -> float | None:
        """Of a two-sided paired t test; None below two seeds."""
        error = self._standard_error
        if error is None:
            return None
        if error == 0:
            return 1.0 if self.differences.mean == 0 else 0.0
        return 2 * (1 - cdf(abs(self.differences.mean) / error, self.differences.n - 1))

    @property
    def _standard_error(self) -> float | None:
        std = self.differences.std
        return None if std is None else std / math.sqrt(self.differences.n)


def holm(p_values: Sequence[float]) -> list[float]:
    """P values corrected for their number, in the order given.

    Source:
        Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected
