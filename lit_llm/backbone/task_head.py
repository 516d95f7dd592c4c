"""A transformers task model, cut in two: the base model, and the head that runs on vectors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPoolingAndCrossAttentions

_ALWAYS_POOL = frozenset({"layoutlm", "squeezebert"})


class TaskHead(nn.Module):
    """Transformers' own task head, run on gathered hidden vectors.

    It holds the whole task model except its base model, in whose place stands a module that hands
    on the vectors it is given. So classifier, dropout, dense layers and pooler compute exactly
    what they do in the plain model, each vector standing for a text of one token.

    Args:
        task_model: e.g. ``BertForTokenClassification``; its base model is taken out (``base``).
    """

    def __init__(self, task_model: PreTrainedModel) -> None:
        super().__init__()
        self.base_name: str = task_model.base_model_prefix
        base = task_model.base_model
        if base is task_model:
            raise ValueError(f"{type(task_model).__name__} keeps no base model of its own")
        pooler = take_pooler(base)
        activation = getattr(base, "pooler_activation", None)
        setattr(task_model, self.base_name, _GivenStates(pooler, activation))
        self.task_model = task_model

    def forward(self, hidden_MD: Tensor) -> Tensor:
        """Scores of M gathered vectors.

        Args:
            hidden_MD: (M, D), M may be 0.

        Returns:
            (M, C): classes, or the vocabulary for a language-modelling head.
        """
        hidden_M1D = hidden_MD.unsqueeze(1)
        # Decoders' heads look for the last token that is no padding: of one token, the first.
        input_ids = torch.zeros(hidden_M1D.shape[:2], dtype=torch.long, device=hidden_MD.device)
        output = self.task_model(input_ids=input_ids, inputs_embeds=hidden_M1D)
        # A model for pre-training has two kinds of logits, of words and of sentences.
        logits: Tensor = output.get("prediction_logits", output.get("logits"))
        return logits.flatten(0, -2)

    @contextmanager
    def joined(self, base: PreTrainedModel) -> Iterator[PreTrainedModel]:
        """The whole task model again, for as long as the context lasts."""
        states = getattr(self.task_model, self.base_name)
        if states.pooler is not None:
            base.pooler = states.pooler
        setattr(self.task_model, self.base_name, base)
        try:
            yield self.task_model
        finally:
            take_pooler(base)
            setattr(self.task_model, self.base_name, states)


class LinearHead(nn.Module):
    """Dropout and a linear layer, where transformers has no head for an architecture.

    Args:
        config: gives D, the number of labels and the dropout probability.
    """

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__()
        probabilities = (
            getattr(config, name, None)
            for name in ("classifier_dropout", "hidden_dropout_prob", "hidden_dropout", "dropout")
        )
        self.dropout = nn.Dropout(next((p for p in probabilities if p is not None), 0.1))
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        nn.init.normal_(self.classifier.weight, std=getattr(config, "initializer_range", 0.02))
        nn.init.zeros_(self.classifier.bias)

    def forward(self, hidden_MD: Tensor) -> Tensor:
        """Scores of M gathered vectors: (M, D) to (M, C)."""
        return self.classifier(self.dropout(hidden_MD))  # type: ignore[no-any-return]


def take_pooler(base: PreTrainedModel) -> nn.Module | None:
    """Remove a base model's pooler: hidden states do not need it, so it would get no gradient."""
    pooler: nn.Module | None = getattr(base, "pooler", None)
    if pooler is None or isinstance(pooler, _NoPooler):
        return None
    always = base.config.model_type in _ALWAYS_POOL
    base.register_module("pooler", _NoPooler() if always else None)
    return pooler


def freeze_unused(head: nn.Module, hidden_size: int) -> None:
    """Freeze what no score depends on, such as a pooler the head ignores (BigBird).

    Parameters that take part in the optimizer and never get a gradient stop plain DDP.
    """
    head.eval()  # no random numbers are drawn
    parameters = list(head.parameters())
    first_1D = parameters[0].new_zeros(1, hidden_size)
    total: Tensor = head(first_1D).sum()
    sentence: nn.Module | None = getattr(head, "sentence", None)
    if sentence is not None:
        total = total + sentence(first_1D).sum()
    gradients = torch.autograd.grad(total, parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient is None:
            parameter.requires_grad_(False)


class _NoPooler(nn.Module):
    """Where a base model calls its pooler without asking whether it has one."""

    def forward(self, hidden_states: Tensor) -> None:
        return None


class _GivenStates(nn.Module):
    """Stands where the base model stood and returns the hidden states it is given."""

    def __init__(self, pooler: nn.Module | None, pooler_activation: nn.Module | None) -> None:
        super().__init__()
        self.pooler = pooler
        self.pooler_activation = pooler_activation

    @property
    def decoder(self) -> nn.Module:
        """OPT's language model asks its base model's decoder."""
        return self

    def forward(
        self, *args: Any, inputs_embeds: Tensor, **kwargs: Any
    ) -> BaseModelOutputWithPoolingAndCrossAttentions:
        pooled = None
        if self.pooler is not None and self.pooler_activation is not None:  # ALBERT's is two parts
            pooled = self.pooler_activation(self.pooler(inputs_embeds[:, 0]))
        elif self.pooler is not None:
            pooled = self.pooler(inputs_embeds)
        return BaseModelOutputWithPoolingAndCrossAttentions(
            last_hidden_state=inputs_embeds, pooler_output=pooled
        )
