"""Token classification (named entity recognition): one class per word."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModelForTokenClassification

from lit_llm.backbone.backbone import Backbone
from lit_llm.batch import PackedBatch
from lit_llm.losses.cross_entropy import cross_entropy
from lit_llm.metrics.entities import entities
from lit_llm.metrics.entity_f1 import EntityF1
from lit_llm.metrics.entity_f1_strict import EntityF1Strict
from lit_llm.metrics.report_text import report_text
from lit_llm.metrics.tag_report import TagReport
from lit_llm.objectives.evaluation import Predictions, mean_surprise, on_every_rank
from lit_llm.objectives.objective import Objective
from lit_llm.optim import OptimizerConfig
from lit_llm.schedules import ScheduleConfig


class TokenClassification(Objective):
    """Reads one sub-word of each word and classifies it into IOB2 tags.

    The sub-word is the word's first, or its last where the backbone is causal, because the first
    has not seen the rest (the data module chooses, from the backbone). The head is transformers'
    own for the architecture.

    Args:
        backbone: the shared transformer.
        optimizer: which optimizer, how fast.
        schedule: how the learning rate moves.
        label_smoothing: probability mass spread over all classes, in [0, 1).

    Source:
        Devlin et al. 2019, section 5.3, arXiv:1810.04805.
        Differs: only the scored sub-words reach the head; the loss is divided by the words of the
        whole optimizer step.
    """

    monitor = "val/entity_f1"
    monitor_mode = "max"
    headline = ("loss", "entity_precision", "entity_recall", "entity_f1", "entity_f1_strict")
    unit: ClassVar[str] = "word"
    """What ``answer`` gets probabilities of."""

    def __init__(
        self,
        backbone: Backbone,
        optimizer: OptimizerConfig = OptimizerConfig(),
        schedule: ScheduleConfig = ScheduleConfig(),
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(backbone, optimizer, schedule)
        self.label_smoothing = label_smoothing

    def build_head(self) -> nn.Module | None:
        """Transformers' token-classification head."""
        return self.backbone.build(
            AutoModelForTokenClassification,
            num_labels=len(self.label_names),
            id2label=dict(enumerate(self.label_names)),
            label2id={name: i for i, name in enumerate(self.label_names)},
        )

    def logits(self, batch: PackedBatch) -> Tensor:
        """Scores of the batch's words, (M, C)."""
        assert self.head is not None
        if batch.num_examples == 0:  # filler only: keep the head on the graph
            return self.head(self.backbone(batch)[0, :1])  # type: ignore[no-any-return]
        return self.head(self.backbone.at(batch, batch.targets["positions"]))  # type: ignore[no-any-return]

    def loss(self, logits: Tensor, batch: PackedBatch) -> tuple[Tensor, Tensor]:
        """Cross-entropy summed over words, and their number."""
        return cross_entropy(logits, batch.targets["labels"], label_smoothing=self.label_smoothing)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Softmax over tags, (M, C)."""
        return torch.softmax(logits.float(), dim=-1)

    def answer(self, probabilities: np.ndarray) -> dict[str, Any]:
        """What is said of one sentence of raw text.

        Args:
            probabilities: (W, C), of its words; W may be 0.

        Returns:
            ``tags``, one per word, and ``entities`` by the conlleval rules: ``type``, ``start`` and
            ``end`` (words, end exclusive) and ``probability``, that of all its words' tags.
        """
        tags = [self.label_names[i] for i in probabilities.argmax(1)]
        best = probabilities.max(1, initial=0.0)
        found = [
            {**entity._asdict(), "probability": float(best[entity.start : entity.end].prod())}
            for entity in entities(tags)
        ]
        return {"tags": tags, "entities": found}

    def score(self, predictions: Predictions, examples: Any) -> dict[str, Any]:
        """Entity F1 by the conlleval rules and strictly, and the per-tag report.

        Examples that were not evaluated whole (a trainer with limited batches) are left out.
        """
        best = predictions.probabilities.argmax(1) if predictions.windows.any() else None
        types = sorted({name[2:] for name in self.label_names if name != "O"})
        f1, strict, report = map(
            on_every_rank, (EntityF1(types), EntityF1Strict(types), TagReport(types))
        )
        records = []
        start = 0
        for example in examples:
            words = slice(start, start + len(example["words"]))
            start = words.stop
            if best is None or not predictions.windows[words].all():
                continue
            gold, predicted = list(example["tags"]), [self.label_names[i] for i in best[words]]
            for metric in (f1, strict, report):
                metric.update([gold], [predicted])
            records.append(
                {
                    "id": example["id"],
                    "words": list(example["words"]),
                    "gold": gold,
                    "prediction": predicted,
                    "probabilities": predictions.probabilities[words].round(5).tolist(),
                    "windows": len(set(predictions.items[words].tolist())),
                    "loss": self._loss_of(predictions.probabilities[words], gold),
                }
            )
        return _result(f1.compute(), strict.compute(), report.compute(), records)

    def _loss_of(self, probabilities: np.ndarray, gold: list[str]) -> float:
        """Nats per word of one sentence."""
        labels = [self.label_names.index(tag) for tag in gold]
        return mean_surprise(probabilities[np.arange(len(gold)), labels])


def _result(f1: Any, strict: Any, tags: Any, records: list[Any]) -> dict[str, Any]:
    """Split the metrics' answers into numbers to log and tables to print."""
    numbers = {
        name: value
        for scores in (f1, strict)
        for name, value in scores.items()
        if not isinstance(value, dict)
    }
    numbers["word_accuracy"] = tags["averages"]["micro_with_o"]["f1"]
    return {
        "metrics": numbers,
        "tables": {"tags": tags, "entities": f1, "entities_strict": strict},
        "text": report_text(tags, f1, strict),
        "records": records,
    }
