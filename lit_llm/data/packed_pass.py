"""One pass over some training items, for what has to be computed once for each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lit_llm.batch import Item
from lit_llm.data.batch_config import BatchConfig
from lit_llm.data.cache import ArrowTable
from lit_llm.data.loader import ItemStore, PackedLoader, Prepare
from lit_llm.data.packing import EvaluationPlan
from lit_llm.data.sample import Selection


def packed_pass(
    items: ArrowTable,
    entries: range,
    batches: BatchConfig,
    backbone: Any,
    variants: int = 1,
    prepare: Prepare | None = None,
) -> PackedLoader:
    """Some items in some of their fixed forms, each once, for one process alone.

    Args:
        items: of the training split.
        entries: ``item * variants + variant``; the batches' ids count from the first one.
        batches: says how large they are.
        backbone: that reads them.
        variants: fixed forms of each item.
        prepare: what makes one of them: (item, variant, item's id) to item.
    """

    def form(item: Item, _: int, entry: int) -> Item:
        item_id, variant = divmod(entries.start + entry, variants)
        return item if prepare is None else prepare(item, variant, item_id)

    places = np.asarray(entries) // variants
    some = Selection(items, places.tolist())
    return evaluation_pass(some, items.lengths[places], batches, backbone, prepare=form)


def evaluation_pass(
    items: ItemStore,
    lengths: ArrayLike,
    batches: BatchConfig,
    backbone: Any,
    single: bool = False,
    prepare: Prepare | None = None,
) -> PackedLoader:
    """Items as an evaluation lays them out, each once, for one process alone.

    Args:
        items: what is read.
        lengths: (B,), their tokens.
        batches: says how large they are.
        backbone: that reads them.
        single: one item a batch.
        prepare: what is made of an item when it is served.
    """
    plan = EvaluationPlan(
        lengths,
        tokens_per_batch=1 if single else batches.eval_tokens_per_batch,
        packs=backbone.packs and not single,
    )
    return PackedLoader(items, plan, pad_token_id=backbone.tokenizer.pad_token_id, prepare=prepare)
