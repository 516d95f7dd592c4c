"""Student's t distribution with whole degrees of freedom, in closed form."""

from __future__ import annotations

import math


def cdf(t: float, degrees: int) -> float:
    """The probability of a value of at most ``t``.

    Args:
        t: any number.
        degrees: of freedom, at least 1.

    Raises:
        ValueError: fewer than one degree of freedom.

    Source:
        Abramowitz and Stegun 1964, 26.7.3 and 26.7.4.
    """
    if degrees < 1:
        raise ValueError(f"Student's t needs at least one degree of freedom, not {degrees}")
    angle = math.atan(t / math.sqrt(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    term = cosine if degrees % 2 else 1.0
    total = 0.0
    for k in range(degrees % 2 + 1, degrees, 2):  # 2, 4, ... or 1, 3, ...
        total += term
        term *= cosine**2 * k / (k + 1)
    inside = sine * total
    if degrees % 2:
        inside = 2 / math.pi * (angle + inside)
    return 0.5 + 0.5 * inside


def quantile(probability: float, degrees: int) -> float:
    """The value that is not exceeded with a probability, by bisection.

    Args:
        probability: in (0, 1).
        degrees: of freedom, at least 1.

    Raises:
        ValueError: a probability outside (0, 1), or fewer than one degree of freedom.
    """
    if not 0 < probability < 1:
        raise ValueError(f"a probability must lie in (0, 1), not {probability}")
    if probability < 0.5:
        return -quantile(1 - probability, degrees)
    low, high = 0.0, 1.0
    while cdf(high, degrees) < probability:
        low, high = high, 2 * high
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if cdf(middle, degrees) < probability else (low, middle)
    return (low + high) / 2
