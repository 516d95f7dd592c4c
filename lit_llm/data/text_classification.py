"""Texts with labels from any table: parquet, CSV, TSV, JSONL or a hub data set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from lit_llm.data.batch_config import BatchConfig
from lit_llm.data.corpus_source import CorpusSource
from lit_llm.data.data_module import Split
from lit_llm.data.sample import SampleConfig
from lit_llm.data.sources import Paths, source_hash, split_sources
from lit_llm.data.splits import HubSplit
from lit_llm.data.table_examples import read_text_table
from lit_llm.data.text_data_module import TextDataModule
from lit_llm.data.text_items import Truncation


class TextClassification(TextDataModule):
    """A column of texts and a column of labels.

    Args:
        path: a directory with train / dev / test tables, an archive of it, a mapping from split to
            file, or a hub id.
        text_column: the texts.
        label_column: the labels: strings or class indices, lists of them for several labels, or
            numbers for regression.
        label_names: names of class indices, and all the labels there may be; default what the
            table says of itself.
        problem_type: transformers' name for what the labels are; the objective's must agree.
        keep_columns: more columns to keep, for ``batches.stages`` and ``batches.curriculum``.
        truncation: what is read of a text longer than ``max_length``.
        max_length: tokens of the longest item, special tokens included.
        batches: how examples are laid out in batches.
        cache_dir: where tokenised data is kept.
        sample: how many examples of each split are used.
        unlabelled: see ``TextDataModule``.
    """

    def __init__(
        self,
        path: Paths,
        text_column: str = "text",
        label_column: str = "label",
        label_names: list[str] | None = None,
        problem_type: str = "single_label_classification",
        keep_columns: list[str] | None = None,
        truncation: Truncation = "head",
        max_length: int | None = None,
        batches: BatchConfig = BatchConfig(),
        cache_dir: str | None = None,
        sample: SampleConfig = SampleConfig(),
        unlabelled: CorpusSource | None = None,
    ) -> None:
        super().__init__(truncation, max_length, batches, cache_dir, sample, unlabelled)
        self.path = path
        self.text_column = text_column
        self.label_column = label_column
        self.names_of_integers = label_names
        self.problem_type = problem_type
        self.keep_columns = list(keep_columns or [])

    @cached_property
    def _sources(self) -> dict[str, Path | HubSplit]:
        return split_sources(self.path, self.cache_dir)

    def read(self, split: Split) -> Iterable[Mapping[str, Any]]:
        """The split's texts, in file order."""
        return read_text_table(
            self._sources[split],
            self.text_column,
            self.label_column,
            self.names_of_integers,
            self.problem_type,
            self.keep_columns,
        )

    def source(self, split: Split) -> Any:
        """The file's content hash and how it is read."""
        if split not in self._sources:
            return None
        options = [self.text_column, self.label_column, self.names_of_integers, self.problem_type]
        return [source_hash(self._sources[split]), options, *self.keep_columns]
