"""Named entity recognition on the built-in toy corpus."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lit_llm.data import toy
from lit_llm.data.batch_config import BatchConfig
from lit_llm.data.cache import package_hash
from lit_llm.data.data_module import Split
from lit_llm.data.sample import SampleConfig
from lit_llm.data.tagged_data_module import TaggedDataModule
from lit_llm.data.toy.baselines import toy_rows
from lit_llm.data.toy.ner import toy_ner


class ToyNER(TaggedDataModule):
    """People, places, organisations, films and events of a small made-up world.

    Test names never stand in labelled training text; a share of the labels is noise, so the best
    possible score is below 1 (``lit_llm.data.toy.baselines`` knows it).

    Args:
        corpus_seed: of the corpus, which is generated from nothing.
        context: see ``TaggedDataModule``; some names can only be told from the sentence before.
        max_length: tokens of the longest item.
        batches: how examples are laid out in batches.
        cache_dir: where tokenised data is kept.
        sample: how many examples of each split are used.
    """

    def __init__(
        self,
        corpus_seed: int = 0,
        context: str = "document_windows",
        max_length: int | None = None,
        batches: BatchConfig = BatchConfig(),
        cache_dir: str | None = None,
        sample: SampleConfig = SampleConfig(),
    ) -> None:
        super().__init__(context, max_length, batches, cache_dir, sample)
        self.corpus_seed = corpus_seed

    def read(self, split: Split) -> Iterable[Mapping[str, Any]]:
        """The split's sentences, made from the seed."""
        return toy_ner("dev" if split == "val" else split, self.corpus_seed)

    def source(self, split: Split) -> Any:
        """The seed, and the generator's code."""
        return [self.corpus_seed, package_hash(toy)]

    def reference_rows(self) -> dict[str, float]:
        """What simple methods score on the test split, and the best score there can be."""
        rows = toy_rows("ner", "test", self.corpus_seed)
        return {f"test/{name}": value for name, value in rows.items()}
