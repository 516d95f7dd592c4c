"""Copies of weights that a callback holds, and that checkpoints hand on."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def kept_or_copied(kept: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a checkpoint brought of each weight, else a copy of it; on the weights' devices.

    Args:
        kept: by name; there may be none.
        weights: the module's own, by name.
    """
    return {
        name: kept.get(name, weight.detach()).clone().to(weight.device)
        for name, weight in weights.items()
    }
