"""One pass over some training items, for what has to be computed once for each."""

from __future__ import annotations

from typing import Any

import numpy as np

from lit_llm.batch import Item
from lit_llm.data.batch_config import BatchConfig
from lit_llm.data.cache import ArrowTable
from lit_llm.data.loader import PackedLoader, Prepare
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
    plan = EvaluationPlan(
        items.lengths[places],
        tokens_per_batch=batches.eval_tokens_per_batch,
        packs=backbone.packs,
    )
    some = Selection(items, places.tolist())
    return PackedLoader(some, plan, pad_token_id=backbone.tokenizer.pad_token_id, prepare=form)
