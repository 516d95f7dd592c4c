from __future__ import annotations

import json
import shutil
from typing import get_args

import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from lit_llm.backbone.backbone import Backbone
from lit_llm.backbone.tokenizer import KINDS, load_tokenizer, tokenizer_to_train
from lit_llm.data.tokenizers import TokenizerKind


def test_missing_tokenizer_says_what_to_set(source, tokenizer_directory, tmp_path):
    directory = tmp_path / "model"
    shutil.copytree(source("bert"), directory)
    (directory / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match=r"holds no tokenizer: set backbone\.tokenizer"):
        Backbone(str(directory))
    assert len(Backbone(str(directory), tokenizer=str(tokenizer_directory)).tokenizer) == 32


def test_tokenizer_larger_than_the_vocabulary_is_refused(source):
    with pytest.raises(ValueError, match=r"has 32 entries.*embeds 30"):
        Backbone(source("bert", vocab_size=30))


def test_padding_falls_back_to_another_special_token(tokenizer_directory, tmp_path):
    directory = tmp_path / "tokenizer"
    shutil.copytree(tokenizer_directory, directory)
    config = directory / "tokenizer_config.json"
    settings = {**json.loads(config.read_text()), "pad_token": None}
    config.write_text(json.dumps(settings))
    assert load_tokenizer(directory).pad_token == "[UNK]"
    config.write_text(json.dumps({**settings, "eos_token": "[SEP]"}))
    assert load_tokenizer(directory).pad_token == "[SEP]"


def test_only_train_asks_for_training():
    asked = {"kind": "wordpiece", "vocab_size": 9, "special_tokens": "bert"}
    assert tokenizer_to_train("train:9", decoder=False) == asked
    assert tokenizer_to_train("train", decoder=False) == {**asked, "vocab_size": 8000}
    causal = {"kind": "byte_level_bpe", "vocab_size": 9, "special_tokens": "gpt2"}
    assert tokenizer_to_train("train:9", decoder=True) == causal
    assert tokenizer_to_train("train:bpe:9", decoder=True) == {**causal, "kind": "bpe"}
    assert tokenizer_to_train("train:bpe", decoder=False)["vocab_size"] == 8000
    for spec in (None, "training", "./train"):
        assert tokenizer_to_train(spec, decoder=False) is None
    for spec in ("train:", "train:x", "train:9:bpe", "train:bpe:", "train:unigram:9"):
        with pytest.raises(ValueError, match=r"say train:SIZE or train:KIND:SIZE, such as"):
            tokenizer_to_train(spec, decoder=False)


def test_the_kinds_are_those_that_can_be_trained():
    assert get_args(TokenizerKind) == KINDS


def with_a_gap(directory):
    """A vocabulary of three entries whose largest id is 40."""
    model = models.WordLevel({"[PAD]": 0, "[UNK]": 1, "a": 40}, unk_token="[UNK]")
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]"}
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model), **names).save_pretrained(directory)
    return str(directory)


def test_ids_with_gaps_count_by_the_largest(source, tmp_path):
    directory = with_a_gap(tmp_path / "tokenizer")
    assert Backbone("tiny", tokenizer=directory).config.vocab_size == 41
    with pytest.raises(ValueError, match=r"has 41 entries.*embeds 40: leave it unset"):
        Backbone(source("bert"), tokenizer=directory)
