import pytest
import torch
from jsonargparse import ArgumentParser
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForPreTraining,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from lit_llm.backbone.backbone import Backbone
from lit_llm.backbone.keep_width import KeepWidth
from lit_llm.batch import PackedBatch

BATCH = PackedBatch.pack([{"input_ids": [5, 6, 7, 8, 9]}], [[0]], 5, 0)
GROUPED = {"num_attention_heads": 4, "num_key_value_heads": 2}
KINDS = [
    ("bert", {}),
    ("bert", {"max_position_embeddings": 8, "num_labels": 8}),  # as many as dimensions
    ("roberta", {}),
    ("electra", {"embedding_size": 8}),
    ("electra", {"embedding_size": 6}),
    ("distilbert", {}),
    ("gpt2", {}),
    ("gpt2", {"n_inner": None}),
    ("llama", GROUPED),
    ("qwen2", GROUPED | {"use_sliding_window": False}),
    ("mistral", GROUPED),
]
DIMENSIONS = [1, 2, 5, 6]  # of 8; heads of width 2 and neurons, by block:
HEADS, NEURONS = ([0, 3], [1, 2]), ([0, 2, 5], [3, 10, 15])
HEAD_ENTRIES = ([0, 1, 6, 7], [2, 3, 4, 5])
WIDTH = KeepWidth(4, 3)


@torch.no_grad()
def scores(backbone, head):
    """What the head makes of every token."""
    return head.eval()(backbone.eval()(BATCH).flatten(0, 1))


def built(source, task, **settings):
    backbone = Backbone(source, **settings)
    return backbone, backbone.build(task)


@pytest.mark.parametrize(("kind", "changes"), KINDS)
def test_the_full_width_is_the_source(source, kind, changes):
    directory = source(kind, AutoModelForTokenClassification, **changes)
    same = built(directory, AutoModelForTokenClassification, keep_width=KeepWidth(8))
    theirs = built(directory, AutoModelForTokenClassification)
    torch.testing.assert_close(scores(*same), scores(*theirs), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("kind", "changes"), KINDS)
def test_a_narrow_model_opens_in_transformers(source, tmp_path, kind, changes):
    directory = source(kind, AutoModelForTokenClassification, **changes)
    backbone, head = built(directory, AutoModelForTokenClassification, keep_width=KeepWidth(4))
    assert backbone.head_loaded
    backbone.save(tmp_path, head)
    config = AutoConfig.from_pretrained(tmp_path)
    wide = AutoConfig.from_pretrained(directory)
    assert config.hidden_size == 4
    assert config.num_attention_heads == wide.num_attention_heads // 2
    assert config.id2label == wide.id2label
    neurons = config.to_dict().get({"gpt2": "n_inner", "distilbert": "hidden_dim"}.get(kind))
    expected = 16 if changes == {"n_inner": None} else 8
    assert (neurons or config.intermediate_size) == expected
    loaded = AutoModelForTokenClassification.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        logits = loaded(input_ids=BATCH.input_ids).logits.flatten(0, 1)
    torch.testing.assert_close(scores(backbone, head), logits)
    assert logits.shape == (5, wide.num_labels)


@pytest.mark.parametrize(
    ("kind", "task", "changes"),
    [
        ("bert", AutoModelForMaskedLM, {}),
        ("roberta", AutoModelForMaskedLM, {}),
        ("electra", AutoModelForMaskedLM, {"embedding_size": 8}),
        ("electra", AutoModelForMaskedLM, {"embedding_size": 6}),
        ("distilbert", AutoModelForMaskedLM, {}),
        ("gpt2", AutoModelForCausalLM, {}),
        ("roberta", AutoModelForSequenceClassification, {}),
        ("bert", AutoModelForSequenceClassification, {}),
    ],
)
def test_heads_with_layers_of_their_own_come_along(source, tmp_path, kind, task, changes):
    backbone, head = built(source(kind, task, **changes), task, keep_width=KeepWidth(4))
    assert backbone.head_loaded
    if "LM" in task.__name__:  # tied
        assert head.output_weight is backbone.model.get_input_embeddings().weight
    backbone.save(tmp_path, head)
    loaded = task.from_pretrained(tmp_path).eval()
    first = BATCH.input_ids[:, :1]  # a classifier reads one token, the first here
    with torch.no_grad():
        hidden = backbone.eval()(PackedBatch.pack([{"input_ids": [5]}], [[0]], 1, 0))
        found, expected = head.eval()(hidden.flatten(0, 1)), loaded(input_ids=first).logits
    torch.testing.assert_close(found, expected.flatten(0, -2))


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_the_sentence_head_comes_along(source, kind):
    directory = source(kind, AutoModelForPreTraining)
    backbone, head = built(directory, AutoModelForPreTraining, keep_width=KeepWidth(4))
    assert scores(backbone, head.sentence).shape == (5, 2)


