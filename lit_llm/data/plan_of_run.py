"""The packing plan of a run's training data, of one stage or several."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray

from lit_llm.data.batch_config import BatchConfig
from lit_llm.data.batch_rows import Plan
from lit_llm.data.cache import ArrowTable
from lit_llm.data.difficulty import FieldOf, curriculum_of
from lit_llm.data.packing import TokensPerBatch, training_plan
from lit_llm.data.staged_plan import StagedPlan
from lit_llm.data.stages import StageConfig, stage_weights


def plan_of_run(
    batches: BatchConfig,
    items: ArrowTable,
    trainer: Any,
    *,
    seed: int,
    packs: bool,
    weights: NDArray[Any] | None,
    field_of: FieldOf,
) -> Plan:
    """Which training items stand in which row of which batch.

    Args:
        batches: what was asked for.
        items: of the training split.
        trainer: says how many ranks there are, and how much of an epoch is trained on.
        seed: of the order, and of random scores.
        packs: several items may stand in a row.
        weights: (B,), how often an item is seen in a data epoch; default once.
        field_of: of (a field, the key that asks for it) its value in each item's example.

    Raises:
        OSError, ValueError: the settings do not fit the data; names the key.
    """
    unset = batches.examples_per_batch is None and batches.tokens_per_batch is None
    plan_with = partial(
        training_plan,
        items.lengths,
        examples_per_batch=32 if unset else batches.examples_per_batch,
        tokens_per_batch=batches.tokens_per_batch,
        row_length=batches.row_length,
        packs=packs,
        world_size=trainer.world_size,
        accumulate_grad_batches=trainer.accumulate_grad_batches,
    )
    curriculum = curriculum_of(batches.curriculum, items, field_of, seed)
    whole = plan_with(seed=seed, weights=weights, curriculum=curriculum)
    if not batches.stages:
        _say_if_repeated(whole, "train")
        return whole
    parts = stage_weights(batches.stages, items.lengths, field_of, weights)
    _say_what_is_left_out(batches.stages, parts)
    plans = []
    for number, part in enumerate(parts):
        own_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        plans.append(plan_with(seed=own_seed, weights=part))
        _say_if_repeated(plans[-1], f"batches.stages[{number}]")
    return StagedPlan(
        plans,
        [stage.steps for stage in batches.stages],
        len(whole),
        _trained_batches(trainer.limit_train_batches, len(whole)),
        trainer.accumulate_grad_batches,
        waits=any(stage.until is not None for stage in batches.stages),
    )


def _trained_batches(limit: int | float, length: int) -> int:
    """The batches of an epoch that Lightning trains on."""
    return min(limit, length) if isinstance(limit, int) else int(limit * length)


def _say_if_repeated(plan: TokensPerBatch | Any, what: str) -> None:
    if isinstance(plan, TokensPerBatch):
        rows = len(plan.data_epoch(0))
        if rows < plan.rows_per_batch:
            rank_zero_info(
                f"{what}: {rows:,} rows hold all the data, and a batch takes "
                f"{plan.rows_per_batch:,}: each batch sees the data more than once"
            )


def _say_what_is_left_out(stages: Sequence[StageConfig], parts: list[NDArray[np.float64]]) -> None:
    sizes = ", ".join(f"{int((part > 0).sum()):,}" for part in parts)
    left_out = int((np.sum(parts, axis=0) == 0).sum())
    rank_zero_info(
        f"batches.stages: {len(stages)} entries draw from {sizes} training items"
        + (f"; {left_out:,} items belong to none of them, and are not seen" if left_out else "")
    )
