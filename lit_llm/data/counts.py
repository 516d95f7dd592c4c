"""How many targets a tokenised item has, by what is counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lit_llm.data.cache import ArrowTable


def holds_texts(items: ArrowTable) -> bool:
    """Whether an item is a text, or a window of one that weighs less, rather than words."""
    return "weights" in items.column_names


def units_of_items(items: ArrowTable) -> NDArray[np.int64]:
    """Words of each item, (B,)."""
    return items.list_lengths("unit_ids")


def labels_of_items(items: ArrowTable) -> NDArray[Any]:
    """Labelled units of each item, (B,); of a text the weight of its window, 0 without a label."""
    for name in ("label_weights", "weights"):
        if name in items.column_names:
            return items.column(name)
    return units_of_items(items)


def counted_otherwise(counted_by: Mapping[str, str], items: ArrowTable) -> dict[str, NDArray[Any]]:
    """Of the terms whose count is not that of their labels, what each item has, (B,).

    Args:
        counted_by: ``Objective.counted_by``.
        items: of the training split.
    """
    found: dict[str, NDArray[Any]] = {}
    for term, what in counted_by.items():
        if what == "tokens":
            found[term] = items.lengths
        elif holds_texts(items):  # elsewhere every target has a label
            found[term] = items.column("weights")
    return found