def changed(directory, target, task, change):
    """A copy of a saved model with other weights."""
    backbone, head = built(directory, task)
    with torch.no_grad():
        for name, parameter in (*backbone.model.named_parameters(), *head.named_parameters()):
            change(name, parameter)
    backbone.save(target, head)
    return str(target)


def favour(block, parameter, axis, chosen):
    """Make some entries of an axis the large ones: of one block's, or of the hidden states'."""
    small = torch.ones(parameter.shape[axis], dtype=torch.bool)
    small[chosen if block is None else chosen[block]] = False
    parameter.transpose(0, axis)[small] *= 0.01


def expected_slices(state, rules):
    """Each tensor cut by the first rule whose ending fits its name, then scaled."""
    found = {}
    for name, tensor in state.items():
        block = int(next((part for part in name.split(".") if part.isdigit()), 0))
        rows, columns, factor = next(rule for end, rule in rules.items() if name.endswith(end))
        for axis, chosen in enumerate((rows, columns)):
            if chosen is not None:
                chosen = chosen[block] if isinstance(chosen, tuple) else chosen
                tensor = tensor.index_select(axis, torch.tensor(chosen))
        found[name] = tensor * factor
    return found


ROOT2 = 2**0.5  # of 8 dimensions 4 are read
BERT_RULES = {
    **dict.fromkeys(
        [f"{part}.weight" for part in ("query", "key", "value")],
        (HEAD_ENTRIES, DIMENSIONS, ROOT2),
    ),
    **dict.fromkeys(
        [f"{part}.bias" for part in ("query", "key", "value")], (HEAD_ENTRIES, None, 1)
    ),
    "attention.output.dense.weight": (DIMENSIONS, HEAD_ENTRIES, 1),
    "intermediate.dense.weight": (NEURONS, DIMENSIONS, ROOT2),
    "intermediate.dense.bias": (NEURONS, None, 1),
    "transform.dense.weight": (DIMENSIONS, DIMENSIONS, ROOT2),
    "predictions.bias": (None, None, 1),
    "output.bias": (None, None, 1),  # of the words
    "output.weight": (None, DIMENSIONS, 1),  # tied
    "output.dense.weight": (DIMENSIONS, NEURONS, 1),
    "embeddings.weight": (None, DIMENSIONS, 1),
    "": (DIMENSIONS, None, 1),  # norms, biases
}


def test_what_is_kept_of_bert_is_slices(source, tmp_path):
    def change(name, parameter):
        block = int(next((part for part in name.split(".") if part.isdigit()), 0))
        if name.endswith("LayerNorm.weight"):
            parameter.fill_(1)
            favour(None, parameter, 0, DIMENSIONS)
        elif name.endswith("LayerNorm.bias"):
            parameter.zero_()
        elif name.endswith("attention.output.dense.weight"):
            favour(block, parameter, 1, HEAD_ENTRIES)
        elif block == 0 and "layer." in name and name.endswith("output.dense.weight"):
            favour(block, parameter, 1, NEURONS)
        elif block == 1 and name.endswith("intermediate.dense.weight"):
            favour(block, parameter, 0, NEURONS)

    directory = source("bert", AutoModelForMaskedLM, num_attention_heads=4)
    directory = changed(directory, tmp_path / "known", AutoModelForMaskedLM, change)
    wide, wide_head = built(directory, AutoModelForMaskedLM)
    narrow, head = built(directory, AutoModelForMaskedLM, keep_width=WIDTH)
    for ours, theirs in ((narrow.model, wide.model), (head, wide_head)):
        expected = expected_slices(theirs.state_dict(), BERT_RULES)
        torch.testing.assert_close(dict(ours.state_dict()), expected, rtol=1e-6, atol=0)


def silence(parameter, axis, kept, centred=False):
    """Zero all but these entries of an axis; ``centred``: the others add up to zero."""
    entries = parameter.transpose(0, axis)
    dropped = torch.ones(len(entries), dtype=torch.bool)
    dropped[kept] = False
    if centred:
        entries[kept] -= entries[kept].mean(0, keepdim=True)
    entries[dropped] = 0


def silence_gpt2(name, parameter):
    block = int(next((part for part in name.split(".") if part.isdigit()), 0))
    if name.endswith(("wte.weight", "wpe.weight")):
        silence(parameter, 1, DIMENSIONS, centred=True)
    elif name.endswith("c_proj.weight"):
        chosen = HEAD_ENTRIES if "attn" in name else NEURONS
        silence(parameter, 0, chosen[block])
        silence(parameter, 1, DIMENSIONS, centred=True)
    elif name.endswith("c_proj.bias"):
        silence(parameter, 0, DIMENSIONS, centred=True)
    elif "ln_" in name and name.endswith("bias"):
        parameter.zero_()


