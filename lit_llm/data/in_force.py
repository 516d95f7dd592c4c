"""Settings that are in force where none was given."""

from __future__ import annotations

import os


def run_seed() -> int:
    """The run's ``seed_everything``; 0 where there is none."""
    return int(os.environ.get("PL_GLOBAL_SEED", 0))


def checked_max_length(max_length: int | None, positions: int | None) -> int:
    """The limit in force: what was asked for, or what the backbone takes, at most 512.

    Raises:
        ValueError: more than the backbone has positions for.
    """
    if max_length is None:
        return min(positions or 512, 512)
    if positions is not None and max_length > positions:
        raise ValueError(
            f"data.max_length = {max_length} is above the backbone's {positions} positions: "
            f"pass at most {positions}"
        )
    return max_length
