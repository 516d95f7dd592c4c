"""Sentences of words with IOB2 tags, whatever they are read from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from lit_llm.batch import Item
from lit_llm.data.batch_config import BatchConfig
from lit_llm.data.data_module import PackedDataModule
from lit_llm.data.sample import SampleConfig
from lit_llm.data.token_items import token_items


class TaggedDataModule(PackedDataModule):
    """Examples ``{"id", "words", "tags", "document"}``; a unit is a word.

    Args:
        context: ``none``: one sentence an item; ``document_windows``: consecutive sentences of one
            document up to the limit, all of them scored; ``surround(k)``: k sub-words of context on
            each side, not scored (FLERT, Schweter and Akbik 2020, arXiv:2011.06993).
        max_length: tokens of the longest item; longer sentences are split into overlapping windows
            and every word is scored once.
        batches: how examples are laid out in batches.
        cache_dir: where tokenised data is kept.
        sample: how many examples of each split are used.
    """

    def __init__(
        self,
        context: str,
        max_length: int | None,
        batches: BatchConfig,
        cache_dir: str | None,
        sample: SampleConfig = SampleConfig(),
    ) -> None:
        super().__init__(max_length, batches, cache_dir, sample)
        if sample != SampleConfig() and context != "none":
            raise ValueError(
                f"data.sample draws single sentences, data.context = {context!r} joins neighbours: "
                "set data.context to none"
            )
        self.context = context

    def find_label_names(self, examples: Iterable[dict[str, Any]]) -> list[str]:
        """``O``, then ``B-`` and ``I-`` of each type in the training split, sorted."""
        types = sorted({tag[2:] for example in examples for tag in example["tags"] if tag != "O"})
        return ["O", *(f"{prefix}-{name}" for name in types for prefix in "BI")]

    def items(
        self, examples: Sequence[dict[str, Any]], backbone: Any, notices: dict[str, int]
    ) -> Iterator[Item]:
        """Sentences or windows of sentences, every word scored once."""
        assert self.max_length is not None
        return token_items(
            examples,
            backbone.tokenizer,
            self.max_length,
            context=self.context,
            target_subword="last" if backbone.causal else "first",
            label_ids={name: i for i, name in enumerate(self.label_names)},
        )

    def item_options(self) -> dict[str, Any]:
        """The context."""
        return {"context": self.context}

    def texts(self, examples: Iterable[dict[str, Any]]) -> Iterator[str]:
        """Each sentence's words, joined by blanks."""
        return (" ".join(example["words"]) for example in examples)

    def units_of(self, example: dict[str, Any]) -> int:
        """A unit is a word."""
        return len(example["words"])
