"""Masked language modelling, with next-sentence or sentence-order prediction beside it."""

from __future__ import annotations

from typing import Any, Literal

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from transformers import AutoModelForMaskedLM, AutoModelForPreTraining

from lit_llm.backbone.backbone import Backbone
from lit_llm.backbone.lm_head import LMHead
from lit_llm.backbone.packed_inputs import tells_segments_apart
from lit_llm.batch import PackedBatch
from lit_llm.losses.cross_entropy import cross_entropy
from lit_llm.losses.linear_cross_entropy import linear_cross_entropy
from lit_llm.losses.linear_log_likelihood import linear_log_likelihood
from lit_llm.losses.linear_soft_targets import linear_soft_targets
from lit_llm.losses.soft_targets import Divergence
from lit_llm.metrics.accuracy_interval import accuracy_with_interval
from lit_llm.objectives.evaluation import SummedEvaluation
from lit_llm.objectives.objective import Objective
from lit_llm.objectives.scorer import Scorer
from lit_llm.optim import OptimizerConfig
from lit_llm.schedules import ScheduleConfig


class MaskedLM(Objective):
    """Predicts masked tokens, and whether two segments follow each other.

    The loss is ``L_masked + sentence_weight * L_sentence``, each divided by its own number of
    targets over the whole optimizer step. Logits are computed at masked positions alone.

    Args:
        backbone: the shared transformer; an encoder.
        optimizer: which optimizer, how fast.
        schedule: how the learning rate moves.
        sentence_objective: ``nsp``: is the second segment a random one? (BERT); ``sop``: have the
            two segments changed places? (ALBERT); ``none``: masked tokens alone (RoBERTa). The
            data module makes its pairs accordingly.
        sentence_weight: lambda.

    Raises:
        ValueError: the backbone is a decoder; a negative ``sentence_weight``.

    Source:
        Devlin et al. 2019, section 3.1, arXiv:1810.04805; Lan et al. 2020, section 3.1,
        arXiv:1909.11942; Liu et al. 2019, arXiv:1907.11692.
    """

    headline = ("loss", "masked_accuracy", "sentence_accuracy")

    def __init__(
        self,
        backbone: Backbone,
        optimizer: OptimizerConfig = OptimizerConfig(),
        schedule: ScheduleConfig = ScheduleConfig(),
        sentence_objective: Literal["none", "nsp", "sop"] = "none",
        sentence_weight: float = 1.0,
    ) -> None:
        super().__init__(backbone, optimizer, schedule)
        if backbone.causal:
            raise ValueError(
                f"backbone.source: {backbone.source!r} is a decoder, whose tokens do not see what "
                "comes after them; a masked language model needs an encoder such as mini"
            )
        if not sentence_weight >= 0:
            raise ValueError(f"sentence_weight must be at least 0, not {sentence_weight}")
        self.sentence_objective = sentence_objective
        self.term_weights = {"masked": 1.0}
        if sentence_objective != "none":
            self.term_weights["sentence"] = sentence_weight
            if not tells_segments_apart(backbone.config):
                rank_zero_info(
                    f"{sentence_objective}: {backbone.config.model_type} has no token type for a "
                    "second segment, so only the separator tells it from the first"
                )

    def becomes_teacher_of(self, student: Objective) -> None:
        """A student of other pairs of segments, or of none, asks for masked tokens alone."""
        if getattr(student, "sentence_objective", None) != self.sentence_objective:
            self.sentence_objective, self.term_weights = "none", {"masked": 1.0}

    def build_head(self) -> nn.Module | None:
        """Transformers' head for masked tokens, and one for sentences where that is asked for."""
        if self.sentence_objective == "none":
            return self.backbone.build(AutoModelForMaskedLM)
        return self.backbone.build(AutoModelForPreTraining, num_labels=2)  # ALBERT's sentence head

    def logits(self, batch: PackedBatch) -> Tensor:
        """Scores of the vocabulary at the masked positions, (M, V); for a few targets."""
        logits: Tensor = self._head(self._vectors(batch)[0])
        return logits

    def terms(self, batch: PackedBatch) -> dict[str, tuple[Tensor, Tensor]]:
        """Cross-entropies summed over masked tokens, and over pairs of segments."""
        masked_MD, first_BD = self._vectors(batch)
        return self._terms(batch, self._head.features(masked_MD), first_BD)

    def taught(
        self, batch: PackedBatch, teacher: Scorer, temperature: float, divergence: Divergence
    ) -> tuple[tuple[Tensor, Tensor], dict[str, tuple[Tensor, Tensor]]]:
        """The teacher is asked for masked tokens, not for pairs of segments."""
        head, (masked_MD, first_BD) = self._head, self._vectors(batch)
        features, scores = head.features(masked_MD), teacher.scores(batch)
        soft = linear_soft_targets(
            features, head.output_weight, scores, head.output_bias, temperature, divergence
        )
        return soft, self._terms(batch, features, first_BD)

    def output(self, batch: PackedBatch) -> tuple[Tensor, Tensor, Tensor | None]:
        """What the scores of masked tokens are made of: (M, D'), (V, D') and perhaps (V,)."""
        head = self._head
        return head.features(self._vectors(batch)[0]), head.output_weight, head.output_bias

    def _terms(
        self, batch: PackedBatch, features_MD: Tensor, first_BD: Tensor
    ) -> dict[str, tuple[Tensor, Tensor]]:
        head = self._head
        masked = linear_cross_entropy(
            features_MD, head.output_weight, batch.target("labels"), head.output_bias
        )
        if self.sentence_objective == "none":
            return {"masked": masked}
        labels = batch.target("sentence_labels")
        return {
            "masked": masked,
            "sentence": cross_entropy(self._sentence_logits(first_BD), labels),
        }

    def evaluation(self) -> SummedEvaluation:
        """Sums of losses, counts and right answers, of pairs also by source."""
        return SummedEvaluation(self._sums, self._scores)

    @property
    def _head(self) -> LMHead:
        assert isinstance(self.head, LMHead)
        return self.head

    def _vectors(self, batch: PackedBatch) -> tuple[Tensor, Tensor]:
        """Hidden vectors of the masked tokens, (M, D), and of the examples' first ones, (B, D).

        Without a sentence objective the latter are (0, D).
        """
        masked_M = batch.target("positions")
        if self.sentence_objective == "none":
            masked_MD = self.backbone.at(batch, masked_M)
            return masked_MD, masked_MD[:0]
        vectors = self.backbone.at(batch, torch.cat([masked_M, batch.segment_starts]))
        return vectors[: len(masked_M)], vectors[len(masked_M) :]

    def _sentence_logits(self, first_BD: Tensor) -> Tensor:
        """Scores of the examples from their first tokens, (B, 2)."""
        assert self._head.sentence is not None
        return self._head.sentence(first_BD)  # type: ignore[no-any-return]

    def _sums(self, batch: PackedBatch) -> dict[str, Tensor]:
        head, (masked_MD, first_BD) = self._head, self._vectors(batch)
        features = head.features(masked_MD)
        log_likelihood_M, correct_M = linear_log_likelihood(
            features, head.output_weight, batch.target("labels"), head.output_bias
        )
        sums = {
            "masked/nats": -log_likelihood_M.sum(),
            "masked/count": torch.tensor(len(correct_M)),
            "masked/correct": correct_M.sum(),
        }
        if self.sentence_objective == "none":
            return sums
        labels = batch.target("sentence_labels")
        logits = self._sentence_logits(first_BD)
        right_B = logits.argmax(1) == labels
        source_B = batch.target("source_ids")
        for i, name in enumerate(self._source_names()):
            sums[f"sentence/count_{name}"] = (source_B == i).sum()
            sums[f"sentence/correct_{name}"] = right_B[source_B == i].sum()
        sums["sentence/nats"] = cross_entropy(logits, labels)[0]
        return sums

    def _source_names(self) -> list[str]:
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        return list(getattr(data, "source_names", ["all"]))

    def _scores(self, sums: dict[str, float]) -> dict[str, float]:
        """Loss, accuracies, and the intervals of the sentence accuracies."""
        masked = sums["masked/count"]
        scores = {"masked_loss": sums["masked/nats"] / max(masked, 1)}
        scores["masked_accuracy"] = sums["masked/correct"] / max(masked, 1)
        loss = scores["masked_loss"]
        if self.sentence_objective != "none":
            pairs = {
                k.removeprefix("sentence/count_"): n for k, n in sums.items() if "/count_" in k
            }
            hits = {name: sums[f"sentence/correct_{name}"] for name in pairs}
            total = sum(pairs.values())
            scores["sentence_loss"] = sums["sentence/nats"] / max(total, 1)
            loss += self.term_weights["sentence"] * scores["sentence_loss"]
            scores |= accuracy_with_interval("sentence_accuracy", sum(hits.values()), total)
            for name in pairs if len(pairs) > 1 else ():
                scores |= accuracy_with_interval(
                    f"sentence_accuracy_{name}", hits[name], pairs[name]
                )
        return {"loss": loss, **scores}
