"""A last block that goes on for some tokens only, once attention has read them all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

# Their blocks hand attention's result and its input to one module, and behind it every token is
# computed on its own; nothing follows the last block.
_TYPES = frozenset({"bert", "camembert", "electra", "roberta", "xlm-roberta"})


@dataclass
class Reduction:
    """Whether a forward pass ended with the asked tokens' vectors alone."""

    done: bool = False


@contextmanager
def last_block_at(model: PreTrainedModel, positions_M: Tensor) -> Iterator[Reduction]:
    """While this is entered, a forward pass may end with the vectors of some tokens.

    Args:
        model: a base model.
        positions_M: of the tokens in the flattened (R, L) batch, int64.

    Yields:
        After the pass: whether the last hidden states are those tokens' alone, (1, M, D). They are
        all, (R, L, D), where the architecture is not known to allow it, and in a compiled model,
        which passes over the hook.
    """
    reduction = Reduction()
    if not _allows(model):
        yield reduction
        return
    module: nn.Module = model.encoder.layer[-1].attention.output

    def keep(module: nn.Module, states: tuple[Any, ...]) -> tuple[Tensor, ...]:
        reduction.done = True
        return tuple(tensor.flatten(0, 1)[positions_M].unsqueeze(0) for tensor in states)

    handle = module.register_forward_pre_hook(keep)
    try:
        yield reduction
    finally:
        handle.remove()


def _allows(model: PreTrainedModel) -> bool:
    config = model.config
    if config.model_type not in _TYPES or getattr(config, "add_cross_attention", False):
        return False
    if getattr(config, "chunk_size_feed_forward", 0):  # a number of tokens that must divide M
        return False
    # A checkpointed block runs again, without the hook, in the backward pass.
    return not getattr(model.encoder.layer[-1], "gradient_checkpointing", False)
