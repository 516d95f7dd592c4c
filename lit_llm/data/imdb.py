"""The Large Movie Review Dataset: 25,000 training and 25,000 test reviews."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from lit_llm.data.archives import unpacked
from lit_llm.data.batch_config import BatchConfig
from lit_llm.data.cache import file_hash, fingerprint
from lit_llm.data.corpus_source import CorpusSource
from lit_llm.data.data_module import Split
from lit_llm.data.sample import SampleConfig
from lit_llm.data.sources import source_hash, split_sources
from lit_llm.data.splits import HubSplit
from lit_llm.data.table_examples import read_text_table
from lit_llm.data.text_data_module import TextDataModule
from lit_llm.data.text_items import Truncation

NAMES = ("negative", "positive")
_FOLDERS = ("neg", "pos")
_PER_CLASS = 12_500
_DEV_PER_CLASS = 1_250
_BLOCK = 50


class IMDB(TextDataModule):
    """Sentiment of movie reviews, official split, with a fixed development set.

    IMDB has no development set. Ours is 1,250 training reviews of each class: every tenth block of
    50 consecutive ids, since neighbouring ids review the same films; it is the same whatever the
    run's seed, and a text that occurs twice never stands on both sides. Test accuracy is also given
    without the test reviews whose text occurs in the training files (``accuracy_unseen``).

    Args:
        path: the ``aclImdb`` directory, a directory with ``train.parquet`` and ``test.parquet``
            (columns ``text`` and ``label``, rows in the order of the ids), an archive of either
            such as ``aclImdb_v1.tar.gz``, or a hub id.
        truncation: what is read of a review longer than ``max_length``.
        max_length: tokens of the longest item, special tokens included.
        batches: how examples are laid out in batches.
        cache_dir: where tokenised data is kept.
        sample: how many examples of each split are used.
        unlabelled: see ``TextDataModule``.

    Source:
        Maas et al. 2011, https://aclanthology.org/P11-1015
    """

    def __init__(
        self,
        path: str,
        truncation: Truncation = "head",
        max_length: int | None = None,
        batches: BatchConfig = BatchConfig(),
        cache_dir: str | None = None,
        sample: SampleConfig = SampleConfig(),
        unlabelled: CorpusSource | None = None,
    ) -> None:
        super().__init__(truncation, max_length, batches, cache_dir, sample, unlabelled)
        self.path = path

    def read(self, split: Split) -> Iterable[Mapping[str, Any]]:
        """The split's reviews, in the order of their ids, negative ones first."""
        train = self._reviews["train"]
        if split == "test":
            known = {example["text"] for example in train}
            return [
                {**example, "subsets": [] if example["text"] in known else ["unseen"]}
                for example in self._reviews["test"]
            ]
        chosen = development_ids([example["text"] for example in train])
        return [
            {**example, "subsets": []}
            for i, example in enumerate(train)
            if (i in chosen) == (split == "val")
        ]

    def source(self, split: Split) -> Any:
        """Content hashes of what the reviews are read from."""
        return self._source

    @cached_property
    def _root(self) -> Path:
        return unpacked(Path(self.path), self.cache_dir)

    @cached_property
    def _source(self) -> Any:
        root = self._root
        if not _is_tree(root):
            return {split: source_hash(source) for split, source in self._tables.items()}
        files = sorted(root.glob("t*/???/*.txt"))
        return fingerprint([[str(file.relative_to(root)), file_hash(file)] for file in files])

    @cached_property
    def _tables(self) -> Mapping[str, Path | HubSplit]:
        try:
            return split_sources(self.path, self.cache_dir, required=("train", "test"))
        except ValueError as error:
            raise ValueError(
                f"{self.path} is not IMDB: it has no train/neg (the aclImdb directory), and as a "
                f"directory of tables: {error}"
            ) from None

    @cached_property
    def _reviews(self) -> dict[str, list[dict[str, Any]]]:
        root = self._root
        if _is_tree(root):
            reviews = {split: _read_tree(root / split) for split in ("train", "test")}
        else:
            reviews = {split: _read_rows(self._tables, split) for split in ("train", "test")}
        for split, examples in reviews.items():
            found = [sum(example["label"] == name for example in examples) for name in NAMES]
            if found != [_PER_CLASS] * 2:
                raise ValueError(
                    f"{self.path}: {split} has {found[0]:,} negative and {found[1]:,} positive "
                    f"reviews, IMDB has {_PER_CLASS:,} of each: use TextClassification for "
                    "other data"
                )
        return reviews


def _is_tree(root: Path) -> bool:
    return (root / "train" / "neg").is_dir()


def development_ids(texts: list[str]) -> set[int]:
    """Which of the training reviews make up the development set.

    Args:
        texts: the 25,000 training reviews, 12,500 of each class, in the order of their ids.

    Returns:
        1,250 positions of each class. Every tenth block of 50; a review whose text also stands
        elsewhere in the file goes to training, and the next ids take its place.
    """
    repeated = _repeated(texts)
    chosen: set[int] = set()
    for start in range(0, len(texts), _PER_CLASS):
        ids = range(start, start + _PER_CLASS)
        in_block = [i for i in ids if (i - start) // _BLOCK % 10 == 9]
        # What fills the gaps left by repeated texts comes right after the blocks.
        after = [i for i in ids if (i - start) // _BLOCK % 10 == 0 and i - start >= _BLOCK]
        candidates = [i for i in [*in_block, *after] if i not in repeated]
        chosen.update(candidates[:_DEV_PER_CLASS])
    return chosen


def _repeated(texts: list[str]) -> set[int]:
    places: dict[str, list[int]] = {}
    for i, text in enumerate(texts):
        places.setdefault(text, []).append(i)
    return {i for group in places.values() if len(group) > 1 for i in group}


def _read_tree(root: Path) -> list[dict[str, Any]]:
    """Reviews of one half of the ``aclImdb`` directory, by class and id."""
    examples = []
    for name, folder in zip(NAMES, _FOLDERS, strict=True):
        if not (root / folder).is_dir():
            raise ValueError(f"{root} is not a part of IMDB: it has no {folder}/")
        files = (root / folder).glob("*.txt")
        for file in sorted(files, key=lambda path: int(path.stem.split("_")[0])):
            text = file.read_text(encoding="utf-8")
            examples.append(
                {"id": f"{root.name}/{folder}/{file.stem}", "text": text, "label": name}
            )
    return examples


def _read_rows(sources: Mapping[str, Path | HubSplit], split: str) -> list[dict[str, Any]]:
    """Reviews of one table; ``label`` 0 is negative, 1 is positive."""
    examples = read_text_table(sources[split], label_names=NAMES)
    return [{**example, "id": f"{split}/{i}"} for i, example in enumerate(examples)]
