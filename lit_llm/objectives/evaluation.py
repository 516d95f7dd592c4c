"""One prediction per unit, gathered from windows, batches and ranks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from lit_llm.batch import PackedBatch

AnyMetric = TypeVar("AnyMetric", Metric, MetricCollection)


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
        self._losses: list[Tensor] = []

    def add(self, batch: PackedBatch, probabilities: Tensor, total: Tensor, count: Tensor) -> None:
        """Keep one batch's predictions, (M, C) in the order of its targets, and its loss."""
        units = batch.targets["unit_ids"]
        items = batch.item_ids
        if "positions" in batch.targets:
            items = items[batch.segment_ids.flatten()[batch.targets["positions"]]]
        weights = batch.targets.get("weights", torch.ones_like(units, dtype=torch.float32))
        columns = [column.double().unsqueeze(1) for column in (units, items, weights)]
        self._rows.append(torch.cat([*columns, probabilities.double()], dim=1))
        self._losses.append(torch.stack([total.double(), count.double()]))

    def gather(self, num_units: int, partial: bool = False) -> Predictions:
        """Every rank's rows joined: the same answer, bit by bit, on any number of ranks.

        Args:
            num_units: U of the split.
            partial: whether windows may be missing (a trainer with limited batches). A unit that
                lacks one counts as not evaluated.

        Raises:
            RuntimeError: a unit was not predicted, or its windows' weights do not sum to 1.
        """
        rows, losses = self._joined()
        table = rows.numpy()
        table = table[np.argsort(table[:, 1], kind="stable")]  # sums do not depend on the ranks
        units = table[:, 0].astype(np.int64)
        probabilities = np.zeros((num_units, table.shape[1] - 3))
        windows = np.zeros(num_units, np.int64)
        items = np.full(num_units, -1, np.int64)
        weights = np.zeros(num_units)
        np.add.at(probabilities, units, table[:, 3:] * table[:, 2:3])
        np.add.at(windows, units, 1)
        np.add.at(weights, units, table[:, 2])
        items[units] = table[:, 1].astype(np.int64)
        missing, repeated = weights < 1.0 - 1e-3, weights > 1.0 + 1e-3
        wrong = int((repeated if partial else missing | repeated).sum())
        if wrong:
            raise RuntimeError(f"{wrong} of {num_units} units were not predicted exactly once")
        probabilities[missing], windows[missing], items[missing] = 0.0, 0, -1
        total, count = (math.fsum(column) for column in losses.T.tolist())
        return Predictions(probabilities, windows, items, total / count if count > 0 else total)

    def _joined(self) -> tuple[Tensor, Tensor]:
        """All ranks' rows, (rows, 3 + C), and their batches' (sum, count), (batches, 2)."""
        rows = torch.cat(self._rows) if self._rows else torch.zeros(0, 3, dtype=torch.float64)
        losses = torch.zeros(0, 2, dtype=torch.float64)
        if self._losses:
            losses = torch.stack(self._losses)
        own = (rows.cpu(), losses.cpu())
        gathered = [own]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            gathered = [own] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(gathered, own)
        # A rank that had nothing does not know C.
        filled = [part for part, _ in gathered if len(part)] or [own[0]]
        return torch.cat(filled), torch.cat([part for _, part in gathered])


def on_every_rank(metric: AnyMetric) -> AnyMetric:
    """The metric, computed by each rank from all predictions, which ``gather`` gave it.

    Left alone, torchmetrics would add the ranks' states up and count every example once a rank.
    """
    parts = metric.values() if isinstance(metric, MetricCollection) else [metric]
    for part in parts:
        part.distributed_available_fn = _never
    return metric


def _never() -> bool:
    return False
