"""What a student asks of a teacher."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from lit_llm.batch import PackedBatch
from lit_llm.losses.linear_soft_targets import Scores
from lit_llm.losses.linear_top_k_targets import TopK


class Scorer(Protocol):
    """A teacher, or what it once said, at the student's own targets and without gradients."""

    def logits(self, batch: PackedBatch, /) -> Tensor:
        """Scores of classes, (M, C)."""

    def scores(self, batch: PackedBatch, /) -> Scores | TopK:
        """Scores of a vocabulary, some rows at a time, or what is known of its likeliest words."""
