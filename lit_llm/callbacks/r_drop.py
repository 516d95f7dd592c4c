"""Have two dropout masks agree."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, Trainer
from torch import Tensor

from lit_llm.batch import PackedBatch


class RDrop(Callback):
    """Runs each training batch twice; both losses count, and how far their predictions differ.

    ``L = L(first) + L(second) + alpha / 2 * (KL(first || second) + KL(second || first))`` for each
    target: twice the loss of plain training, and twice its time.

    Args:
        alpha: weight of the difference, at least 0.

    Raises:
        ValueError: a weight below 0; or an objective whose targets have no distribution over
            classes of their own (language models, several labels a text, numbers).

    Source:
        Liang et al. 2021, equation 4, arXiv:2106.14448.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        if not alpha >= 0:
            raise ValueError(f"RDrop.alpha must be at least 0, not {alpha}")
        self.alpha = alpha
        self._pl_module: Any = None

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Take part in the loss."""
        if stage != "fit":
            return
        kind = getattr(pl_module, "problem_type", "single_label_classification")
        if kind != "single_label_classification":
            raise ValueError(f"RDrop compares distributions over classes, which {kind} has not")
        self._pl_module = pl_module
        pl_module.add_loss_part(self.second_pass)

    def teardown(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Leave the loss as it was."""
        if stage == "fit" and self.second_pass in pl_module.loss_parts:
            pl_module.loss_parts.remove(self.second_pass)

    def second_pass(self, batch: PackedBatch, logits: Tensor) -> Tensor:
        """The second pass's loss and the difference, summed over targets, ()."""
        second = self._pl_module.logits(batch)
        total: Tensor = self._pl_module.loss(second, batch)[0]
        return total + self.alpha * symmetric_divergence(
            logits, second, batch.targets.get("weights")
        )


def symmetric_divergence(first: Tensor, second: Tensor, weights: Tensor | None = None) -> Tensor:
    """Half the sum of both Kullback-Leibler divergences, summed over rows, nats.

    Args:
        first: logits, (M, C).
        second: likewise.
        weights: (M,), of each row; default 1.
    """
    one, other = (x.float().log_softmax(-1) for x in (first, second))
    rows = 0.5 * ((one.exp() - other.exp()) * (one - other)).sum(-1)
    return (rows if weights is None else rows * weights).sum()