def silence_llama(name, parameter):
    block = int(next((part for part in name.split(".") if part.isdigit()), 0))
    if name.endswith("embed_tokens.weight"):
        silence(parameter, 1, DIMENSIONS)
    elif name.endswith("o_proj.weight"):
        silence(parameter, 1, [[0, 1, 2, 3], [4, 5, 6, 7]][block])  # the heads of one key
        silence(parameter, 0, DIMENSIONS)
    elif name.endswith("down_proj.weight"):
        silence(parameter, 1, NEURONS[block])
        silence(parameter, 0, DIMENSIONS)


@pytest.mark.parametrize(
    ("kind", "changes", "change"),
    [
        ("gpt2", {"num_attention_heads": 4, "layer_norm_epsilon": 1e-12}, silence_gpt2),
        ("llama", GROUPED | {"rms_norm_eps": 1e-12}, silence_llama),
    ],
)
def test_leaving_out_what_does_nothing_changes_nothing(source, tmp_path, kind, changes, change):
    """Dimensions too: their norm divides by sqrt(4 / 8) of what it was, which the factor undoes.

    Of GPT-2's the mean stays as it was, for what is written adds up to zero.
    """
    task = AutoModelForTokenClassification
    directory = changed(source(kind, task, **changes), tmp_path / "known", task, change)
    wide, narrow = built(directory, task), built(directory, task, keep_width=WIDTH)
    torch.testing.assert_close(scores(*narrow), scores(*wide), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "end", "axis"), [("bert", "output.dense.weight", 1), ("gpt2", "mlp.c_proj.weight", 0)]
)
def test_neurons_that_do_nothing_are_left_out_alone(source, tmp_path, kind, end, axis):
    def change(name, parameter):
        if name.endswith(end) and "attention" not in name:
            silence(parameter, axis, [0, 7, 9])

    task = AutoModelForTokenClassification
    directory = changed(source(kind, task), tmp_path / "known", task, change)
    wide, narrow = built(directory, task), built(directory, task, keep_width=KeepWidth(8, 3))
    torch.testing.assert_close(scores(*narrow), scores(*wide), rtol=1e-5, atol=1e-5)


def test_layers_are_left_out_first(source, tmp_path):
    task = AutoModelForTokenClassification
    directory = source("bert", task, num_hidden_layers=4, num_attention_heads=4)
    shallow, head = built(directory, task, keep_layers=[1, 3])
    shallow.save(tmp_path, head)
    in_two_steps = built(str(tmp_path), task, keep_width=KeepWidth(4))
    at_once = built(directory, task, keep_layers=[1, 3], keep_width=KeepWidth(4))
    assert at_once[0].config.num_hidden_layers == 2
    torch.testing.assert_close(scores(*at_once), scores(*in_two_steps), rtol=0, atol=0)


def test_a_configuration_says_how_wide(source):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Backbone, "backbone")
    given = {"source": source("bert"), "keep_width": {"hidden_size": 4, "intermediate_size": 6}}
    backbone = parser.instantiate(parser.parse_object({"backbone": given})).backbone
    backbone.build()
    assert (backbone.config.hidden_size, backbone.config.intermediate_size) == (4, 6)


@pytest.mark.parametrize(
    ("kind", "changes", "width", "message"),
    [
        ("bert", {}, KeepWidth(6), "hidden_size = 6 is no multiple of 4, .*: choose 4"),
        ("bert", {}, KeepWidth(3), "hidden_size = 3 is no multiple of 4, .*: choose 4"),
        ("llama", GROUPED, KeepWidth(6), "hidden_size = 6 is no multiple of 4, .*: choose 4"),
        ("bert", {}, KeepWidth(12), "hidden_size = 12 does not fit: the source has 8, .* 4 to 8"),
        ("bert", {}, KeepWidth(0), "hidden_size = 0 does not fit"),
        ("bert", {}, KeepWidth(-4), "hidden_size = -4 does not fit"),
        ("bert", {}, KeepWidth(4, 17), "intermediate_size = 17 .* has 16, choose 1 to 16"),
        ("gpt2", {}, KeepWidth(4, 0), "intermediate_size = 0 does not fit"),
        ("albert", {}, KeepWidth(4), "albert cannot be narrowed; these can: bert, .*gpt2"),
        ("electra", {}, KeepWidth(4), "hidden_size = 4 is the width of the embeddings"),
        ("llama", {"head_dim": 8}, KeepWidth(4), "this llama .* 2 heads of width 8 .* size, 8"),
    ],
)
def test_a_width_that_does_not_fit_is_refused(source, kind, changes, width, message):
    with pytest.raises(ValueError, match=rf"^backbone\.keep_width: .*{message}"):
        Backbone(source(kind, **changes), keep_width=width)


def test_a_model_from_scratch_is_refused(tokenizer_directory):
    with pytest.raises(ValueError, match=r"keep_width: .* name a smaller size instead"):
        Backbone("tiny", tokenizer=str(tokenizer_directory), keep_width=KeepWidth(64))
