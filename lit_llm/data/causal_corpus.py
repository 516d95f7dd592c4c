"""Raw text for causal language modelling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lit_llm.batch import Item
from lit_llm.data.batch_config import BatchConfig
from lit_llm.data.cache import ArrowTable
from lit_llm.data.causal_items import causal_items, served
from lit_llm.data.corpus_data_module import CorpusDataModule
from lit_llm.data.corpus_source import CorpusSource
from lit_llm.data.data_module import Split
from lit_llm.data.loader import Prepare
from lit_llm.data.notices import count
from lit_llm.data.stored_documents import by_source
from lit_llm.data.streaming import StreamingConfig


class CausalCorpus(CorpusDataModule):
    """Documents cut to items of at most ``max_length`` tokens, packed, each seeing itself alone.

    Args:
        sources: where the text lies; ``path: toy`` is the built-in corpus.
        stream: documents end to end in one stream instead, cut wherever ``max_length`` falls, so
            that tokens see what stands before them in another document (GPT-2's training). It has
            nothing to do with ``streaming``; with that, the stream ends with each block.
        eval_stride: tokens newly predicted in each validation item, the others being context;
            default ``max_length - 1``. Fewer give each token more to see, and take longer.
        validation_fraction: of the groups (books, files, texts).
        validation_groups: groups that validate in any case.
        validation_sources: text to validate on instead of a part of ``sources``.
        leave_out: evaluation sets whose texts may not be trained on.
        streaming: read a corpus that does not fit the disk while the model trains.
        max_length: tokens of the longest item, special tokens included.
        batches: how items are laid out in batches.
        cache_dir: where tokenised data is kept.
    """

    def __init__(
        self,
        sources: list[CorpusSource],
        stream: bool = False,
        eval_stride: int | None = None,
        validation_fraction: float = 0.01,
        validation_groups: list[str] | None = None,
        validation_sources: list[CorpusSource] | None = None,
        leave_out: list[CorpusSource] | None = None,
        streaming: StreamingConfig | None = None,
        max_length: int | None = None,
        batches: BatchConfig = BatchConfig(),
        cache_dir: str | None = None,
    ) -> None:
        super().__init__(
            sources,
            validation_fraction,
            validation_groups,
            validation_sources,
            leave_out,
            streaming,
            max_length,
            batches,
            cache_dir,
        )
        self.stream, self.eval_stride = stream, eval_stride

    def items(
        self, examples: Sequence[dict[str, Any]], backbone: Any, notices: dict[str, int]
    ) -> Iterator[Item]:
        """Items of each source's documents, ``source_ids`` beside what ``causal_items`` gives.

        Raises:
            ValueError: the model is an encoder; as ``causal_items``.
        """
        if not backbone.causal:
            raise ValueError(
                f"data: CausalCorpus is for decoders, and backbone.source = {backbone.source!r} is "
                "an encoder: take lit_llm.data.masked_corpus.MaskedCorpus"
            )
        assert self.max_length is not None
        assert isinstance(examples, ArrowTable)
        stride = self.eval_stride if examples is self._examples.get("val") else None
        for source_id, numbers in by_source(examples).items():
            texts = self.document_texts(examples[i] for i in numbers)
            found = causal_items(
                texts, backbone.tokenizer, self.max_length, stream=self.stream, stride=stride
            )
            for item in found:
                count(notices, "tokens to predict", len(item["input_ids"]) - item["first"] - 1)
                yield {**item, "source_ids": source_id}

    def target_counts(self) -> dict[str, NDArray[Any]]:
        """Tokens to predict of each training item, for every term of the loss."""
        return self.target_counts_of(self._items["train"])

    def target_counts_of(self, items: ArrowTable) -> dict[str, NDArray[Any]]:
        """As ``target_counts``, of some training items."""
        return dict.fromkeys(self.loss_terms(), _num_targets(items))

    def targets_of_items(self) -> NDArray[np.int64]:
        """Tokens to predict of each training item, (B,)."""
        return _num_targets(self._items["train"])

    def num_variants(self) -> int:
        """One, as it is stored.

        Raises:
            ValueError: items are not kept, or documents are joined.
        """
        if self.stream:
            raise ValueError(
                "data.stream: true joins documents, and a teacher's words are kept for documents "
                "one by one: set it to false, or leave model.cache at false"
            )
        return super().num_variants()

    def prepare_variant(self) -> Prepare:
        """Each token's successor is its label."""
        return _prepared

    def item_options(self) -> dict[str, Any]:
        """How documents are cut."""
        return {"stream": self.stream, "eval_stride": self.eval_stride}

    def prepare(self, split: Split) -> Prepare:
        """Each token's successor is its label."""
        return _prepared


def _num_targets(items: ArrowTable) -> NDArray[np.int64]:
    """Tokens to predict of each item, (B,)."""
    targets: NDArray[np.int64] = items.lengths - items.column("first") - 1
    return targets


def _prepared(item: Item, batch: int, item_id: int) -> Item:
    return served(item)
