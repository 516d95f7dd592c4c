"""Sentiment on the built-in toy corpus."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lit_llm.data import toy
from lit_llm.data.batch_config import BatchConfig
from lit_llm.data.cache import package_hash
from lit_llm.data.data_module import Split
from lit_llm.data.sample import SampleConfig
from lit_llm.data.text_data_module import TextDataModule
from lit_llm.data.text_items import Truncation
from lit_llm.data.toy.baselines import toy_rows
from lit_llm.data.toy.reviews import toy_reviews


class ToyReviews(TextDataModule):
    """Reviews of made-up films, with negation and contrast that a bag of words cannot read.

    Labelled text covers a third of the polarity words; a share of the labels is noise, so the best
    possible score is below 1 (``lit_llm.data.toy.baselines`` knows it).

    Args:
        corpus_seed: of the corpus, which is generated from nothing.
        truncation: what is read of a review longer than ``max_length``.
        max_length: tokens of the longest item.
        batches: how examples are laid out in batches.
        cache_dir: where tokenised data is kept.
        sample: how many examples of each split are used.
    """

    def __init__(
        self,
        corpus_seed: int = 0,
        truncation: Truncation = "head",
        max_length: int | None = None,
        batches: BatchConfig = BatchConfig(),
        cache_dir: str | None = None,
        sample: SampleConfig = SampleConfig(),
    ) -> None:
        super().__init__(truncation, max_length, batches, cache_dir, sample)
        self.corpus_seed = corpus_seed

    def read(self, split: Split) -> Iterable[Mapping[str, Any]]:
        """The split's reviews, made from the seed."""
        return toy_reviews("dev" if split == "val" else split, self.corpus_seed)

    def source(self, split: Split) -> Any:
        """The seed, and the generator's code."""
        return [self.corpus_seed, package_hash(toy)]

    def reference_rows(self) -> dict[str, float]:
        """What simple methods score on the test split, and the best score there can be."""
        rows = toy_rows("reviews", "test", self.corpus_seed)
        return {f"test/{name}": value for name, value in rows.items()}
