"""What is the same for every dataset once it is tokenised: plan, pack, load."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lit_llm.data.batch_config import BatchConfig
from lit_llm.data.cache import ArrowTable
from lit_llm.data.cached_items import SPLITS as SPLITS
from lit_llm.data.cached_items import CachedItems
from lit_llm.data.cached_items import Split as Split
from lit_llm.data.counts import (
    counted_otherwise,
    holds_texts,
    labels_of_items,
    units_of_items,
)
from lit_llm.data.in_force import run_seed
from lit_llm.data.item_fields import example_field
from lit_llm.data.loader import PackedLoader, Prepare
from lit_llm.data.packed_pass import evaluation_pass, packed_pass
from lit_llm.data.packing import EvaluationPlan
from lit_llm.data.plan_of_run import plan_of_run
from lit_llm.data.sample import SampleConfig, Selection

_TIMED_ITEMS, _TIMED_BATCHES = 45, 5


class PackedDataModule(CachedItems):
    """Serves what it has read and tokenised once as packed batches.

    What a subclass has to say stands in ``CachedItems``.

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
        super().__init__(max_length, cache_dir, sample)
        self.batches = batches

    def prepare(self, split: Split) -> Prepare | None:
        """What is made of an item each time it is served; None to serve it as it is stored."""
        return None

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
