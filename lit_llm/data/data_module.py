"""What is the same for every dataset: read, tokenise once, plan, load."""

from __future__ import annotations

import json
import math
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray

from lit_llm.batch import Item
from lit_llm.data.augmentation import augmented
from lit_llm.data.batch_config import BatchConfig
from lit_llm.data.cache import ArrowTable, build_once, default_cache_dir, fingerprint, write_table
from lit_llm.data.counts import (
    counted_otherwise,
    holds_texts,
    labels_of_items,
    units_of_items,
)
from lit_llm.data.in_force import checked_max_length, run_seed
from lit_llm.data.item_fields import example_field
from lit_llm.data.loader import PackedLoader, Prepare
from lit_llm.data.packed_pass import evaluation_pass, packed_pass
from lit_llm.data.packing import EvaluationPlan
from lit_llm.data.plan_of_run import plan_of_run
from lit_llm.data.sample import SampleConfig, Selection
from lit_llm.data.tokenizers import Texts, train_tokenizer

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

_TIMED_ITEMS, _TIMED_BATCHES = 45, 5


class PackedDataModule(LightningDataModule):
    """Reads each split once into a cache on disk and serves it as packed batches.

    The tokenizer belongs to the model's backbone: it is taken from the trainer's module, so the
    same object works from the command line and in plain Python.

    A subclass says what its files hold (``read``, ``source``), which labels there are
    (``find_label_names``) and how an example becomes items (``items``).

    Args:
        max_length: tokens of the longest item, special tokens included; default what the backbone
            takes, at most 512.
        batches: how examples are laid out in batches.
        cache_dir: where tokenised data is kept; default ``$LIT_LLM_CACHE``, else
            ``~/.cache/lit_llm``.
        sample: how many examples of each split are used.
    """

    def __init__(
        self,
        max_length: int | None = None,
        batches: BatchConfig = BatchConfig(),
        cache_dir: str | None = None,
        sample: SampleConfig = SampleConfig(),
    ) -> None:
        super().__init__()
        self.max_length = max_length
        self.batches = batches
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

    def prepare(self, split: Split) -> Prepare | None:
        """What is made of an item each time it is served; None to serve it as it is stored."""
        return None

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

    def loss_terms(self) -> list[str]:
        """Names of the model's loss terms; none where there is one, or the model does not say."""
        assert self.trainer is not None
        terms = list(getattr(self.trainer.lightning_module, "term_weights", {}))
        return terms if len(terms) > 1 else []

    def target_counts(self) -> dict[str, NDArray[Any]]:
        """How many targets each training item has, (B,) by loss term; for a loss of several terms.

        Here, where every unit is a target of every term: its units, or its windows' weights.
        """
        items, terms = self._items["train"], self.loss_terms()
        if not terms:
            return {}
        return dict.fromkeys(terms, labels_of_items(items))

    def counts_of_terms(
        self, targets: Mapping[str, NDArray[Any]], items: ArrowTable
    ) -> dict[str, NDArray[Any]]:
        """``target_counts`` of some training items, but for terms that count something else."""
        return {**targets, **counted_otherwise(self._counted_by() if targets else {}, items)}

    def _counted_by(self) -> Mapping[str, str]:
        assert self.trainer is not None
        counted_by: Mapping[str, str] = getattr(self.trainer.lightning_module, "counted_by", {})
        return counted_by

    def targets_of_items(self) -> NDArray[np.int64]:
        """How many targets each training item has in any of its fixed forms, (B,).

        Here its scored units; an item of a text has one.
        """
        items = self._items["train"]
        return np.ones(len(items), np.int64) if holds_texts(items) else units_of_items(items)

    def num_variants(self) -> int:
        """In how many fixed forms each training item is served; 1 as it is stored.

        Raises:
            ValueError: it has no fixed ones, and what was computed once would not be true again.
        """
        return 1

    def prepare_variant(self) -> Prepare | None:
        """What makes an item's fixed form, as ``prepare`` serves it: (item, form, item's id)."""
        return None

    def variant_options(self) -> Any:
        """Plain data: what an item's fixed forms depend on beside the item as it is stored."""
        return None

    def packed_pass(self, entries: range) -> PackedLoader:
        """Some training items in some of their fixed forms; ``item * num_variants + variant``."""
        variants, prepare = self.num_variants(), self.prepare_variant()
        backbone = self._backbone()
        return packed_pass(self._items["train"], entries, self.batches, backbone, variants, prepare)

    def packed_reading(
        self, backbone: Any, examples: Sequence[Any], single: bool = False
    ) -> PackedLoader:
        """Some examples as another model reads them, for one process alone.

        Args:
            backbone: whose tokenizer, and longest text.
            examples: of any split; units count from the first one.
            single: one item a batch.
        """
        own = self.max_length
        assert own is not None
        self.max_length = min(own, backbone.max_positions or own)
        try:
            items = list(self.items(examples, backbone, {}))
        finally:
            self.max_length = own
        lengths = [len(item["input_ids"]) for item in items]
        return evaluation_pass(items, lengths, self.batches, backbone, single)

    def timing_pass(self, split: Split, single: bool) -> PackedLoader:
        """Items from all over a split, for whoever measures time: 45, or a few batches of them."""
        items = self._items[split]
        budget = _TIMED_BATCHES * self.batches.eval_tokens_per_batch / max(items.lengths.mean(), 1)
        number = min(len(items), _TIMED_ITEMS if single else math.ceil(budget))
        places = np.linspace(0, len(items) - 1, number).astype(np.int64)
        some = Selection(items, places.tolist())
        lengths, prepare = items.lengths[places], self.prepare(split)
        return evaluation_pass(some, lengths, self.batches, self._backbone(), single, prepare)

    def item_weights(self) -> NDArray[Any] | None:
        """How often each training item is seen in a data epoch; None for once."""
        return None

    def example_field(self, name: str, key: str) -> Sequence[Any]:
        """The value of a field of each training item's example, (B,); ``key`` asks for it.

        Raises:
            ValueError: names ``key``: there is no such field.
        """
        items, examples = self._items["train"], self._examples["train"]
        return example_field(items, examples, self.units_of, name, key)

    def reference_rows(self) -> dict[str, float]:
        """Scores to print beside the model's, by split and name: ``test/majority``."""
        return {}

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

    def train_dataloader(self) -> PackedLoader:
        """Packed training batches; the loader's length is the same in every epoch."""
        assert self.trainer is not None
        plan = plan_of_run(
            self.batches,
            self._items["train"],
            self.trainer,
            seed=self._seed(),
            packs=self._backbone().packs,
            weights=self.item_weights(),
            field_of=self.example_field,
        )
        return self._loader("train", plan)

    def val_dataloader(self) -> PackedLoader | list[Any]:
        """The development set, each item once; nothing if there is none."""
        return self.evaluation_loader("val") if "val" in self._items else []

    def test_dataloader(self) -> PackedLoader:
        """The test set, each item once."""
        return self.evaluation_loader("test")

    def evaluation_loader(self, split: Split) -> PackedLoader:
        """This rank's part of a split, each item once."""
        assert self.trainer is not None
        plan = EvaluationPlan(
            self._items[split].lengths,
            tokens_per_batch=self.batches.eval_tokens_per_batch,
            packs=self._backbone().packs,
            world_size=self.trainer.world_size,
        )
        return self._loader(split, plan)

    def _loader(self, split: Split, plan: Any) -> PackedLoader:
        assert self.trainer is not None
        return PackedLoader(
            self._items[split],
            plan,
            pad_token_id=self._backbone().tokenizer.pad_token_id,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
            num_workers=self.batches.num_workers,
            prepare=self.prepare(split),
            target_counts=self._term_counts() if split == "train" else None,
            accumulate_grad_batches=self.trainer.accumulate_grad_batches,
        )

    def _term_counts(self) -> dict[str, NDArray[Any]]:
        return self.counts_of_terms(self.target_counts(), self._items["train"])

    def _seed(self) -> int:
        return run_seed() if self.batches.seed is None else self.batches.seed
