"""Train also on embeddings moved to where the loss grows fastest."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor

from lit_llm.batch import PackedBatch


class AdversarialNoise(Callback):
    """Adds the loss of each training batch on adversarial word embeddings (FGM).

    ``L = L(e) + L(e + r)``, where r is the gradient of L(e) by an example's embeddings e, scaled to
    the length ``epsilon``; no gradient flows through r. A step costs two to three times as much,
    and the gradient is needed down to the embeddings, frozen layers or not.

    Args:
        epsilon: Euclidean length of an example's noise, all its tokens together, above 0.

    Raises:
        ValueError: a length that is not above 0; or a language model.

    Source:
        Miyato et al. 2017, section 3, arXiv:1605.07725. Differs: embeddings are not normalised, as
        is usual with pre-trained encoders.
    """

    def __init__(self, epsilon: float = 1.0) -> None:
        if not epsilon > 0:
            raise ValueError(f"AdversarialNoise.epsilon must be above 0, not {epsilon}")
        self.epsilon = epsilon
        self._pl_module: Any = None
        self._hook: Any = None
        self._embedded: Tensor | None = None
        self._noise: Tensor | None = None

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Take part in the loss."""
        if stage != "fit":
            return
        self._pl_module = pl_module
        pl_module.add_loss_part(self.adversarial_loss)

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Listen to the word embeddings, now that there are some."""
        self._hook = pl_module.backbone.model.get_input_embeddings().register_forward_hook(
            self._embeddings
        )

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: Any, batch: PackedBatch, batch_idx: int
    ) -> None:
        """Forget a batch that had no loss to look at."""
        self._embedded = None

    def teardown(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Leave model and loss as they were."""
        if stage == "fit":
            if self._hook is not None:
                self._hook.remove()
            if self.adversarial_loss in pl_module.loss_parts:
                pl_module.loss_parts.remove(self.adversarial_loss)

    def adversarial_loss(self, batch: PackedBatch, logits: Tensor) -> Tensor:
        """The loss on moved embeddings, summed over targets, ()."""
        assert self._embedded is not None
        total = self._pl_module.loss(logits, batch)[0]
        (gradient,) = torch.autograd.grad(total, self._embedded, retain_graph=True)
        self._noise = self.epsilon * per_example_direction(gradient, batch.segment_ids)
        try:
            moved: Tensor = self._pl_module.loss(self._pl_module.logits(batch), batch)[0]
        finally:
            self._noise = self._embedded = None
        return moved

    def _embeddings(self, module: Any, inputs: Any, output: Tensor) -> Tensor:
        if self._noise is not None:
            return output + self._noise.to(output.dtype)
        first = self._embedded is None  # other parts of the loss may read the batch again
        if first and torch.is_grad_enabled() and self._pl_module.training:
            if not output.requires_grad:  # the embeddings are frozen
                output = output.detach().requires_grad_()
            self._embedded = output
        return output


def per_example_direction(gradient_RLD: Tensor, segment_ids_RL: Tensor) -> Tensor:
    """The gradient of each example scaled to length 1, (R, L, D); 0 on filler and where it is 0.

    Args:
        gradient_RLD: of packed rows.
        segment_ids_RL: which example a token belongs to, -1 for filler.
    """
    gradient = gradient_RLD.float()
    segments = segment_ids_RL + 1  # filler is 0
    squares = gradient.new_zeros(int(segments.max()) + 1)
    squares.index_add_(0, segments.flatten(), gradient.square().sum(-1).flatten())
    scale = squares.clamp(min=1e-24).rsqrt()
    scale[0] = 0.0
    return gradient * scale[segments].unsqueeze(-1)
