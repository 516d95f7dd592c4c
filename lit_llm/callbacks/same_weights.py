"""Are the weights still the same on every rank?"""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.distributed.tensor import DTensor


class SameWeights(Callback):
    """Compares a checksum of each parameter over the ranks, and stops a run whose ranks differ.

    Data-parallel ranks that drift apart train on as if nothing were wrong. Nothing is compared on
    a single rank, nor where each rank holds a piece of a parameter (FSDP).

    Args:
        every_n_steps: optimizer steps between comparisons.
    """

    def __init__(self, every_n_steps: int = 100) -> None:
        if every_n_steps < 1:
            raise ValueError(f"SameWeights.every_n_steps must be at least 1, not {every_n_steps}")
        self.every_n_steps = every_n_steps
        self._compared = 0

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Compare after every so many steps.

        Raises:
            RuntimeError: names the parameters that differ; raised on every rank.
        """
        step = trainer.global_step
        if trainer.world_size == 1 or step % self.every_n_steps or step == self._compared:
            return
        self._compared = step
        named = [(n, p) for n, p in pl_module.named_parameters() if not isinstance(p, DTensor)]
        if not named:
            return
        own = torch.stack([checksum(p) for _, p in named])
        lowest, highest = own.clone(), own.clone()
        torch.distributed.all_reduce(lowest, torch.distributed.ReduceOp.MIN)
        torch.distributed.all_reduce(highest, torch.distributed.ReduceOp.MAX)
        differing = [n for (n, _), d in zip(named, (lowest != highest).tolist(), strict=True) if d]
        if differing:
            shown = ", ".join(differing[:5])
            raise RuntimeError(
                f"after step {step} the ranks' weights differ in {len(differing)} of {len(named)} "
                f"parameters: {shown}{', ...' if len(differing) > 5 else ''}"
            )


def checksum(parameter: Tensor) -> Tensor:
    """A number of the parameter's bits, the same for the same bits on any device, (), int64.

    The 32-bit words (16-bit, for types of that size) are summed with weights 1, 2, ..., 65536, 1,
    ..., modulo 2^64.
    """
    word = {2: torch.int16, 4: torch.int32, 8: torch.int64}.get(
        parameter.element_size(), torch.int8
    )
    bits = parameter.detach().contiguous().view(word).flatten()
    weights = torch.arange(1, 65537, device=bits.device)
    blocks = torch.nn.functional.pad(bits, (0, -len(bits) % len(weights))).view(-1, len(weights))
    return (blocks.sum(0, dtype=torch.int64) * weights).sum()
