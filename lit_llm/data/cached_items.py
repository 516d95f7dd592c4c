"""What is the same for every dataset until it is served: read, sample, tokenise once."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info

from lit_llm.batch import Item
from lit_llm.data.augmentation import augmented
from lit_llm.data.cache import ArrowTable, build_once, default_cache_dir, fingerprint, write_table
from lit_llm.data.in_force import checked_max_length, run_seed
from lit_llm.data.sample import SampleConfig, Selection
from lit_llm.data.tokenizers import Texts, train_tokenizer

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


class CachedItems(LightningDataModule):
    """Reads each split once into a cache on disk: its examples, and the items made of them.

    The tokenizer belongs to the model's backbone: it is taken from the trainer's module, so the
    same object works from the command line and in plain Python.

    A subclass says what its files hold (``read``, ``source``), which labels there are
    (``find_label_names``) and how an example becomes items (``items``).

    Args:
        max_length: tokens of the longest item; None: what the backbone takes, at most 512.
        cache_dir: None: ``$LIT_LLM_CACHE``, else ``~/.cache/lit_llm``.
        sample: how many examples of each split are used.
    """

    def __init__(self, max_length: int | None, cache_dir: str | None, sample: SampleConfig) -> None:
        super().__init__()
        self.max_length = max_length
        self.sample = sample
        self.cache_dir = Path(cache_dir) if cache_dir else default_cache_dir()
        self.label_names: list[str] = []
        self._examples: dict[str, Sequence[dict[str, Any]]] = {}
        self._items: dict[str, ArrowTable] = {}
        self.notices: dict[str, dict[str, int]] = {}
        self.fingerprints: dict[str, str] = {}

    streams_train: bool = False
    """Whether training examples are read as they are needed, and not kept: no training split."""

    validates_train: bool = False
    """Whether the training split stands in the place of the development split."""

    @abstractmethod
    def read(self, split: Split) -> Iterable[Mapping[str, Any]]:
        """The split's examples in file order; asked for only where ``source`` is not None.

        It may count in ``notices[split]`` what the user should know of.
        """

    @abstractmethod
    def source(self, split: Split) -> Any:
        """Plain data that changes whenever ``read`` would; None if there is no such split."""

    @abstractmethod
    def find_label_names(self, examples: Iterable[dict[str, Any]]) -> list[str]:
        """The classes, in the order of their indices, from the training examples."""

    @abstractmethod
    def items(
        self, examples: Sequence[dict[str, Any]], backbone: Any, notices: dict[str, int]
    ) -> Iterator[Item]:
        """Tokenised items of a split; ``notices`` counts what the user should know of."""

    @abstractmethod
    def item_options(self) -> dict[str, Any]:
        """Plain data: the settings ``items`` depends on."""

    @abstractmethod
    def texts(self, examples: Iterable[dict[str, Any]]) -> Iterator[str]:
        """The examples' raw text, to train a tokenizer on."""

    def units_of(self, example: dict[str, Any]) -> int:
        """How many units (words, reviews) an example has."""
        return 1

    def add_unlabelled(self, key: str) -> str:
        """Add training examples whose ``label`` is None; the key that names all of them then.

        Raises:
            ValueError: there are to be some, and this is no data of that kind.
        """
        if self.sample.unlabelled is not None:
            raise ValueError(
                f"data.sample.unlabelled: {type(self).__name__} takes no texts without a label"
            )
        return key

    def prepare_data(self) -> None:
        """Tokenise what is not cached yet, in one process of each machine."""
        self._prepare()

    def setup(self, stage: str) -> None:
        """Open the cache in every process."""
        self._prepare()
        if stage == "fit" and not (self.streams_train or "train" in self._items):
            raise ValueError(f"{type(self).__name__} has no training split to fit on")
        for split, needed in (("val", "validate"), ("test", "test")):
            if stage == needed and split not in self._items:
                raise ValueError(f"{type(self).__name__} has no {split} split")

    def examples(self, split: Split) -> Sequence[dict[str, Any]]:
        """The split's examples that are used, in file order."""
        return self._examples[split]

    def has_split(self, split: Split) -> bool:
        """Whether there is such a split."""
        return split in self._items

    def num_units(self, split: Split) -> int:
        """U, the number of units of a split."""
        return sum(self.units_of(example) for example in self._examples[split])

    def _prepare(self) -> None:
        if self._items:
            return
        backbone = self._backbone()
        keys: dict[Split, str] = {}
        for split in SPLITS:
            key = self._cache_examples(split)
            if key is not None:
                keys[split] = key
        if not (self.label_names or self.streams_train):
            if "train" not in self._examples:
                raise ValueError(f"{type(self).__name__} has no training split to take labels from")
            self.label_names = self.find_label_names(self._examples["train"])
        for split in keys:
            keys[split] = self._draw_sample(split, keys[split])
        if "train" in keys:
            keys["train"] = self._augment(keys["train"])
            keys["train"] = self.add_unlabelled(keys["train"])
        if backbone.tokenizer is None:
            self._train_tokenizer(backbone, keys)
        self.max_length = checked_max_length(self.max_length, backbone.max_positions)
        for split, key in keys.items():
            self._cache_items(split, key, backbone)
        if self.validates_train and "train" not in self._items:
            raise ValueError("--split train: the training documents are streamed, and not kept")
        if self.validates_train:
            self._items["val"], self._examples["val"] = (
                self._items["train"],
                self._examples["train"],
            )

    def _backbone(self) -> Any:
        if self.trainer is None or self.trainer.lightning_module is None:
            raise RuntimeError(
                f"{type(self).__name__} takes its tokenizer from the model: pass both to "
                "Trainer.fit(model, data), or set data.trainer first"
            )
        return self.trainer.lightning_module.backbone

    def _cache_examples(self, split: Split) -> str | None:
        source = self.source(split)
        if source is None:
            return None
        key = fingerprint([type(self).__qualname__, split, source])
        directory = self.cache_dir / f"examples-{key}"

        def build(staging: Path) -> None:
            write_table(staging / "examples.arrow", self.read(split))
            (staging / "notices.json").write_text(json.dumps(self.notices.get(split, {})))

        build_once(directory, build)
        self._examples[split] = ArrowTable(directory / "examples.arrow")
        self.notices[split] = json.loads((directory / "notices.json").read_text())
        return key

    def _draw_sample(self, split: Split, key: str) -> str:
        total = len(self._examples[split])
        drawn = self.sample.draw(split, total, run_seed())
        if drawn is None:
            return key
        positions, seed = drawn
        self._examples[split] = Selection(self._examples[split], positions)
        self.notices[split][f"of {total:,} examples, drawn with seed {seed}"] = len(positions)
        return fingerprint([key, positions])

    def _augment(self, key: str) -> str:
        config, sample_seed = self.sample.augmentation, self.sample.seed
        if config is None:
            return key
        seed = run_seed() if sample_seed is None else sample_seed
        originals = len(self._examples["train"])
        self._examples["train"] = augmented(config, self._examples["train"], seed)
        self.notices["train"]["changed copies"] = len(self._examples["train"]) - originals
        return fingerprint([key, asdict(config), seed])

    def _train_tokenizer(self, backbone: Any, keys: dict[Split, str]) -> None:
        spec = backbone.tokenizer_to_train
        directory = self.cache_dir / f"tokenizer-{fingerprint([keys['train'], spec])}"

        def build(staging: Path) -> None:
            rank_zero_info(f"training a {spec} tokenizer on the training split")
            texts = Texts(self.texts, self._examples["train"])
            train_tokenizer(texts, **spec).save_pretrained(staging)

        backbone.set_tokenizer(build_once(directory, build))

    def _cache_items(self, split: Split, examples_key: str, backbone: Any) -> None:
        options = [self.max_length, backbone.causal, self.item_options(), self.label_names]
        key = fingerprint([examples_key, backbone.tokenizer_state(), options])
        self.fingerprints[split] = key
        directory = self.cache_dir / f"items-{key}"

        def build(staging: Path) -> None:
            examples, notices = self._examples[split], dict[str, int]()
            rank_zero_info(f"tokenising {len(examples):,} {split} examples")
            write_table(staging / "items.arrow", self.items(examples, backbone, notices))
            (staging / "notices.json").write_text(json.dumps(notices))

        build_once(directory, build)
        self._items[split] = ArrowTable(directory / "items.arrow")
        self.notices[split] |= json.loads((directory / "notices.json").read_text())
        for what, count in self.notices[split].items():
            rank_zero_info(f"{split}: {count:,} {what}")
