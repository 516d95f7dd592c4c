from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from lit_llm.backbone.backbone import Backbone
from lit_llm.batch import PackedBatch

TYPES = [
    *("albert", "bert", "deberta-v2", "distilbert", "electra", "gpt2", "gpt_neox"),
    *("llama", "mistral", "modernbert", "qwen2", "roberta", "squeezebert"),
]


def built(directory, task, **config):
    backbone = Backbone(directory)
    head = backbone.build(task, **config)
    backbone.eval()
    head.eval()
    return backbone, head


def one_row(length):
    ids = list(range(5, 5 + length))
    return PackedBatch.pack([{"input_ids": ids}], [[0]], length, pad_token_id=0)


@pytest.mark.parametrize("model_type", TYPES)
def test_token_head_equals_plain_logits(model_type, source):
    directory = source(model_type, AutoModelForTokenClassification)
    backbone, head = built(directory, AutoModelForTokenClassification)
    batch = one_row(6)
    plain = AutoModelForTokenClassification.from_pretrained(directory).eval()
    expected = plain(batch.input_ids).logits[0]
    assert backbone.head_loaded
    assert_close(head(backbone(batch)[0]), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("model_type", TYPES)
def test_sequence_head_equals_plain_logits(model_type, source):
    directory = source(model_type, AutoModelForSequenceClassification)
    backbone, head = built(directory, AutoModelForSequenceClassification)
    batch = one_row(6)
    plain = AutoModelForSequenceClassification.from_pretrained(directory).eval()
    expected = plain(batch.input_ids).logits
    assert backbone.head_loaded
    read = backbone(batch)[:, -1 if backbone.causal else 0]
    assert_close(head(read), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("model_type", "task"), [("bert", AutoModelForMaskedLM), ("gpt2", AutoModelForCausalLM)]
)
def test_language_model_head_equals_plain_logits(model_type, task, source):
    directory = source(model_type, task)
    backbone, head = built(directory, task)
    batch = one_row(6)
    expected = task.from_pretrained(directory).eval()(batch.input_ids).logits[0]
    assert_close(head(backbone(batch)[0]), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("model_type", TYPES)
@pytest.mark.parametrize(
    "task", [AutoModelForTokenClassification, AutoModelForSequenceClassification]
)
def test_no_targets_keep_the_head_on_the_graph(model_type, task, source):
    _, head = built(source(model_type), task, num_labels=3)
    logits = head(torch.zeros(0, 8))
    assert logits.shape == (0, 3)
    logits.sum().backward()
    assert all(p.grad is not None for p in head.parameters() if p.requires_grad)


@pytest.mark.parametrize("model_type", TYPES)
@pytest.mark.parametrize(
    "task", [AutoModelForTokenClassification, AutoModelForSequenceClassification]
)
def test_every_parameter_that_is_trained_gets_a_gradient(model_type, task, source):
    backbone, head = built(source(model_type), task, num_labels=3)
    head(backbone(one_row(6))[0]).sum().backward()
    parameters = [*backbone.named_parameters(), *head.named_parameters()]
    assert [n for n, p in parameters if p.requires_grad and p.grad is None] == []


def test_head_shares_no_parameter_with_the_backbone(source):
    backbone, head = built(source("bert"), AutoModelForSequenceClassification, num_labels=3)
    assert not {id(p) for p in backbone.parameters()} & {id(p) for p in head.parameters()}


def test_pooler_the_head_ignores_is_frozen(source):
    _, head = built(
        source("big_bird", attention_type="original_full"), AutoModelForSequenceClassification
    )
    frozen = [name for name, p in head.named_parameters() if not p.requires_grad]
    assert [name.rpartition("pooler.")[2] for name in frozen] == ["weight", "bias"]


def test_architecture_without_the_task_gets_a_linear_head_that_is_saved(source, tmp_path):
    labels = {0: "O", 1: "B-PER", 2: "I-PER"}
    task = AutoModelForTokenClassification
    backbone, head = built(source("opt"), task, num_labels=3, id2label=labels)
    hidden = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    backbone.save(tmp_path, head)
    assert (tmp_path / "head.safetensors").is_file()
    again, same = built(str(tmp_path), task, num_labels=3, id2label=labels)
    assert again.head_loaded
    assert_close(same(hidden), head(hidden))
    assert_close(again(one_row(5)), backbone(one_row(5)))
    changed = {**labels, 2: "I-LOC"}
    other, fresh = built(str(tmp_path), task, num_labels=3, id2label=changed)
    assert not other.head_loaded
    assert (fresh(hidden) - head(hidden)).abs().max() > 1e-3


def test_architecture_without_a_language_model_is_refused(source):
    with pytest.raises(ValueError, match="no AutoModelForMaskedLM for llama"):
        built(source("llama"), AutoModelForMaskedLM)
