"""Causal language modelling: each token is predicted from what stands before it."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from lit_llm.backbone.backbone import Backbone
from lit_llm.backbone.lm_head import LMHead
from lit_llm.batch import PackedBatch
from lit_llm.losses.linear_cross_entropy import linear_cross_entropy
from lit_llm.losses.linear_soft_targets import linear_soft_targets
from lit_llm.losses.soft_targets import Divergence
from lit_llm.metrics.language_model_scores import language_model_scores
from lit_llm.objectives.evaluation import SummedEvaluation
from lit_llm.objectives.objective import Objective
from lit_llm.objectives.scorer import Scorer
from lit_llm.optim import OptimizerConfig
from lit_llm.schedules import ScheduleConfig


class CausalLM(Objective):
    """Predicts every token that has a predecessor in its example.

    The cross-entropy is computed in chunks, so that logits of all tokens never stand in memory at
    once. Validation gives the loss in nats a token, perplexity and bits per byte.

    Args:
        backbone: the shared transformer; a decoder.
        optimizer: which optimizer, how fast.
        schedule: how the learning rate moves.

    Raises:
        ValueError: the backbone is an encoder, whose tokens see what they should predict.

    Source:
        Radford et al. 2019 (GPT-2), section 2.
    """

    headline = ("loss", "perplexity", "bits_per_byte")
    unit: ClassVar[str] = "continuation"
    """What ``lit-llm predict`` gives for a text."""

    def __init__(
        self,
        backbone: Backbone,
        optimizer: OptimizerConfig = OptimizerConfig(),
        schedule: ScheduleConfig = ScheduleConfig(),
    ) -> None:
        super().__init__(backbone, optimizer, schedule)
        if not backbone.causal:
            raise ValueError(
                f"backbone.source: {backbone.source!r} is an encoder, whose tokens see what they "
                "should predict; a causal language model needs a decoder such as gpt2-mini"
            )

    def build_head(self) -> nn.Module | None:
        """Transformers' language-modelling head."""
        return self.backbone.build(AutoModelForCausalLM)

    def logits(self, batch: PackedBatch) -> Tensor:
        """Scores of the vocabulary at the batch's targets, (M, V); for a few targets."""
        logits: Tensor = self._head(self._hidden(batch))
        return logits

    def terms(self, batch: PackedBatch) -> dict[str, tuple[Tensor, Tensor]]:
        """Cross-entropy summed over tokens, and their number."""
        features, weight, bias = self.output(batch)
        return {"loss": linear_cross_entropy(features, weight, batch.target("labels"), bias)}

    def taught(
        self, batch: PackedBatch, teacher: Scorer, temperature: float, divergence: Divergence
    ) -> tuple[tuple[Tensor, Tensor], dict[str, tuple[Tensor, Tensor]]]:
        """Both sums over tokens, whose logits never stand in memory at once."""
        features, weight, bias = self.output(batch)
        soft = linear_soft_targets(
            features, weight, teacher.scores(batch), bias, temperature, divergence
        )
        hard = linear_cross_entropy(features, weight, batch.target("labels"), bias)
        return soft, {"loss": hard}

    def output(self, batch: PackedBatch) -> tuple[Tensor, Tensor, Tensor | None]:
        """What the scores of the batch's targets are made of: (M, D'), (V, D') and perhaps (V,)."""
        head = self._head
        return head.features(self._hidden(batch)), head.output_weight, head.output_bias

    def evaluation(self) -> SummedEvaluation:
        """Sums of losses, tokens and bytes."""
        return SummedEvaluation(self._sums, _scores)

    @property
    def _head(self) -> LMHead:
        assert isinstance(self.head, LMHead)
        return self.head

    def _hidden(self, batch: PackedBatch) -> Tensor:
        """Hidden vectors of the tokens before the targets, (M, D)."""
        hidden_RLD: Tensor = self.backbone(batch)
        return hidden_RLD.flatten(0, 1)[batch.target("positions")]

    def _sums(self, batch: PackedBatch) -> dict[str, Tensor]:
        total, count = self.terms(batch)["loss"]
        return {"nats": total, "tokens": count, "bytes": batch.target("num_bytes").sum()}


def _scores(sums: dict[str, float]) -> dict[str, float]:
    return language_model_scores(sums["nats"], sums["tokens"], sums["bytes"])
