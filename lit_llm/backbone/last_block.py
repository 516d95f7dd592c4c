"""A last block that goes on for some tokens only, once attention has read them all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

# Their blocks hand attention's result and its input to one module, and behind it every token is
# computed on its own; nothing follows the last block.
_TYPES = frozenset({"bert", "camembert", "electra", "roberta", "xlm-roberta"})


@contextmanager
def last_block_at(model: PreTrainedModel, positions_M: Tensor) -> Iterator[bool]:
    """While this is entered, a forward pass ends with the vectors of some tokens.

    Args:
        model: a base model.
        positions_M: of the tokens in the flattened (R, L) batch, int64.

    Yields:
        Whether the last hidden states are those tokens' alone, (1, M, D); else, where the
        architecture is not known to allow it, all of them, (R, L, D).
    """
    if not _allows(model):
        yield False
        return
    module: nn.Module = model.encoder.layer[-1].attention.output

    def keep(module: nn.Module, states: tuple[Any, ...]) -> tuple[Tensor, ...]:
        return tuple(tensor.flatten(0, 1)[positions_M].unsqueeze(0) for tensor in states)

    handle = module.register_forward_pre_hook(keep)
    try:
        yield True
    finally:
        handle.remove()


def _allows(model: PreTrainedModel) -> bool:
    config = model.config
    if config.model_type not in _TYPES or getattr(config, "add_cross_attention", False):
        return False
    # A checkpointed block runs again without the hook, and a compiled one may not see it.
    again = getattr(model.encoder.layer[-1], "gradient_checkpointing", False)
    return not again and not torch.compiler.is_compiling()
