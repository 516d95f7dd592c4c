"""Hold fine-tuned weights near those they started from."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lit_llm.callbacks.kept_weights import kept_or_copied


class L2SP(Callback):
    """After each optimizer step, pulls the backbone to its starting point and the head to zero.

    ``w <- w - lr * alpha * (w - w0)`` for the backbone's weights and ``w <- w - lr * beta * w`` for
    all others, with each parameter group's own rate. Set ``optimizer.weight_decay`` to 0 with it.
    What is frozen stays where it is. The starting point is kept in checkpoints, which it makes
    larger by the backbone's size.

    Args:
        alpha: strength of the pull to the starting point, at least 0.
        beta: strength of the pull to zero, at least 0.

    Raises:
        ValueError: a strength below 0.

    Source:
        Li et al. 2018, equation 2, arXiv:1802.01483. Differs: the pull is apart from the loss's
        gradient (as AdamW's decay is, Loshchilov and Hutter 2019), so Adam does not rescale it.
    """

    def __init__(self, alpha: float = 0.1, beta: float = 0.01) -> None:
        for name, value in (("alpha", alpha), ("beta", beta)):
            if not value >= 0:
                raise ValueError(f"L2SP.{name} must be at least 0, not {value}")
        self.alpha, self.beta = alpha, beta
        self._start: dict[str, Tensor] = {}
        self._rates: dict[Tensor, float] = {}

    def state_dict(self) -> dict[str, Any]:
        """The weights that the run started from."""
        return {"start": self._start}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """A resumed run is pulled to the same place."""
        self._start = dict(state_dict["start"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember the starting point, unless a checkpoint brought it."""
        backbone = {n: p for n, p in pl_module.named_parameters() if n.startswith("backbone.")}
        self._start = kept_or_copied(self._start, backbone)
        self._rates = {}

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """The rates of this step, for what learns in it."""
        self._rates = {
            parameter: group["lr"]
            for group in optimizer.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        }

    @torch.no_grad()
    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Pull, once after each step."""
        for name, parameter in pl_module.named_parameters():
            rate = self._rates.get(parameter)
            if rate is None:
                continue
            if name in self._start:
                parameter.lerp_(self._start[name], rate * self.alpha)
            else:
                parameter.mul_(1 - rate * self.beta)
        self._rates = {}
