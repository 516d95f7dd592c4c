"""Mix fine-tuned weights with those they started from, at random, in each forward pass."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn

from lit_llm.callbacks.kept_weights import kept_or_copied


class Mixout(Callback):
    """Replaces each weight of the blocks' linear layers by its starting value with a probability.

    Only while training, and scaled so that the expected weight is the fine-tuned one:
    ``((1 - m) w + m w0 - p w0) / (1 - p)`` with m = 1 at probability p. Meant in place of dropout:
    set ``backbone.hidden_dropout`` to 0 with it. The starting values are kept in checkpoints, which
    it makes larger by these weights.

    Args:
        prob: p, in (0, 1).

    Raises:
        ValueError: a probability outside (0, 1); or blocks without linear layers (GPT-2's are
            convolutions).

    Source:
        Lee et al. 2020, equation 4, arXiv:1909.11299.
    """

    def __init__(self, prob: float = 0.7) -> None:
        if not 0 < prob < 1:
            raise ValueError(f"Mixout.prob must lie in (0, 1), not {prob}")
        self.prob = prob
        self._start: dict[str, Tensor] = {}
        self._changed: list[nn.Linear] = []

    def state_dict(self) -> dict[str, Any]:
        """The weights that the run started from."""
        return {"start": self._start}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """A resumed run mixes with the same weights."""
        self._start = dict(state_dict["start"])

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Have the linear layers mix, without another name for any weight."""
        blocks = {
            inner: None
            for name, modules in pl_module.backbone.layer_modules().items()
            if name.startswith("block ")
            for module in modules
            for inner in module.modules()
        }
        named = {name: m for name, m in pl_module.named_modules() if m in blocks}
        linear = {name: m for name, m in named.items() if type(m) is nn.Linear}
        if not linear:
            raise ValueError("Mixout: the blocks have no linear layers")
        weights = {name: module.weight for name, module in linear.items()}
        self._start = kept_or_copied(self._start, weights)
        for name, module in linear.items():
            module.__class__ = _MixedLinear
            module.start, module.prob = self._start[name], self.prob  # type: ignore[assignment]
        self._changed = list(linear.values())

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Leave plain linear layers behind."""
        self._restore()

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        """Likewise."""
        self._restore()

    def _restore(self) -> None:
        for module in self._changed:
            module.__class__ = nn.Linear
            del module.start, module.prob
        self._changed = []


class _MixedLinear(nn.Linear):
    """A linear layer whose weights are mixed with ``start`` while it trains."""

    start: Tensor
    prob: float

    def forward(self, input: Tensor) -> Tensor:
        weight: Tensor = self.weight
        if self.training:
            weight = mixed(weight, self.start, torch.rand_like(weight) < self.prob, self.prob)
        return nn.functional.linear(input, weight, self.bias)


def mixed(weight: Tensor, start: Tensor, chosen: Tensor, prob: float) -> Tensor:
    """The mixed weight, of the weights' shape.

    Args:
        weight: fine-tuned.
        start: where it came from; receives no gradient.
        chosen: bool, where the starting value stands.
        prob: with which it was chosen.
    """
    return (torch.where(chosen, start, weight) - prob * start) / (1 - prob)
