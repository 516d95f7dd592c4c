"""Entity F1 where only B- starts an entity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from lit_llm.metrics.entity_scores import check_names, entity_counts, entity_scores


class EntityF1Strict(Metric):
    """Precision, recall and F1 of whole entities, by strict IOB2.

    As ``EntityF1``, but an ``I-`` that continues nothing belongs to no entity, in gold and in the
    prediction alike: a model is not forgiven a missing ``B-``. On clean IOB2 both are equal.

    Args:
        types: the entity types; every type of an entity in gold and prediction must be among them.

    Raises:
        ValueError: ``types`` is empty or names one twice.

    Source:
        Equal to seqeval 1.2.2 with ``mode="strict", scheme=IOB2``.
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    counts: Tensor

    def __init__(self, types: Sequence[str]) -> None:
        super().__init__()
        self.types = check_names(types)
        zeros = torch.zeros(3, len(self.types), dtype=torch.int64)
        self.add_state("counts", zeros, dist_reduce_fx="sum")

    def update(self, gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> None:
        """Count the entities of whole sentences; arguments and errors as ``EntityF1.update``."""
        counts = entity_counts(gold, predicted, self.types, strict=True)
        self.counts += counts.to(self.counts.device)

    def compute(self) -> dict[str, Any]:
        """As ``EntityF1.compute``, every name but ``per_type`` ending in ``_strict``."""
        return entity_scores(self.counts, self.types, suffix="_strict")
