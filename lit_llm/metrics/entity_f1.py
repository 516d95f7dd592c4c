"""Entity F1 by the rules of conlleval, the figure papers print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from lit_llm.metrics.entity_scores import check_names, entity_counts, entity_scores


class EntityF1(Metric):
    """Precision, recall and F1 of whole entities.

    An entity counts as found when its type, first word and last word agree. Gold and prediction
    are read by the same rules, those of conlleval: an ``I-`` that continues nothing starts an
    entity (see ``entities``). The prediction may be any sequence of the tags.

    The state is a sum of counts, so any split over ranks and updates gives the same numbers.

    Args:
        types: the entity types, such as ``["LOC", "MISC", "ORG", "PER"]``; every type in gold and
            prediction must be among them.

    Raises:
        ValueError: ``types`` is empty or names one twice.

    Source:
        Tjong Kim Sang and De Meulder 2003, section 2; equal to seqeval 1.2.2, default mode.
        Differs: conlleval has no macro average; ours is seqeval's, over types that stand in gold
        or prediction.
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
        """Count the entities of whole sentences.

        Args:
            gold: per sentence, one tag per word, in IOB2: ``O``, ``B-<type>``, ``I-<type>``.
            predicted: the same shape.

        Raises:
            ValueError: sentences or tags do not stand side by side, a tag is malformed, or a type
                is unknown (the message has the sentence's number in this call).
        """
        self.counts += entity_counts(gold, predicted, self.types).to(self.counts.device)

    def compute(self) -> dict[str, Any]:
        """The scores, as plain Python numbers.

        Returns:
            ``entity_precision``, ``entity_recall``, ``entity_f1`` (micro: over all entities);
            ``entity_macro_precision``, ``entity_macro_recall``, ``entity_macro_f1`` (mean over
            the types that occur in gold or prediction); all in [0, 1]; ``per_type``: type ->
            ``precision``, ``recall``, ``f1``, ``support`` (gold entities). What would be 0 / 0
            is 0.0: with no entity in gold and none predicted, every score is 0.0.
        """
        return entity_scores(self.counts, self.types)
