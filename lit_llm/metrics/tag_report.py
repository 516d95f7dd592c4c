"""The per-tag table: every word's tag scored by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from lit_llm.metrics.entity_scores import check_names, check_sentences
from lit_llm.metrics.precision_recall_f1 import (
    macro_average,
    micro_average,
    precision_recall_f1,
    weighted_average,
)


class TagReport(Metric):
    """Precision, recall and F1 of each IOB2 tag, one decision per word.

    None of these is an entity F1: a word is right or wrong by itself, and most words are ``O``.
    Words, not sub-words, and no padding: the supports are those of the file.

    Args:
        types: the entity types, such as ``["LOC", "MISC", "ORG", "PER"]``; the rows are ``B-`` and
            ``I-`` of each, in this order, then ``O``.

    Raises:
        ValueError: ``types`` is empty or names one twice.

    Source:
        Equal to scikit-learn's ``classification_report`` over the words' tags.
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    counts: Tensor

    def __init__(self, types: Sequence[str]) -> None:
        super().__init__()
        tags = [f"{prefix}-{name}" for name in check_names(types) for prefix in "BI"]
        self.tags = (*tags, "O")
        zeros = torch.zeros(3, len(self.tags), dtype=torch.int64)
        self.add_state("counts", zeros, dist_reduce_fx="sum")

    def update(self, gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> None:
        """Count the tags of whole sentences.

        Args:
            gold: per sentence, one tag per word.
            predicted: the same shape.

        Raises:
            ValueError: sentences or tags do not stand side by side, or a tag is unknown.
        """
        check_sentences(gold, predicted)
        column = {tag: c for c, tag in enumerate(self.tags)}
        try:
            expected = torch.tensor([column[tag] for tags in gold for tag in tags])
            found = torch.tensor([column[tag] for tags in predicted for tag in tags])
        except KeyError as error:
            raise ValueError(f"tag {error} is not among {list(self.tags)}") from None
        kept = (expected[expected == found], found, expected)
        counts = [torch.bincount(row.long(), minlength=len(self.tags)) for row in kept]
        self.counts += torch.stack(counts).to(self.counts.device)

    def compute(self) -> dict[str, Any]:
        """The table, as plain Python numbers.

        Returns:
            ``tags``: tag -> ``precision``, ``recall``, ``f1``, ``support`` (gold words).
            ``averages``: the same four of ``micro_with_o`` (all three are the accuracy),
            ``micro_without_o``, ``macro`` and ``weighted`` (by support), the last two over all
            tags that stand in gold or prediction, ``O`` among them. What would be 0 / 0 is 0.0.
        """
        rows = [(row[0], row[1], row[2]) for row in self.counts.T.tolist()]
        tags = {tag: precision_recall_f1(*row) for tag, row in zip(self.tags, rows, strict=True)}
        occurring = [
            scores for scores, row in zip(tags.values(), rows, strict=True) if row[1] + row[2]
        ]
        averages = {
            "micro_with_o": micro_average(rows),
            "micro_without_o": micro_average(rows[:-1]),
            "macro": macro_average(occurring),
            "weighted": weighted_average(occurring),
        }
        return {"tags": tags, "averages": averages}
