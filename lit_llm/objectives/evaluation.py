"""What an evaluation epoch gathers from batches and ranks: predictions, or sums."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from lit_llm.batch import PackedBatch

AnyMetric = TypeVar("AnyMetric", Metric, MetricCollection)


class Evaluation(Protocol):
    """Collects an evaluation epoch on each rank, and gives all of them the same result."""

    def add(self, batch: PackedBatch, /) -> None:
        """Take in one batch, which may hold no example."""

    def result(self, data: Any, split: str, partial: bool) -> dict[str, Any]:
        """``metrics``, ``tables``, ``text`` and ``records`` of the split.

        Args:
            data: the data module.
            split: ``val`` or ``test``.
            partial: batches may be missing (a trainer with limits).
        """


class UnitEvaluation:
    """One prediction per unit (word, text), scored by the objective's own ``score``."""

    def __init__(self, objective: Any) -> None:
        self._objective = objective
        self._collector = PredictionCollector()

    def add(self, batch: PackedBatch, /) -> None:
        """Predict one batch."""
        logits = self._objective.logits(batch)
        if batch.num_examples == 0:
            return
        total, count = self._objective.loss(logits, batch)
        self._collector.add(batch, self._objective.probabilities(logits), total, count)

    def result(self, data: Any, split: str, partial: bool) -> dict[str, Any]:
        """The objective's scores, the mean loss first."""
        predictions = self._collector.gather(data.num_units(split), partial)
        result: dict[str, Any] = self._objective.score(predictions, data.examples(split))
        result["metrics"] = {"loss": predictions.loss, **result["metrics"]}
        return result


class SummedEvaluation:
    """Sums over a split that metrics are made of: nothing is kept of a single prediction.

    Args:
        sums: of a batch, by name: scalars; a batch without examples gives the same names.
        metrics: from the sums over all batches of all ranks, to named numbers.
    """

    def __init__(
        self,
        sums: Callable[[PackedBatch], dict[str, Tensor]],
        metrics: Callable[[dict[str, float]], dict[str, float]],
    ) -> None:
        self._sums, self._metrics = sums, metrics
        self._rows: list[dict[str, float]] = []

    def add(self, batch: PackedBatch, /) -> None:
        """Take in one batch."""
        self._rows.append({name: float(value) for name, value in self._sums(batch).items()})

    def result(self, data: Any, split: str, partial: bool) -> dict[str, Any]:
        """The metrics; exactly rounded sums, so they do not depend on the number of ranks."""
        rows = [row for rank in gathered(self._rows) for row in rank]
        names = rows[0] if rows else {}
        totals = {name: math.fsum(row[name] for row in rows) for name in names}
        return {"metrics": self._metrics(totals), "tables": {}, "text": "", "records": []}


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
        parts = gathered((rows.cpu(), losses.cpu()))
        # A rank that had nothing does not know C.
        filled = [part for part, _ in parts if len(part)] or [rows.cpu()]
        return torch.cat(filled), torch.cat([part for _, part in parts])


def mean_surprise(probabilities: np.ndarray) -> float:
    """Minus the mean log probability, nats, to six places; finite where one is 0, 0 for none."""
    if not len(probabilities):
        return 0.0
    return round(float(-np.log(np.maximum(probabilities, 1e-12)).mean()), 6)


def gathered(own: Any) -> list[Any]:
    """Every rank's object, in the order of the ranks, on each of them."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [own]
    parts = [own] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, own)
    return parts


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
