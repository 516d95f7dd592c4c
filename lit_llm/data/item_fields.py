"""What the examples say that items were made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lit_llm.data.cache import ArrowTable


def example_field(
    items: ArrowTable,
    examples: Sequence[Mapping[str, Any]],
    units_of: Callable[[Any], int],
    name: str,
    key: str,
) -> list[Any]:
    """The value that a field of each item's example has, (B,).

    Args:
        items: with ``unit_ids``.
        examples: of the same split.
        units_of: how many units an example has.
        name: of the field.
        key: the setting that asks for it, for messages.

    Raises:
        ValueError: the items belong to no example, or examples have no such field.
    """
    if "unit_ids" not in items.column_names:
        raise ValueError(f"{key}: {name!r} belongs to labelled examples, and a corpus has none")
    if name not in examples[0]:
        known = ", ".join(map(repr, examples[0]))
        raise ValueError(f"{key}: examples have no {name!r}; there are {known}")
    values, ends = [], []
    for example in examples:
        values.append(example[name])
        ends.append(units_of(example))
    firsts = [int(np.atleast_1d(item["unit_ids"])[0]) for item in items]
    places = np.searchsorted(np.cumsum(ends), firsts, "right")
    return [values[place] for place in places.tolist()]
