"""What a transformers model must be given so that packed rows are exact."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig

from lit_llm.batch import PackedBatch

# The tested ones: with a block mask and restarted positions each gives the hidden states of one
# example at a time. A type that is not here gets one example per row, never a guess.
PACKABLE = frozenset(
    {
        "albert",
        "bert",
        "camembert",
        "electra",
        "gpt2",
        "gpt_neox",
        "llama",
        "mistral",
        "modernbert",
        "qwen2",
        "qwen3",
        "roberta",
        "xlm-roberta",
    }
)
# Their learned positions start at padding_idx + 1.
_OFFSET_POSITIONS = frozenset({"camembert", "roberta", "xlm-roberta"})
# They take one mask per kind of layer.
_MASK_PER_LAYER_TYPE = frozenset({"modernbert", "qwen2", "qwen3"})


def max_positions(config: PreTrainedConfig) -> int | None:
    """The longest example a model's positions allow, tokens; None when there is no limit."""
    limit = getattr(config, "max_position_embeddings", None)
    if not isinstance(limit, int) or limit <= 0:
        return None
    return limit - _position_offset(config)


def tells_segments_apart(config: PreTrainedConfig) -> bool:
    """Whether the model has a token type for a second segment."""
    return getattr(config, "type_vocab_size", 0) > 1


def _takes_token_types(config: PreTrainedConfig) -> bool:
    """Whether token types have an embedding of their own (GPT-2 would add word embeddings)."""
    return bool(getattr(config, "type_vocab_size", 0))


def packed_inputs(
    batch: PackedBatch, config: PreTrainedConfig, causal: bool, mask_dtype: torch.dtype | None
) -> dict[str, Any]:
    """Arguments of a packable model's forward, attention mask included.

    Args:
        batch: rows of any number of examples.
        config: of a model whose ``model_type`` is in ``PACKABLE``.
        causal: tokens see only what stands before them.
        mask_dtype: ``torch.bool`` gives boolean masks (True: may be seen), a floating type additive
            ones (0, or the type's lowest number): eager attention adds whatever it is given;
            None no mask, for an attention that knows the segments itself.

    Returns:
        ``input_ids`` and ``position_ids`` (R, L), ``attention_mask`` (R, 1, L, L) or a mapping of
        two such masks, and ``token_type_ids`` where the model has them.
    """
    inputs = _plain_inputs(batch, config)
    inputs["position_ids"] = batch.position_ids + _position_offset(config)
    if mask_dtype is not None:
        inputs["attention_mask"] = _masks(batch, config, causal, mask_dtype)
    return inputs


def single_inputs(batch: PackedBatch, config: PreTrainedConfig) -> dict[str, Any]:
    """Arguments of any other model's forward: one example per row, a plain (R, L) mask.

    Raises:
        ValueError: two examples share a row.
    """
    length = batch.input_ids.shape[1]
    starts = batch.segment_starts
    if len(starts) > len(batch.input_ids) or bool((starts % length != 0).any()):
        raise ValueError(
            f"{config.model_type} is not known to take packed rows, and this batch has several "
            "examples in one row: plan it with one example per row (backbone.packs is False)"
        )
    is_token = batch.segment_ids >= 0
    # A row of filler only sees itself: a softmax over nothing would be NaN.
    mask = is_token | ~is_token.any(dim=1, keepdim=True)
    return {**_plain_inputs(batch, config), "attention_mask": mask.long()}


def _plain_inputs(batch: PackedBatch, config: PreTrainedConfig) -> dict[str, Any]:
    """Token ids, and token types where the model has them; all 0 where it has only that one."""
    inputs: dict[str, Any] = {"input_ids": batch.input_ids}
    if _takes_token_types(config):
        types = batch.token_type_ids
        inputs["token_type_ids"] = types if tells_segments_apart(config) else types * 0
    return inputs


def check_lengths(batch: PackedBatch, limit: int | None) -> None:
    """Refuse an example that is longer than the model's positions.

    Raises:
        ValueError: with the example's length and the limit.
    """
    if limit is None or batch.input_ids.shape[1] <= limit or batch.num_examples == 0:
        return
    longest = int(batch.segment_lengths.max())
    if longest > limit:
        raise ValueError(
            f"an example of {longest} tokens is longer than the backbone's {limit} positions: "
            f"set data.max_length to {limit} or less"
        )


def _position_offset(config: PreTrainedConfig) -> int:
    return config.pad_token_id + 1 if config.model_type in _OFFSET_POSITIONS else 0


def _masks(
    batch: PackedBatch, config: PreTrainedConfig, causal: bool, dtype: torch.dtype
) -> Tensor | dict[str, Tensor]:
    segments, positions = batch.segment_ids, batch.position_ids
    # Filler (-1) sees filler, so that no softmax runs over nothing.
    seen = segments.unsqueeze(2) == segments.unsqueeze(1)
    distance = positions.unsqueeze(2) - positions.unsqueeze(1)  # query minus key, in its example
    if causal:
        seen = seen & (distance >= 0)
    window: Any = getattr(config, "sliding_window", None)
    if config.model_type not in _MASK_PER_LAYER_TYPE:
        if config.model_type == "mistral" and window is not None:
            seen = seen & (distance < window)
        return _as_dtype(seen, dtype)
    masks = {"full_attention": _as_dtype(seen, dtype)}
    if "sliding_attention" in config.layer_types:
        # Causal windows count the token itself; ModernBERT's is so many tokens on each side.
        near = distance < window if causal else distance.abs() <= window
        masks["sliding_attention"] = _as_dtype(seen & near, dtype)
    return masks


def _as_dtype(seen_RLL: Tensor, dtype: torch.dtype) -> Tensor:
    mask = seen_RLL.unsqueeze(1)
    if dtype == torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min)
