from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from lit_llm.backbone.backbone import Backbone

NER = AutoModelForTokenClassification


@pytest.fixture
def edited(source, tmp_path):
    """Copies a tiny BERT and lets a test change its weights."""

    def edit(change, model_type="bert"):
        directory = tmp_path / "edited"
        shutil.copytree(source(model_type), directory)
        weights = load_file(directory / "model.safetensors")
        change(weights)
        save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
        return str(directory)

    return edit


def weights_of(backbone):
    return {name: tensor.clone() for name, tensor in backbone.model.state_dict().items()}


KEY = "encoder.layer.1.output.dense.weight"


@pytest.mark.parametrize("how", ["source", "init_from"])
def test_missing_weight_stops_with_its_name(how, edited, source):
    directory = edited(lambda weights: weights.pop(KEY))
    with pytest.raises(ValueError, match=f"lacks {KEY}"):
        Backbone(**{"source": source("bert"), how: directory}).build()


@pytest.mark.parametrize("how", ["source", "init_from"])
def test_weight_of_another_shape_stops_with_its_name(how, edited, source):
    directory = edited(lambda weights: weights.update({KEY: torch.zeros(3, 3)}))
    with pytest.raises(ValueError, match=f"has another shape of {KEY}"):
        Backbone(**{"source": source("bert"), how: directory}).build()


@pytest.mark.parametrize("how", ["source", "init_from"])
def test_weight_without_a_place_stops_with_its_name(how, edited, source):
    key = "encoder.layer.2.output.dense.weight"
    directory = edited(lambda weights: weights.update({key: torch.zeros(8, 16)}))
    with pytest.raises(ValueError, match=f"holds {key}"):
        Backbone(**{"source": source("bert"), how: directory}).build()


def test_old_buffers_do_not_stop(edited):
    old = {"h.0.attn.bias": torch.ones(1), "h.0.attn.masked_bias": torch.ones(1)}
    Backbone(edited(lambda weights: weights.update(old), "gpt2")).build()


def test_init_from_copies_the_backbone_and_nothing_else(source, caplog):
    donor = source("bert", AutoModelForSequenceClassification)
    given = Backbone(donor)
    given.build()
    backbone = Backbone(source("bert", NER), init_from=donor)
    with caplog.at_level("INFO"):
        backbone.build(NER)
    assert_close(weights_of(backbone), weights_of(given))
    assert backbone.head_loaded  # from its own source
    line = next(line for line in caplog.messages if f"backbone.* from {donor}" in line)
    assert line.startswith("backbone: bert, loaded head; loaded backbone.* from")
    assert "not used: classifier.bias, classifier.weight, pooler" in line


def test_init_from_a_model_from_scratch(source, tokenizer_directory):
    donor = source("bert")
    other = Backbone("tiny", tokenizer=str(tokenizer_directory), init_from=donor)
    with pytest.raises(ValueError, match=r"init_from: \S+ is \(\S+ 8\) in .* 128\) in"):
        other.build()


def test_init_from_fewer_layers_stops_with_a_missing_name(source):
    with pytest.raises(ValueError, match=r"lacks encoder\.layer\.1"):
        Backbone(source("bert"), init_from=source("bert", num_hidden_layers=1)).build()
    with pytest.raises(ValueError, match=r"has encoder\.layer\.1.*the backbone has not"):
        Backbone(source("bert", num_hidden_layers=1), init_from=source("bert")).build()


def test_init_from_another_architecture_or_vocabulary_is_refused(source, tmp_path):
    with pytest.raises(ValueError, match="is a roberta, the backbone a bert"):
        Backbone(source("bert"), init_from=source("roberta")).build()
    donor = tmp_path / "donor"
    shutil.copytree(source("bert"), donor)
    text = (donor / "tokenizer.json").read_text().replace('"w3"', '"other"')
    (donor / "tokenizer.json").write_text(text)
    with pytest.raises(ValueError, match="another vocabulary"):
        Backbone(source("bert"), init_from=str(donor)).build()


def test_head_is_taken_over_for_the_same_task_and_labels_only(source, tmp_path):
    names = {0: "O", 1: "B-PER"}
    first = Backbone(source("bert"))
    head = first.build(NER, num_labels=2, id2label=names)
    assert not first.head_loaded
    first.save(tmp_path, head)
    weight = head.state_dict()["task_model.classifier.weight"]
    cases = [
        (NER, names, True),
        (NER, {0: "O", 1: "B-LOC"}, False),
        (NER, {0: "O", 1: "B-PER", 2: "B-LOC"}, False),
        (AutoModelForSequenceClassification, names, False),
    ]
    for task, labels, taken in cases:
        again = Backbone(str(tmp_path))
        other = again.build(task, num_labels=len(labels), id2label=labels)
        assert again.head_loaded == taken
        assert torch.equal(other.state_dict()["task_model.classifier.weight"], weight) == taken
        assert_close(weights_of(again), weights_of(first))


def test_pretraining_leftovers_are_reported_not_refused(source, caplog):
    directory = source("bert", AutoModelForMaskedLM)
    with caplog.at_level("INFO"):
        Backbone(directory).build(NER, num_labels=3)
    (line,) = (line for line in caplog.messages if "loaded backbone from" in line)
    assert "new: classifier.bias, classifier.weight" in line
    assert "not used: cls.predictions" in line


def test_half_precision_weights_are_read_as_float32(edited):
    def halve(weights):
        weights.update({name: tensor.half() for name, tensor in weights.items()})

    backbone = Backbone(edited(halve))
    backbone.build()
    assert {p.dtype for p in backbone.parameters()} == {torch.float32}


def test_loading_is_quiet(source, capfd):
    backbone = Backbone(source("bert"))
    backbone.build(NER, num_labels=3)
    out = "".join(capfd.readouterr())
    assert "Loading weights" not in out
    assert "LOAD REPORT" not in out


def test_padding_that_means_something_is_still_learned(source, tmp_path):
    directory = tmp_path / "llama"
    shutil.copytree(source("llama", pad_token_id=None), directory)
    settings = json.loads((directory / "tokenizer_config.json").read_text())
    settings.update(pad_token=None, eos_token="[SEP]")
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    for where in (directory, tmp_path / "saved"):
        backbone = Backbone(str(where))
        head = backbone.build(NER, num_labels=3)
        assert backbone.tokenizer.pad_token_id == 3
        assert backbone.config.pad_token_id == 3
        assert backbone.model.embed_tokens.padding_idx is None
        backbone.save(tmp_path / "saved", head)
    assert Path(tmp_path / "saved" / "config.json").is_file()
