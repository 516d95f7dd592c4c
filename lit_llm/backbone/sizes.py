"""Named sizes: what a model trained from scratch is called."""

from __future__ import annotations

from transformers import BertConfig, GPT2Config, PreTrainedConfig, PreTrainedTokenizerFast

# Turc et al. 2019, arXiv:1908.08962, table 1: layers x hidden width; heads of 64, 4 x wide MLPs.
_SHAPES = {
    "tiny": (2, 128),
    "mini": (4, 256),
    "small": (4, 512),
    "medium": (8, 512),
    "base": (12, 768),
}
SIZES = (*_SHAPES, *(f"gpt2-{size}" for size in _SHAPES))


def config_of_size(size: str) -> PreTrainedConfig:
    """The configuration of a named size, before it has a vocabulary.

    Args:
        size: ``tiny``, ``mini``, ``small``, ``medium`` or ``base`` for a BERT encoder with 512
            positions; ``gpt2-`` before it for a GPT-2 decoder of that shape with 1,024.

    Source:
        Turc et al. 2019, arXiv:1908.08962, table 1.
    """
    layers, width = _SHAPES[size.removeprefix("gpt2-")]
    if size.startswith("gpt2-"):
        return GPT2Config(n_layer=layers, n_embd=width, n_head=width // 64)
    return BertConfig(
        num_hidden_layers=layers,
        hidden_size=width,
        num_attention_heads=width // 64,
        intermediate_size=4 * width,
    )


def take_vocabulary(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerFast) -> None:
    """Give a from-scratch configuration the tokenizer's vocabulary size and special tokens."""
    config.vocab_size = 1 + max(tokenizer.get_vocab().values())  # ids may have gaps
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        setattr(config, name, getattr(tokenizer, name))


def scratch_needs_tokenizer(size: str) -> str:
    """What to say when a size is named without a tokenizer."""
    hint = f"; the hub's model is openai-community/{size}" if size == "gpt2-medium" else ""
    return (
        f"backbone.source = {size!r} is trained from scratch and needs backbone.tokenizer: a "
        f"directory, a hub id, pkg://package/path, or train:SIZE{hint}"
    )
