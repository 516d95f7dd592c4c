"""Score and keep an average of the weights in place of the last ones."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lit_llm.callbacks.best_model import BestModel
from lit_llm.callbacks.kept_weights import kept_or_copied


class AveragedWeights(Callback):
    """Averages the weights over optimizer steps; the development set is scored with the average.

    So ``best/`` holds averaged weights. Training itself goes on with the last ones, and checkpoints
    hold both.

    Args:
        decay: of an exponential average, in (0, 1): ``decay * average + (1 - decay) * weights``;
            None for equal parts of all steps.
        start_step: the first optimizer step whose weights count; until then the average is the
            weights.

    Raises:
        ValueError: a decay outside (0, 1), or a step below 0; no development set to choose with;
            or a ``BestModel`` that would come too late.

    Source:
        Equal parts: Izmailov et al. 2018, arXiv:1803.05407; differs: the rate keeps to its
        schedule, and there is no batch norm to compute anew. Exponential: Polyak and Juditsky 1992.
    """

    def __init__(self, decay: float | None = 0.999, start_step: int = 0) -> None:
        if decay is not None and not 0 < decay < 1:
            raise ValueError(f"AveragedWeights.decay must lie in (0, 1), not {decay}")
        if start_step < 0:
            raise ValueError(f"AveragedWeights.start_step must be at least 0, not {start_step}")
        self.decay, self.start_step = decay, start_step
        self._kept: dict[str, Tensor] = {}  # the average; the last weights while it is scored
        self._scoring = False
        self._counted = 0
        self._weights: dict[str, Tensor] = {}  # the module's own, by name

    def state_dict(self) -> dict[str, Any]:
        """The average, and of how many steps it is."""
        average = self._weights if self._scoring else self._kept
        return {
            "average": {name: weight.detach().clone() for name, weight in average.items()},
            "counted": self._counted,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint's average."""
        self._kept, self._counted = dict(state_dict["average"]), state_dict["counted"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Before the first step the average is the weights."""
        self._scoring = False
        self._weights = dict(pl_module.named_parameters())
        self._kept = kept_or_copied(self._kept, self._weights)
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        if trainer.limit_val_batches == 0 or not data.has_split("val"):
            raise ValueError("AveragedWeights: there is no development set to choose the best with")
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        later = callbacks[callbacks.index(self) :]
        if any(isinstance(callback, BestModel) for callback in later):
            raise ValueError("AveragedWeights: give the trainer BestModel before it, not after it")

    @torch.no_grad()
    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Take a step's weights in."""
        steps = max(trainer.global_step - self.start_step, 0)
        if trainer.global_step and steps == self._counted and steps:
            return  # a batch within an accumulation window
        share = 1.0
        if steps > 0:
            share = 1 / steps if self.decay is None else 1 - self.decay
        self._counted = steps
        for name, weight in self._weights.items():
            self._kept[name].lerp_(weight, share)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The average takes the weights' place."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._exchange()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The weights come back."""
        if self._scoring:
            self._exchange()

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """A run stopped while it is scored goes on with its own weights."""
        if self._scoring:
            checkpoint["state_dict"] |= {n: kept.clone() for n, kept in self._kept.items()}

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, weight in self._weights.items():
            other = self._kept[name].clone()
            self._kept[name].copy_(weight)
            weight.copy_(other)
        self._scoring = not self._scoring
