"""An accuracy and how sure it is."""

from __future__ import annotations

import math

_Z = 1.959964  # the normal distribution's 97.5 % quantile


def accuracy_with_interval(name: str, correct: float, total: float) -> dict[str, float]:
    """Accuracy with Wilson's 95 % interval, as named numbers.

    Args:
        name: of the accuracy.
        correct: right answers.
        total: answers; 0 gives no number.

    Returns:
        ``name``, ``name_low`` and ``name_high``, in [0, 1].

    Source:
        Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    if not total:
        return {}
    p, z2 = correct / total, _Z**2
    middle = (p + z2 / (2 * total)) / (1 + z2 / total)
    half = _Z / (1 + z2 / total) * math.sqrt(p * (1 - p) / total + z2 / (4 * total**2))
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return {name: p, f"{name}_low": low, f"{name}_high": high}
