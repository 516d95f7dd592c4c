"""Sequence classification (sentiment): one class, several classes or a number per text."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification

from lit_llm.backbone.backbone import Backbone
from lit_llm.backbone.pooling import Pooling, pooled
from lit_llm.batch import PackedBatch
from lit_llm.losses.binary_cross_entropy import binary_cross_entropy
from lit_llm.losses.cross_entropy import cross_entropy
from lit_llm.losses.soft_binary_targets import soft_binary_targets
from lit_llm.losses.soft_targets import Divergence, soft_targets
from lit_llm.losses.squared_error import squared_error
from lit_llm.metrics.classification_metrics import classification_metrics
from lit_llm.objectives.evaluation import Predictions, mean_surprise, on_every_rank
from lit_llm.objectives.objective import Objective
from lit_llm.optim import OptimizerConfig
from lit_llm.schedules import ScheduleConfig

ProblemType = Literal["single_label_classification", "multi_label_classification", "regression"]


class SequenceClassification(Objective):
    """Pools each text to one vector and classifies it with transformers' own head.

    A text read in k windows counts once: each window weighs 1/k in the loss, and the windows'
    probabilities are averaged to one prediction.

    Args:
        backbone: the shared transformer.
        optimizer: which optimizer, how fast.
        schedule: how the learning rate moves.
        pooling: ``first`` token, ``last`` token or ``mean`` over the text's tokens; default first,
            last for a causal backbone.
        problem_type: one label (cross-entropy), any number of labels (a sigmoid each) or a number
            (squared error).
        label_smoothing: probability mass spread over all classes, in [0, 1); one label only.

    Raises:
        ValueError: ``pooling: first`` with a causal backbone, whose first token has seen nothing;
            ``label_smoothing`` for a problem that has no distribution over labels to smooth.

    Source:
        Devlin et al. 2019, section 4.1, arXiv:1810.04805; Sun et al. 2019, arXiv:1905.05583.
    """

    monitor = "val/accuracy"
    monitor_mode = "max"
    headline = ("loss", "accuracy", "accuracy_unseen", "f1", "mcc", "mse", "pearson")
    unit: ClassVar[str] = "text"
    """What ``answer`` gets probabilities of."""

    def __init__(
        self,
        backbone: Backbone,
        optimizer: OptimizerConfig = OptimizerConfig(),
        schedule: ScheduleConfig = ScheduleConfig(),
        pooling: Pooling | None = None,
        problem_type: ProblemType = "single_label_classification",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(backbone, optimizer, schedule)
        if pooling == "first" and backbone.causal:
            raise ValueError(
                "pooling: first reads a token that has seen nothing in a causal backbone; "
                "use last or mean"
            )
        if label_smoothing and problem_type != "single_label_classification":
            raise ValueError(
                f"label_smoothing = {label_smoothing} is for single_label_classification; "
                f"set it to 0 for {problem_type}"
            )
        self.pooling: Pooling = pooling or ("last" if backbone.causal else "first")
        self.problem_type = problem_type
        self.label_smoothing = label_smoothing
        if problem_type == "regression":
            self.monitor, self.monitor_mode = "val/loss", "min"  # type: ignore[misc]
        elif problem_type == "multi_label_classification":
            self.monitor = "val/f1"  # type: ignore[misc]

    def build_head(self) -> nn.Module | None:
        """Transformers' sequence-classification head."""
        return self.backbone.build(
            AutoModelForSequenceClassification,
            num_labels=len(self.label_names),
            id2label=dict(enumerate(self.label_names)),
            label2id={name: i for i, name in enumerate(self.label_names)},
            problem_type=self.problem_type,
        )

    def logits(self, batch: PackedBatch) -> Tensor:
        """Scores of the batch's texts, (B, C)."""
        assert self.head is not None
        if batch.num_examples == 0:  # filler only: keep the head on the graph
            return self.head(self.backbone(batch)[0, :1])  # type: ignore[no-any-return]
        return self.head(pooled(self.backbone, batch, self.pooling))  # type: ignore[no-any-return]

    def loss(self, logits: Tensor, batch: PackedBatch) -> tuple[Tensor, Tensor]:
        """The problem's loss summed over labelled texts, and their (weighted) number."""
        labels, weights = batch.targets["labels"], batch.targets.get("weights")
        weights = batch.targets.get("label_weights", weights)
        if self.problem_type == "regression":
            return squared_error(logits.squeeze(-1), labels.float(), weights)
        if self.problem_type == "multi_label_classification":
            return binary_cross_entropy(logits, labels.float(), weights)
        return cross_entropy(logits, labels, weights, label_smoothing=self.label_smoothing)

    def match(
        self,
        logits: Tensor,
        teacher: Tensor,
        batch: PackedBatch,
        temperature: float,
        divergence: Divergence,
    ) -> tuple[Tensor, Tensor]:
        """How far scores are from a teacher's; of a number, the squared error.

        Raises:
            ValueError: there is no such divergence of several labels, or of a number.
        """
        if self.problem_type == "single_label_classification":
            return super().match(logits, teacher, batch, temperature, divergence)
        weights = batch.targets.get("weights")
        if self.problem_type == "regression" or divergence == "squared_error":
            return soft_targets(logits, teacher, 1.0, "squared_error", weights)
        if divergence != "kl":
            raise ValueError(f"divergence: {self.problem_type} has kl, not {divergence}")
        return soft_binary_targets(logits, teacher, temperature, weights)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Softmax over classes, a sigmoid each, or the number itself, (B, C)."""
        if self.problem_type == "regression":
            return logits.float()
        if self.problem_type == "multi_label_classification":
            return torch.sigmoid(logits.float())
        return torch.softmax(logits.float(), dim=-1)

    def answer(self, probabilities: np.ndarray | None) -> dict[str, Any]:
        """What is said of one raw text.

        Args:
            probabilities: (C,); None for an empty text, whose answer is empty too.

        Returns:
            ``label`` (or ``labels``) and ``probabilities`` by name; ``value`` for regression.
        """
        several = self.problem_type == "multi_label_classification"
        if self.problem_type == "regression":
            return {"value": None if probabilities is None else self._decode(probabilities)}
        key = "labels" if several else "label"
        if probabilities is None:
            return {key: [] if several else None, "probabilities": {}}
        by_name = dict(zip(self.label_names, map(float, probabilities), strict=True))
        return {key: self._decode(probabilities), "probabilities": by_name}

    def score(self, predictions: Predictions, examples: Any) -> dict[str, Any]:
        """The problem's metrics; single-label ones also on named subsets of the split.

        An example's ``subsets`` (such as ``unseen`` texts) give further rows named
        ``accuracy_<subset>``.
        """
        seen = [i for i in range(len(examples)) if predictions.windows[i]]
        metrics = on_every_rank(classification_metrics(self.problem_type, len(self.label_names)))
        records: list[dict[str, Any]] = []
        subsets: dict[str, list[bool]] = {}
        for i in seen:
            example = examples[i]
            predicted, gold = self._decode(predictions.probabilities[i]), example["label"]
            records.append(
                {
                    "id": example["id"],
                    "gold": gold,
                    "prediction": predicted,
                    "probabilities": predictions.probabilities[i].round(6).tolist(),
                    "windows": int(predictions.windows[i]),
                    "loss": self._loss_of(predictions.probabilities[i], gold),
                }
            )
            for subset in example.get("subsets", ()):
                subsets.setdefault(subset, []).append(predicted == gold)
        numbers: dict[str, float] = {}
        if seen:
            gold_ids = torch.as_tensor(np.array([self._encode(examples[i]["label"]) for i in seen]))
            predicted_ids = torch.as_tensor(predictions.probabilities[seen]).float()
            if self.problem_type == "regression":
                predicted_ids = predicted_ids.squeeze(-1)
            metrics.update(predicted_ids, gold_ids)
            numbers = {name: float(value) for name, value in metrics.compute().items()}
        numbers |= {f"accuracy_{name}": float(np.mean(hits)) for name, hits in subsets.items()}
        return {"metrics": numbers, "tables": {}, "text": "", "records": records}

    def _loss_of(self, row: np.ndarray, gold: Any) -> float:
        """Nats of one text, per label where it has several; the squared error of a number."""
        if self.problem_type == "regression":
            return round(float((row[0] - gold) ** 2), 6)
        if self.problem_type == "multi_label_classification":
            return mean_surprise(np.where(self._encode(gold), row, 1 - row))
        return mean_surprise(row[[self._encode(gold)]])

    def _decode(self, row: np.ndarray) -> Any:
        if self.problem_type == "regression":
            return float(row[0])
        if self.problem_type == "multi_label_classification":
            return [name for name, p in zip(self.label_names, row, strict=True) if p > 0.5]
        return self.label_names[int(row.argmax())]

    def _encode(self, label: Any) -> Any:
        if self.problem_type == "regression":
            return float(label)
        if self.problem_type == "multi_label_classification":
            return [int(name in label) for name in self.label_names]
        return self.label_names.index(label)
