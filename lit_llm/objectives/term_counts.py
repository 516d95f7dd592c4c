"""How many targets, or what weight of them, each loss term has in a whole optimizer step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lit_llm.batch import PackedBatch


def counts_of_step(
    objective: Any, batch: PackedBatch, terms: Mapping[str, tuple[Tensor, Tensor]]
) -> dict[str, float]:
    """Targets of each term, over all ranks and accumulated batches (docs/decisions/0008).

    Args:
        objective: a LightningModule; one without a trainer sees one batch a step.
        batch: of this rank; ``totals`` says what the whole step has, where it is known.
        terms: the batch's own sums and counts.

    Raises:
        ValueError: the step has more than this batch, and nobody says what.
    """
    trainer = objective._trainer
    if batch.totals:
        local = trainer is not None and _are_local(trainer)
        return _of_all_ranks(batch.totals, objective.device) if local else dict(batch.totals)
    if trainer is not None and trainer.accumulate_grad_batches * trainer.world_size > 1:
        raise ValueError(
            "a loss of several terms has to know how many targets the whole optimizer step has, "
            "and this data module does not say: see PackedDataModule.target_counts"
        )
    return {name: float(count) for name, (_, count) in terms.items()}


def _are_local(trainer: Any) -> bool:
    """Whether a rank's batches know of its own targets alone (docs/decisions/0009)."""
    return getattr(trainer.datamodule, "streams_train", False) and trainer.world_size > 1


def _of_all_ranks(totals: Mapping[str, float], device: torch.device) -> dict[str, float]:
    counts = torch.tensor(list(totals.values()), dtype=torch.float64, device=device)
    torch.distributed.all_reduce(counts)
    return dict(zip(totals, counts.tolist(), strict=True))
