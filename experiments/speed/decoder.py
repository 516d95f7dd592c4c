"""A decoder of an encoder's shape and vocabulary, for both systems to read."""

from __future__ import annotations

import torch
from transformers import AutoConfig, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from experiments.speed.settings import model_path


def write_decoder(encoder: str, directory: str) -> None:
    """Write a GPT-2 with random weights (always the same) and the encoder's tokenizer.

    Args:
        encoder: whose layers, width, heads and vocabulary it has.
        directory: receives configuration, weights and tokenizer.
    """
    shape = AutoConfig.from_pretrained(model_path(encoder))
    tokenizer = AutoTokenizer.from_pretrained(model_path(encoder))
    tokenizer.bos_token, tokenizer.eos_token = tokenizer.cls_token, tokenizer.sep_token
    config = GPT2Config(
        n_layer=shape.num_hidden_layers,
        n_embd=shape.hidden_size,
        n_head=shape.num_attention_heads,
        vocab_size=shape.vocab_size,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        GPT2LMHeadModel(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
