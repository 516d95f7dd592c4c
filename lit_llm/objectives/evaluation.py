"""One prediction per unit, gathered from windows, batches and ranks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lit_llm.batch import PackedBatch


@dataclass(frozen=True)
class Predictions:
    """What a split's units (words, reviews) were predicted to be.

    Attributes:
        probabilities: (U, C), float64: the weighted mean over a unit's windows.
        windows: (U,), int64: windows a unit was read in; 0 where it was not evaluated.
        items: (U,), int64: the item a unit was read in (the last of its windows'); -1 if none.
        loss: mean loss per counted target.
    """

    probabilities: np.ndarray
    windows: np.ndarray
    items: np.ndarray
    loss: float


class PredictionCollector:
    """Collects (unit, item, weight, probabilities) rows of an evaluation epoch on each rank."""

    def __init__(self) -> None:
        self._rows: list[Tensor] = []
        self._loss = torch.zeros(2, dtype=torch.float64)

    def add(self, batch: PackedBatch, probabilities: Tensor, total: Tensor, count: Tensor) -> None:
        """Keep one batch's predictions, (M, C) in the order of its targets, and its loss."""
        units = batch.targets["unit_ids"]
        items = batch.item_ids
        if "positions" in batch.targets:
            items = items[batch.segment_ids.flatten()[batch.targets["positions"]]]
        weights = batch.targets.get("weights", torch.ones_like(units, dtype=torch.float32))
        columns = [column.double().unsqueeze(1) for column in (units, items, weights)]
        self._rows.append(torch.cat([*columns, probabilities.double()], dim=1))
        self._loss += torch.stack([total, count]).double().cpu()

    def gather(self, num_units: int, partial: bool = False) -> Predictions:
        """Every rank's rows joined: the same answer on every rank.

        Args:
            num_units: U of the split.
            partial: whether units may be missing (a trainer with limited batches).

        Raises:
            RuntimeError: a unit was not predicted, or its windows' weights do not sum to 1.
        """
        rows = torch.cat(self._rows) if self._rows else torch.zeros(0, 0, dtype=torch.float64)
        loss = self._loss
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            rows, loss = _gather_ranks(rows, loss)
        table = rows.cpu().numpy()
        width = max(table.shape[1] - 3, 0)
        probabilities = np.zeros((num_units, width))
        windows = np.zeros(num_units, np.int64)
        items = np.full(num_units, -1, np.int64)
        weights = np.zeros(num_units)
        if len(table):
            units = table[:, 0].astype(np.int64)
            np.add.at(probabilities, units, table[:, 3:] * table[:, 2:3])
            np.add.at(windows, units, 1)
            np.add.at(weights, units, table[:, 2])
            items[units] = table[:, 1].astype(np.int64)
        wrong = int((np.abs(weights - 1.0) > 1e-3).sum())
        if wrong and not partial:
            raise RuntimeError(f"{wrong} of {num_units} units were not predicted exactly once")
        mean = loss[0] / loss[1] if loss[1] > 0 else loss[0]
        return Predictions(probabilities, windows, items, float(mean))


def _gather_ranks(rows: Tensor, loss: Tensor) -> tuple[Tensor, Tensor]:
    """All ranks' rows, joined in rank order; losses and counts added."""
    gathered: list[tuple[Tensor, Tensor]] = [(rows, loss)] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(gathered, (rows.cpu(), loss))
    full = [part for part, _ in gathered if part.numel()]
    joined = torch.cat(full) if full else rows
    return joined, torch.stack([part for _, part in gathered]).sum(0)
