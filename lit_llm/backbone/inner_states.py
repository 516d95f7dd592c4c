"""What goes on inside a transformer while it reads a batch: hidden states and attention."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from lit_llm.backbone.backbone import Backbone
from lit_llm.backbone.layer_groups import block_lists


class Heads(NamedTuple):
    """What one layer's attention is made of; the query's dot products with keys are scaled."""

    query: Tensor  # (R, N, L, H)
    key: Tensor  # (R, N', L, H), N' dividing N
    value: Tensor  # as the key
    scaling: float


@dataclass
class InnerStates:
    """In the order in which the layers ran.

    Attributes:
        hidden: what enters the first block, then what leaves each, (R, L, D).
        heads: of each layer's attention.
    """

    hidden: list[Tensor] = field(default_factory=list)
    heads: list[Heads] = field(default_factory=list)


@contextmanager
def inner_states(backbone: Backbone, heads: bool = True) -> Iterator[InnerStates]:
    """While this is entered, one forward pass of the backbone fills what is yielded.

    What ``Backbone.at`` leaves out of the last block is computed after all.

    Args:
        backbone: built.
        heads: attention is looked at, too.

    Raises:
        ValueError: not built yet, an architecture that keeps a layer in several parts, or attention
            that shows nothing (``eager``, or an architecture with attention of its own).
    """
    if backbone.model is None:
        raise ValueError("call build() before looking into the backbone")
    model, states = backbone.model, InnerStates()
    _, lists = block_lists(model, model.config.num_hidden_layers)
    if len(lists) > 1:
        raise ValueError(f"{model.config.model_type} keeps each layer in {len(lists)} parts")
    blocks = lists[0]

    def enters(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not states.hidden:
            states.hidden.append(args[0] if args else kwargs["hidden_states"])

    def leaves(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        states.hidden.append(output[0] if isinstance(output, tuple) else output)

    handles = [blocks[0].register_forward_pre_hook(enters, with_kwargs=True)]
    handles += [block.register_forward_hook(leaves) for block in blocks]
    whole, backbone.whole = backbone.whole, True
    try:
        with _attention_seen(model, states.heads) if heads else nullcontext():
            yield states
    finally:
        backbone.whole = whole
        for handle in handles:
            handle.remove()


@contextmanager
def _attention_seen(model: PreTrainedModel, found: list[Heads]) -> Iterator[None]:
    """Have what transformers calls for this model's attention note what it is given."""
    name = model.config._attn_implementation
    if name not in ALL_ATTENTION_FUNCTIONS:
        raise ValueError(
            f"attention of {model.config.model_type} cannot be looked at with "
            f"attn_implementation = {name}: choose sdpa or segments"
        )
    attend, own = ALL_ATTENTION_FUNCTIONS[name], {id(module) for module in model.modules()}

    def seen(
        module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *args: Any, **settings: Any
    ) -> Any:
        if id(module) in own:
            scaling = settings.get("scaling")
            scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
            found.append(Heads(query, key, value, scaling))
        return attend(module, query, key, value, *args, **settings)

    ALL_ATTENTION_FUNCTIONS[name] = seen
    try:
        yield
    finally:
        ALL_ATTENTION_FUNCTIONS[name] = attend  # of a looker around this one, or the very own
