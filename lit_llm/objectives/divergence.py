"""The error of a run whose loss or gradient is not finite any more."""

from __future__ import annotations

from torch import nn


class DivergedError(ArithmeticError):
    """The loss or a gradient is not finite; raised on every rank, before the step is made."""


def diverged(model: nn.Module, step: int, loss: float, gradient_norm: float) -> DivergedError:
    """What a user should know of it; the parameters named are those of this rank.

    Args:
        model: after the backward pass.
        step: the optimizer step that is not made, from 1.
        loss: of all ranks.
        gradient_norm: likewise, before clipping.
    """
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    bad = [name for name, gradient in gradients.items() if not gradient.isfinite().all()]
    where = f", first in {bad[0]} (of {len(bad)} parameters)" if bad else ""
    return DivergedError(
        f"training diverged at step {step}: loss {loss}, gradient norm {gradient_norm}{where}; the "
        "step was not made, and the last checkpoint and best/ are from before it. Lower the "
        "learning rate, warm up longer or clip harder"
    )
