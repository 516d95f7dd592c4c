"""A shallower model from some of a deeper one's blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedModel

from lit_llm.backbone.layer_groups import block_lists

KEY = "backbone.keep_layers"


def keep_layers(model: PreTrainedModel, layers: Sequence[int]) -> None:
    """Leave out all blocks of a base model but these, and settle its configuration.

    Args:
        model: a base model with its weights.
        layers: the blocks that stay, from 0, upwards.

    Raises:
        ValueError: there is no such block, one is named twice or out of order, none is named, or
            the model's layers share their weights.

    Source:
        Sanh et al. 2019, section 3, arXiv:1910.01108 (one block of two).
    """
    config = model.config
    count = config.num_hidden_layers
    _, lists = block_lists(model, count)
    if len(lists[0]) != count:
        raise ValueError(
            f"{KEY}: the {count} layers of {config.model_type} share {len(lists[0])} sets of "
            "weights, of which none can be left out"
        )
    if (
        not layers
        or list(layers) != sorted(set(layers))
        or not 0 <= layers[0] <= layers[-1] < count
    ):
        raise ValueError(
            f"{KEY}: {list(layers)} does not fit: name some of the blocks 0 to {count - 1}, each "
            "once, in order"
        )
    blocks: Any
    for blocks in lists:
        kept = [blocks[layer] for layer in layers]
        del blocks[:]
        blocks.extend(kept)
        for place, block in enumerate(kept):
            for module in block.modules():
                if hasattr(module, "layer_idx"):
                    module.layer_idx = place
    config.num_hidden_layers = len(layers)
    if getattr(config, "layer_types", None):
        config.layer_types = [config.layer_types[layer] for layer in layers]
