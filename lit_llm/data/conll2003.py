"""Named entity recognition from column files or tables, in the form of CoNLL-2003."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from lit_llm.data.batch_config import BatchConfig
from lit_llm.data.columns import read_column_splits
from lit_llm.data.data_module import Split
from lit_llm.data.sample import SampleConfig
from lit_llm.data.sources import Paths, is_table, source_hash, split_sources
from lit_llm.data.splits import HubSplit
from lit_llm.data.table_examples import read_token_table
from lit_llm.data.tag_scheme import convert_tags
from lit_llm.data.tagged_data_module import TaggedDataModule


class CoNLL2003(TaggedDataModule):
    """Sentences of words with entity tags: CoNLL-2003, or any data of the same form.

    Args:
        path: a directory with ``eng.train``, ``eng.testa`` and ``eng.testb``, or with any
            train / dev / test column files or tables (parquet, JSONL), an archive of it, a mapping
            from split to file, or a hub id. Tables have the columns ``tokens`` and ``ner_tags``.
        tag_column: of column files, from 0; negative counts from the end.
        word_column: of column files.
        scheme: how entities are tagged: ``iob1``, ``iob2``, ``bioes``, or ``auto`` to find out.
            Everything is converted to IOB2.
        label_names: what the integers of ``ner_tags`` mean, where the table does not say.
        keep_columns: more columns of tables to keep, for ``batches.stages`` and
            ``batches.curriculum``.
        context: see ``TaggedDataModule``; contexts never cross ``-DOCSTART-``.
        max_length: tokens of the longest item; longer sentences are split into overlapping windows
            and every word is scored once.
        batches: how examples are laid out in batches.
        cache_dir: where tokenised data is kept.
        sample: how many examples of each split are used.

    Source:
        Tjong Kim Sang and De Meulder 2003, https://aclanthology.org/W03-0419
    """

    def __init__(
        self,
        path: Paths,
        tag_column: int = -1,
        word_column: int = 0,
        scheme: str = "auto",
        label_names: list[str] | None = None,
        keep_columns: list[str] | None = None,
        context: str = "none",
        max_length: int | None = None,
        batches: BatchConfig = BatchConfig(),
        cache_dir: str | None = None,
        sample: SampleConfig = SampleConfig(),
    ) -> None:
        super().__init__(context, max_length, batches, cache_dir, sample)
        self.path = path
        self.tag_column = tag_column
        self.word_column = word_column
        self.scheme = scheme
        self.names_of_integers = label_names
        self.keep_columns = list(keep_columns or [])

    @cached_property
    def _sources(self) -> dict[str, Path | HubSplit]:
        return split_sources(self.path, self.cache_dir)

    @cached_property
    def _splits(self) -> dict[str, list[dict[str, Any]]]:
        """All splits read together: one tagging scheme holds for all of them."""
        tables = {name: s for name, s in self._sources.items() if is_table(s)}
        if len(tables) < len(self._sources):
            columns = {name: s for name, s in self._sources.items() if isinstance(s, Path)}
            if self.keep_columns:
                raise ValueError("data.keep_columns names columns of tables, and these are not")
            return read_column_splits(columns, self.tag_column, self.word_column, self.scheme)
        splits = {
            name: read_token_table(
                source, label_names=self.names_of_integers, scheme=None, keep=self.keep_columns
            )
            for name, source in tables.items()
        }
        convert_tags(splits.values(), self.scheme)
        return splits

    def read(self, split: Split) -> Iterable[Mapping[str, Any]]:
        """The split's sentences."""
        return self._splits[split]

    def source(self, split: Split) -> Any:
        """Content hashes of all splits, which share a tagging scheme, and how they are read."""
        if split not in self._sources:
            return None
        hashes = {name: source_hash(source) for name, source in self._sources.items()}
        options = [self.tag_column, self.word_column, self.scheme, self.names_of_integers]
        return [hashes, options, *self.keep_columns]
