"""Numbers of several seeds in one."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Summary:
    """Mean and spread of one figure over seeds.

    Attributes:
        seeds: in the order of ``values``.
        values: one for each seed.
        censored: seeds of runs that ended before there was a value, which is above what they ran.
    """

    seeds: tuple[int, ...]
    values: tuple[float, ...]
    censored: tuple[int, ...] = ()

    @property
    def n(self) -> int:
        """How many seeds."""
        return len(self.values)

    @property
    def median(self) -> float:
        """Of all seeds; infinite where half of them are censored or more."""
        unknown = [math.inf] * len(self.censored)
        return statistics.median([*self.values, *unknown]) if self.values else math.inf

    @property
    def mean(self) -> float:
        """Arithmetic mean; not a number without values."""
        return math.fsum(self.values) / self.n if self.values else math.nan

    @property
    def std(self) -> float | None:
        """Sample standard deviation (n - 1 in the denominator); None below two values."""
        return standard_deviation(self.values) if self.n > 1 else None


def standard_deviation(values: Sequence[float]) -> float:
    """Of a sample: the square root of the squared deviations' sum over n - 1.

    Raises:
        ValueError: fewer than two values.
    """
    if len(values) < 2:
        raise ValueError(f"a standard deviation needs two values, not {len(values)}")
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
