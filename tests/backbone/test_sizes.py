from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer

from lit_llm.backbone.backbone import Backbone
from lit_llm.backbone.sizes import SIZES, config_of_size

# Turc et al. 2019, table 1: parameters in millions, BERT's 30,522 word pieces and pooler included.
MILLIONS = {"tiny": 4.4, "mini": 11.3, "small": 29.1, "medium": 41.7, "base": 110.1}


@pytest.mark.parametrize("size", MILLIONS)
def test_bert_sizes_have_the_published_parameter_counts(size):
    config = config_of_size(size)
    width, layers = config.hidden_size, config.num_hidden_layers
    # a block: 4 attention and 2 MLP matrices with biases, 2 norms; then embeddings and pooler
    block = 12 * width**2 + 13 * width
    count = layers * block + (30522 + 512 + 2 + 2) * width + width**2 + width
    # the paper rounds the smaller ones in its own way: 29.1 against 28.8, 41.7 against 41.4
    assert count / 1e6 == pytest.approx(MILLIONS[size], rel=0.015)
    assert config.intermediate_size == 4 * width
    assert width // config.num_attention_heads == 64


def test_gpt2_sizes_have_the_same_shapes():
    for size in MILLIONS:
        bert, gpt2 = config_of_size(size), config_of_size(f"gpt2-{size}")
        for name in ("hidden_size", "num_hidden_layers", "num_attention_heads"):
            assert getattr(bert, name) == getattr(gpt2, name)
    assert set(SIZES) == {*MILLIONS, *(f"gpt2-{size}" for size in MILLIONS)}


@pytest.mark.parametrize(("size", "positions"), [("tiny", 512), ("gpt2-tiny", 1024)])
def test_from_scratch_takes_the_tokenizers_vocabulary(size, positions, tokenizer_directory):
    backbone = Backbone(size, tokenizer=str(tokenizer_directory))
    head = backbone.build(AutoModelForTokenClassification, num_labels=3)
    assert backbone.config.vocab_size == len(backbone.tokenizer) == 32
    assert backbone.config.pad_token_id == backbone.tokenizer.pad_token_id == 0
    assert backbone.max_positions == positions
    assert backbone.model.get_input_embeddings().weight.shape == (32, 128)
    assert not backbone.head_loaded
    assert head(torch.zeros(2, 128)).shape == (2, 3)


def test_tokenizer_to_train_is_handed_over_before_build(tokenizer_directory, tmp_path):
    backbone = Backbone("tiny", tokenizer="train:500")
    assert backbone.tokenizer is None
    assert backbone.tokenizer_to_train == {
        "kind": "wordpiece",
        "vocab_size": 500,
        "special_tokens": "bert",
    }
    with pytest.raises(ValueError, match="needs its tokenizer before it is built"):
        backbone.build()
    backbone.set_tokenizer(tokenizer_directory)
    assert backbone.config.vocab_size == 32
    backbone.build()
    with pytest.raises(ValueError, match="not built yet"):
        backbone.set_tokenizer(tokenizer_directory)
    backbone.save(tmp_path)
    again = Backbone(str(tmp_path))
    assert again.tokenizer.get_vocab() == backbone.tokenizer.get_vocab()


def test_decoders_train_another_kind_of_tokenizer(tokenizer_directory):
    backbone = Backbone("gpt2-tiny", tokenizer="train")
    assert backbone.tokenizer_to_train == {
        "kind": "byte_level_bpe",
        "vocab_size": 8000,
        "special_tokens": "gpt2",
    }
    backbone.set_tokenizer(AutoTokenizer.from_pretrained(tokenizer_directory))
    assert backbone.config.vocab_size == 32


def test_size_without_tokenizer_says_what_to_pass():
    with pytest.raises(ValueError, match=r"'mini' is trained from scratch and needs .*train:SIZE"):
        Backbone("mini")
    with pytest.raises(ValueError, match="openai-community/gpt2-medium"):
        Backbone("gpt2-medium")


def test_only_sizes_train_a_tokenizer(source, tokenizer_directory):
    with pytest.raises(ValueError, match="has its own vocabulary"):
        Backbone(source("bert"), tokenizer="train:500")
    with pytest.raises(ValueError, match="from scratch"):
        Backbone(source("bert")).set_tokenizer(tokenizer_directory)
