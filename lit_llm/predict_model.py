"""Requests -> items -> packed batches -> one answer per request."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple, cast

import numpy as np
import torch

from lit_llm.batch import Item, PackedBatch
from lit_llm.data.packing import EvaluationPlan
from lit_llm.data.text_items import Truncation, TruncationCount, text_items
from lit_llm.data.token_items import parse_context, token_items
from lit_llm.data.words import Word, split_sentences, split_words
from lit_llm.objectives.evaluation import PredictionCollector
from lit_llm.objectives.objective import Objective
from lit_llm.predict_input import Request

TOKENS_PER_BATCH = 8192
_ENTITY_KEYS = ("type", "start", "end", "text", "probability", "word_start", "word_end")


class Reading(NamedTuple):
    """How a run read its text.

    Attributes:
        context: of sentences, see ``token_items``.
        truncation: of long texts, see ``text_items``.
        max_length: tokens of the longest item.
    """

    context: str
    truncation: Truncation
    max_length: int


class Predictor:
    """Labels requests as the run's ``test`` would, in packed batches, in float32.

    Args:
        objective: built, with ``unit`` (``word`` or ``text``) and ``answer``.
        reading: how its run read text.
        device: where it runs.

    Attributes:
        count: what was cut off long texts so far.

    Raises:
        ValueError: the objective has no ``unit`` or ``answer``; bad ``reading.context``.
    """

    def __init__(self, objective: Objective, reading: Reading, device: str = "cpu") -> None:
        self.unit: str = getattr(objective, "unit", "")
        if self.unit not in ("word", "text") or not hasattr(objective, "answer"):
            raise ValueError(
                f"{type(objective).__name__} does not predict raw text: give it the class "
                "attribute unit, 'word' or 'text', and the method answer(probabilities)"
            )
        self.objective: Any = objective.float().eval().to(device)
        self.reading, self.device = reading, device
        self.count = TruncationCount()
        self.uses_documents = self.unit == "word" and parse_context(reading.context)[0] != "none"

    @property
    def label_names(self) -> list[str]:
        """The model's classes, in order."""
        names: list[str] = self.objective.label_names
        return names

    def __call__(
        self, requests: Sequence[Request], with_logits: bool = False
    ) -> list[dict[str, Any]]:
        """One record for each request, in order; an empty text gets an empty answer.

        Args:
            requests: predicted together.
            with_logits: add the raw scores, of the text or of each word.
        """
        if self.unit == "text":
            return self._label_texts(requests, with_logits)
        return self._label_words(requests, with_logits)

    def _label_texts(self, requests: Sequence[Request], with_logits: bool) -> list[dict[str, Any]]:
        full = [{"text": request.text} for request in requests if request.text.strip()]
        items = text_items(
            full,
            self.objective.backbone.tokenizer,
            self.reading.max_length,
            self.reading.truncation,
            count=self.count,
        )
        rows = iter(zip(*self._scores(list(items), len(full)), strict=True))
        records: list[dict[str, Any]] = []
        for request in requests:
            probabilities, logits = next(rows) if request.text.strip() else (None, np.zeros(0))
            answer = self.objective.answer(probabilities)
            record = {**request.passed_on, "text": request.text, **answer}
            if with_logits:
                record["logits"] = dict(zip(self.label_names, map(float, logits), strict=False))
            records.append(_rounded(record))
        return records

    def _label_words(self, requests: Sequence[Request], with_logits: bool) -> list[dict[str, Any]]:
        sentences = [_sentences(request) for request in requests]
        examples = [
            {"words": [word for word, _, _ in sentence], "document": request.document}
            for request, found in zip(requests, sentences, strict=True)
            for sentence in found
        ]
        backbone = self.objective.backbone
        items = token_items(
            examples,
            backbone.tokenizer,
            self.reading.max_length,
            context=self.reading.context,
            target_subword="last" if backbone.causal else "first",
        )
        borders = list(accumulate((sum(map(len, found)) for found in sentences), initial=0))
        probabilities, logits = self._scores(list(items), borders[-1])
        records: list[dict[str, Any]] = []
        for i, rows in enumerate(slice(*pair) for pair in pairwise(borders)):
            scores = logits[rows] if with_logits else None
            records.append(self._tagged(requests[i], sentences[i], probabilities[rows], scores))
        return records

    def _tagged(
        self,
        request: Request,
        sentences: Sequence[Sequence[Word]],
        probabilities_WC: np.ndarray,
        logits_WC: np.ndarray | None,
    ) -> dict[str, Any]:
        """A text's record: word numbers become character offsets."""
        text, first = request.text, 0
        words: list[Word] = []
        tags: list[str] = []
        entities: list[dict[str, Any]] = []
        for sentence in sentences:
            answer = self.objective.answer(probabilities_WC[first : first + len(sentence)])
            for entity in answer["entities"]:
                start, end = sentence[entity["start"]][1], sentence[entity["end"] - 1][2]
                found = {**entity, "start": start, "end": end, "text": text[start:end]}
                if request.words is not None:
                    found |= {"word_start": entity["start"], "word_end": entity["end"]}
                entities.append({key: found[key] for key in _ENTITY_KEYS if key in found})
            words += sentence
            tags += answer["tags"]
            first += len(sentence)
        record = {**request.passed_on, "text": text, "entities": entities}
        if request.words is not None:
            record["tags"] = tags
        if logits_WC is not None:
            record["words"] = [
                {"text": word, "start": start, "end": end, "tag": tag}
                | {"logits": dict(zip(self.label_names, map(float, row), strict=True))}
                for (word, start, end), tag, row in zip(words, tags, logits_WC, strict=True)
            ]
        return cast("dict[str, Any]", _rounded(record))

    @torch.inference_mode()
    def _scores(self, items: Sequence[Item], num_units: int) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities and logits of each unit, both (U, C): means over its windows."""
        num_labels = len(self.label_names)
        if not items:
            return np.zeros((0, num_labels)), np.zeros((0, num_labels))
        objective, collector = self.objective, PredictionCollector()
        lengths = [len(item["input_ids"]) for item in items]
        packs, padding = objective.backbone.packs, objective.backbone.tokenizer.pad_token_id
        plan = EvaluationPlan(lengths, tokens_per_batch=TOKENS_PER_BATCH, packs=packs)
        for index in range(len(plan)):
            chosen, rows, row_length = plan.batch(index, 0)
            some = [items[i] for i in chosen]
            batch = PackedBatch.pack(some, rows, row_length, padding, chosen).to(self.device)
            logits = objective.logits(batch)
            no_loss = torch.zeros(())
            both = torch.cat([objective.probabilities(logits), logits], dim=1)
            collector.add(batch, both, no_loss, no_loss)
        scores = collector.gather(num_units).probabilities
        return scores[:, :num_labels], scores[:, num_labels:]


def _sentences(request: Request) -> list[list[Word]]:
    """Words with their characters: given ones, or found in the text."""
    if request.words is None:
        return split_sentences(split_words(request.text))
    starts = accumulate((len(word) + 1 for word in request.words), initial=0)
    words = [(word, at, at + len(word)) for word, at in zip(request.words, starts, strict=False)]
    return [words] if words else []


def _rounded(value: Any) -> Any:
    """Seven significant digits: what float32 holds."""
    if isinstance(value, float):
        return float(f"{value:.7g}")
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, list) else value
