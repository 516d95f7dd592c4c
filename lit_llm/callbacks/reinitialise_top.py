"""Forget the highest blocks of a pre-trained model before it is fine-tuned."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities import rank_zero_info


class ReinitialiseTop(Callback):
    """Draws the weights of the highest blocks anew, as the architecture draws them from scratch.

    Once, when a run begins; a resumed run goes on with what it has.

    Args:
        blocks: how many, at least 1.

    Raises:
        ValueError: fewer than one, or more than the model has.

    Source:
        Zhang et al. 2021, "Revisiting few-sample BERT fine-tuning", section 4, arXiv:2006.05987.
    """

    def __init__(self, blocks: int = 1) -> None:
        if blocks < 1:
            raise ValueError(f"ReinitialiseTop.blocks must be at least 1, not {blocks}")
        self.blocks = blocks

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Before DDP takes the first rank's weights for all."""
        if trainer.ckpt_path is not None:
            return
        groups = pl_module.backbone.layer_modules()
        names = [name for name in groups if name.startswith("block ")]
        if self.blocks > len(names):
            raise ValueError(
                f"ReinitialiseTop.blocks = {self.blocks}, but the model has {len(names)}"
            )
        chosen = names[-self.blocks :]
        for module in (inner for name in chosen for top in groups[name] for inner in top.modules()):
            for parameter in module.parameters(recurse=False):
                parameter._is_hf_initialized = False  # type: ignore[attr-defined]
            pl_module.backbone.model._init_weights(module)
        rank_zero_info(f"drawn anew: {', '.join(reversed(chosen))}")
