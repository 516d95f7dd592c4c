"""A narrower model from slices of a wider one's weights."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from lit_llm.backbone.block_parts import BLOCK_PARTS
from lit_llm.backbone.building import build_model
from lit_llm.backbone.keep_width import (
    KeepWidth,
    intermediate_size,
    key_value_heads,
    narrow_config,
)
from lit_llm.backbone.layer_groups import block_lists
from lit_llm.backbone.packed_inputs import max_positions

# By parameter: the axis along which a block's heads or neurons lie, and what is kept of it.
_Inside = dict[str, tuple[int, Tensor]]


def narrowed(
    model: PreTrainedModel,
    head: nn.Module | None,
    width: KeepWidth,
    task: Any,
    attention: str | None,
) -> tuple[PreTrainedModel, nn.Module | None]:
    """A base model and its head, of whose weights only a part is kept, each part in its order.

    - Of the hidden dimensions, the same in the whole model and its head, those of largest mean
      absolute value in the hidden states of a text of random words, all layers counted alike.
    - Of each block's heads, those whose part of the output projection has the largest norm; heads
      that share a key and a value stay or go together.
    - Of each block's neurons, those whose norms of weights in and out have the largest product.

    What reads d of D hidden dimensions is multiplied by sqrt(D / d), so that sums over them stay
    as large as they were: the norms see to the size of each dimension, not to their number. The
    output layer of a language model that is tied to the embeddings is not.

    Args:
        model: a base model with its weights; it is not to be used afterwards.
        head: what belongs to it, None without.
        width: of the new model.
        task: the ``AutoModel...`` class the two were built for.
        attention: name of the attention implementation; None lets transformers choose.

    Raises:
        ValueError: as ``narrow_config``.

    Source:
        Samragh et al. 2023, arXiv:2312.09299, weight subcloning. Differs: random words instead of
        data; heads and neurons are ranked by their weights, and what reads them is not rescaled,
        so that leaving out those that do nothing changes nothing.
    """
    config = narrow_config(model.config, width)
    narrow, narrow_head, _ = build_model(task, config, None, attention)
    inside = _inside_blocks(model, config)
    kept_D = _kept_dimensions(model, config.hidden_size)
    embeddings = model.get_input_embeddings().weight
    _fill(narrow, model, kept_D, inside, embeddings)
    if head is not None and narrow_head is not None:
        _fill(narrow_head, head, kept_D, {}, embeddings)
    return narrow, narrow_head


@torch.no_grad()
def _inside_blocks(model: PreTrainedModel, narrow: PreTrainedConfig) -> _Inside:
    """What each block keeps of its heads and neurons."""
    layers, units = BLOCK_PARTS[narrow.model_type], key_value_heads(model.config)
    inside: _Inside = {}
    _, lists = block_lists(model, model.config.num_hidden_layers)
    names = {id(module): name for name, module in model.named_modules()}

    def keep(layer: nn.Module, kept: Tensor, *, out: bool) -> None:
        axis = int(out == isinstance(layer, Conv1D))  # whose weight is (in, out)
        inside[f"{names[id(layer)]}.weight"] = (axis, kept)
        if out:
            inside[f"{names[id(layer)]}.bias"] = (0, kept)

    for block in lists[0]:
        output = block.get_submodule(layers.from_heads)
        by_unit = _weight(output).T.reshape(units, -1)
        heads = _largest(by_unit.norm(dim=1), key_value_heads(narrow))
        keep(output, _entries(_weight(output).shape[1], units, heads), out=False)
        for name in layers.to_heads:
            layer = block.get_submodule(name)
            entries = _entries(_weight(layer).shape[0], units, heads, layers.fused)
            keep(layer, entries, out=True)

        output = block.get_submodule(layers.from_neurons)
        inputs = [block.get_submodule(name) for name in layers.to_neurons]
        into = torch.cat([_weight(layer) for layer in inputs], 1)
        norms = into.norm(dim=1) * _weight(output).norm(dim=0)
        neurons = _largest(norms, intermediate_size(narrow))
        keep(output, neurons, out=False)
        for layer in inputs:
            keep(layer, neurons, out=True)
    return inside


@torch.no_grad()
def _kept_dimensions(model: PreTrainedModel, count: int) -> Tensor:
    """The hidden dimensions of the narrower model, (d), upwards."""
    config = model.config
    if count == config.hidden_size:
        return torch.arange(count)
    shape = (16, min(64, max_positions(config) or 64))
    ids_RL = torch.randint(config.vocab_size, shape, generator=torch.Generator().manual_seed(0))
    model.eval().set_attn_implementation("eager")  # segments would need their layout
    output = model(
        input_ids=ids_RL, attention_mask=torch.ones_like(ids_RL), output_hidden_states=True
    )
    means_D = [hidden_RLD.abs().mean((0, 1)) for hidden_RLD in output.hidden_states]
    return _largest(torch.stack([mean_D / mean_D.mean() for mean_D in means_D]).sum(0), count)


def _fill(
    narrow: nn.Module, wide: nn.Module, kept_D: Tensor, inside: _Inside, embeddings: Tensor
) -> None:
    """Copy slices of a module's weights into a narrower one of the same parts.

    Which axes are sliced shows in the shapes of the two; any but a block's own is hidden.
    """
    shapes = {name: tensor.shape for name, tensor in narrow.state_dict().items()}
    reads = {
        f"{name}.weight": int(not isinstance(layer, Conv1D))
        for name, layer in wide.named_modules()
        if isinstance(layer, (nn.Linear, Conv1D)) and layer.weight is not embeddings
    }
    state = wide.state_dict()
    for name, tensor in state.items():
        own_axis, own = inside.get(name, (None, kept_D))
        for axis, size in enumerate(shapes[name]):
            if (before := tensor.shape[axis]) == size:
                continue
            tensor = tensor.index_select(axis, own if axis == own_axis else kept_D)
            if axis == reads.get(name) and axis != own_axis:
                tensor = tensor * math.sqrt(before / size)
        state[name] = tensor
    narrow.load_state_dict(state)


def _weight(layer: Any) -> Tensor:
    """Of a linear layer, (out, in)."""
    weight: Tensor = layer.weight
    return weight.T if isinstance(layer, Conv1D) else weight


def _entries(size: int, units: int, kept: Tensor, parts: int = 1) -> Tensor:
    """The places of some of ``units`` equal units, which stand one after the other in each part."""
    return torch.arange(size).view(parts, units, -1)[:, kept].flatten()


def _largest(importance: Tensor, count: int) -> Tensor:
    """Where the largest values stand, upwards; of equal ones the first."""
    order = torch.argsort(importance, descending=True, stable=True)
    return order[:count].sort().values
