"""What the user should know of the data, counted under the words it is told in."""

from __future__ import annotations


def count(notices: dict[str, int], what: str, number: int = 1) -> int:
    """Add to one of the counts; the count then."""
    notices[what] = notices.get(what, 0) + number
    return notices[what]
