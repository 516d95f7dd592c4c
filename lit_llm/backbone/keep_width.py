"""How wide a model made of a wider one is, and its configuration."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from transformers import PreTrainedConfig

from lit_llm.backbone.block_parts import BLOCK_PARTS

KEY = "backbone.keep_width"


@dataclass(frozen=True)
class KeepWidth:
    """How wide a model made of a wider one is.

    Args:
        hidden_size: of the hidden states; a multiple of the width of the source's heads, which
            stays, so that there are fewer of them.
        intermediate_size: of the feed-forward layers; default in proportion to ``hidden_size``.
    """

    hidden_size: int
    intermediate_size: int | None = None


def check_width(width: KeepWidth, config: PreTrainedConfig, *, from_scratch: bool) -> None:
    """Refuse early what ``narrow_config`` would, and a model that has no weights to keep.

    Raises:
        ValueError: either of them.
    """
    if from_scratch:
        raise ValueError(
            f"{KEY}: a model from scratch has no weights to keep: name a smaller size instead"
        )
    narrow_config(config, width)


def narrow_config(config: PreTrainedConfig, width: KeepWidth) -> PreTrainedConfig:
    """The configuration of the narrower model.

    Raises:
        ValueError: the architecture is none that can be narrowed, or the width does not fit it
            (the message says what does).
    """
    if config.model_type not in BLOCK_PARTS:
        can = ", ".join(sorted(BLOCK_PARTS))
        raise ValueError(f"{KEY}: {config.model_type} cannot be narrowed; these can: {can}")
    hidden, neurons = config.hidden_size, intermediate_size(config)
    step = _step(config)
    _check("hidden_size", width.hidden_size, step, hidden)
    if width.hidden_size % step:
        raise ValueError(
            f"{KEY}: hidden_size = {width.hidden_size} is no multiple of {step}, the width of a "
            "head, or of all heads that share a key: choose "
            f"{max(1, width.hidden_size // step) * step}"
        )
    embedding = getattr(config, "embedding_size", hidden)
    if embedding == width.hidden_size != hidden:
        raise ValueError(
            f"{KEY}: hidden_size = {embedding} is the width of the embeddings, for which "
            f"{config.model_type} has no projection of them: choose another multiple of {step}"
        )
    kept = width.intermediate_size
    if kept is None:
        kept = max(1, round(neurons * width.hidden_size / hidden))
    _check("intermediate_size", kept, 1, neurons)
    narrow = copy.deepcopy(config)
    setattr(narrow, _neurons_setting(config), kept)
    if hasattr(config, "embedding_size") and embedding == hidden:  # ELECTRA's may be another
        narrow.embedding_size = width.hidden_size
    if getattr(config, "num_key_value_heads", None):
        narrow.num_key_value_heads = width.hidden_size // step
    narrow.num_attention_heads = config.num_attention_heads * width.hidden_size // hidden
    narrow.hidden_size = width.hidden_size
    return narrow


def key_value_heads(config: PreTrainedConfig) -> int:
    """The number of keys a token has in a layer: one per head, or per group of heads."""
    return int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)


def intermediate_size(config: PreTrainedConfig) -> int:
    """The number of neurons of a feed-forward layer."""
    set_size: int | None = getattr(config, _neurons_setting(config))
    return 4 * config.hidden_size if set_size is None else set_size  # GPT-2's default


def _neurons_setting(config: PreTrainedConfig) -> str:
    names = ("n_inner", "hidden_dim", "intermediate_size")  # of GPT-2, DistilBERT, the others
    return next(name for name in names if hasattr(config, name))


def _step(config: PreTrainedConfig) -> int:
    """What the hidden size can be reduced by: the width of the heads that stay or go together."""
    heads = config.num_attention_heads
    head_width = getattr(config, "head_dim", None) or config.hidden_size // heads
    if head_width * heads != config.hidden_size:
        raise ValueError(
            f"{KEY}: this {config.model_type} cannot be narrowed: its {heads} heads of width "
            f"{head_width} do not make up its hidden size, {config.hidden_size}"
        )
    return int(head_width * heads // key_value_heads(config))


def _check(name: str, value: int, least: int, most: int) -> None:
    if not 0 < value <= most:
        raise ValueError(
            f"{KEY}: {name} = {value} does not fit: the source has {most}, choose {least} to {most}"
        )
