"""A student's inside against its teacher's: as the papers say, through the whole of a fit."""

import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForTokenClassification,
)

from lit_llm.backbone.backbone import Backbone
from lit_llm.objectives.causal_lm import CausalLM
from lit_llm.objectives.distillation import Distillation
from lit_llm.objectives.matching import MatchConfig, layer_pairs
from tests.helpers import (
    CONSTANT,
    TAGS,
    Gradients,
    Recorder,
    parameters_of,
    save_tiny,
)
from tests.references.language_corpus import language_corpus
from tests.references.losses import soft_targets
from tests.references.students import LENGTHS, SGD, fit, tagger, words_data

MATCH = [
    MatchConfig("hidden_states", weight=0.3),
    MatchConfig("hidden_states", layers="top", distance="cosine"),
    MatchConfig("embeddings"),
    MatchConfig("attention", layers=[[0, 2], [1, 1]]),
    MatchConfig("attention", layers="last", distance="kl", weight=2.0),
    MatchConfig("relations", layers="top"),
    MatchConfig("relations", layers="top", relations=["value"], relation_heads=4),
]
NAMES = [
    *("hidden_states", "hidden_states_2", "embeddings"),
    *("attention", "attention_2", "relations", "relations_2"),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A student of two layers, a teacher of four, and one of twice the width and heads."""
    root = tmp_path_factory.mktemp("models")
    shapes = {
        "student": {},
        "teacher": {"num_hidden_layers": 4},
        "wide": {"num_hidden_layers": 3, "hidden_size": 16, "num_attention_heads": 4},
    }
    return {
        name: save_tiny(root / name, AutoModelForTokenClassification, TAGS, std=0.4, **shape)
        for name, shape in shapes.items()
    }


def inside(source, ids):
    """Hidden states, attention and (layer, which) vectors of one example alone, in transformers."""
    model = AutoModel.from_pretrained(source, attn_implementation="eager").eval()
    with torch.no_grad():
        shown = model(torch.tensor([ids]), output_hidden_states=True, output_attentions=True)
        hidden = [h[0].double() for h in shown.hidden_states]
        vectors = {
            (i, name): getattr(layer.attention.self, name)(h.float()).double()
            for i, (layer, h) in enumerate(zip(model.encoder.layer, hidden, strict=False))
            for name in ("query", "key", "value")
        }
    return hidden, [a[0].double() for a in shown.attentions], vectors


def rows_kl(student, teacher):
    """Summed over the rows of two matrices of scores, in plain Python."""
    pairs = zip(student.tolist(), teacher.tolist(), strict=True)
    return sum(soft_targets(s, t, 1.0, "kl") for s, t in pairs)


def related(vectors, count, head):
    """MiniLMv2's relation: scaled dot products of one of ``count`` parts."""
    width = vectors.shape[1] // count
    part = vectors[:, head * width : (head + 1) * width]
    return part @ part.T / width**0.5


def expected_terms(student, teacher, ids):
    """Of one example, by the papers' formulas; the student has two layers, the teacher four."""
    (h_s, a_s, v_s), (h_t, a_t, v_t) = inside(student, ids), inside(teacher, ids)
    heads = range(2)

    def scores(vectors, layer, head):
        query, key = (vectors[layer, n][:, 4 * head : 4 * head + 4] for n in ("query", "key"))
        return query @ key.T / 4**0.5

    found = dict.fromkeys(NAMES, 0.0)
    for ours, theirs in ((0, 1), (1, 3)):  # skip
        found["hidden_states"] += ((h_s[ours + 1] - h_t[theirs + 1]) ** 2).mean(1).sum().item()
    for s, t in zip(h_s[-1], h_t[-1], strict=True):
        found["hidden_states_2"] += 1 - (s @ t / (s.norm() * t.norm())).item()
    found["embeddings"] = ((h_s[0] - h_t[0]) ** 2).mean(1).sum().item()
    for ours, theirs in ((0, 2), (1, 1)):
        for head in heads:
            error = (scores(v_s, ours, head) - scores(v_t, theirs, head)) ** 2
            found["attention"] += error.mean(1).sum().item() / 2
    for ours, theirs in ((0, 2), (1, 3)):  # last
        for head in heads:
            pair = a_s[ours][head].log(), a_t[theirs][head].log()
            found["attention_2"] += rows_kl(*pair) / 2
    for name, count, which in (
        ("relations", 2, ("query", "key", "value")),
        ("relations_2", 4, ("value",)),
    ):
        for kind in which:
            for head in range(count):
                pair = (related(v[layer, kind], count, head) for v, layer in ((v_s, 1), (v_t, 3)))
                found[name] += rows_kl(*pair) / count
    return found


def test_every_term_is_that_of_its_paper(tmp_path, models):
    model = Distillation(tagger(models["student"], SGD), models["teacher"], match=MATCH)
    recorder, seen = Recorder(), []

    class Looks(Gradients):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            starts, lengths = batch.segment_starts.tolist(), batch.segment_lengths.tolist()
            flat = batch.input_ids.flatten().tolist()
            seen.extend(flat[a : a + n] for a, n in zip(starts, lengths, strict=True))

    data = words_data(batch=len(LENGTHS))
    fit(tmp_path, model, data, max_epochs=1, logger=recorder, callbacks=[Looks()])
    each = [expected_terms(models["student"], models["teacher"], ids) for ids in seen]
    tokens = sum(map(len, seen))
    expected = {name: sum(one[name] for one in each) / tokens for name in NAMES}
    found = {name: recorder.values(f"train/{name}_loss")[0] for name in NAMES}
    assert found == pytest.approx(expected, rel=1e-4)
    weights = dict(zip(NAMES, [0.3, 1, 1, 1, 2, 1, 1], strict=True)) | {"soft": 0.5, "hard": 0.5}
    named = {name: recorder.values(f"train/{name}_loss")[0] for name in weights}
    total = sum(weight * named[name] for name, weight in weights.items())
    assert recorder.values("train/loss")[0] == pytest.approx(total, rel=1e-6)


def test_a_student_like_its_teacher_does_not_move(tmp_path, models):
    match = [MatchConfig("hidden_states"), MatchConfig("attention", distance="kl")]
    match += [MatchConfig("embeddings", distance="cosine"), MatchConfig("relations")]
    before = tagger(models["student"], SGD)
    before.build_saved()
    model = Distillation(tagger(models["student"], SGD), models["student"], alpha=1.0, match=match)
    after, trainer = fit(tmp_path, model)
    for config in match:
        loss = trainer.callback_metrics[f"train/{config.what}_loss"]
        assert loss == pytest.approx(0.0, abs=1e-6)
    torch.testing.assert_close(after, parameters_of(before), rtol=0, atol=1e-6)


@pytest.mark.parametrize("teacher", ["teacher", "wide"])
def test_a_step_in_parts_is_the_whole_step(tmp_path, models, teacher):
    match = [MatchConfig("hidden_states"), MatchConfig("relations", layers="top", relation_heads=2)]

    def trained(batch, accumulate):
        model = Distillation(tagger(models["student"], SGD), models[teacher], match=match)
        return fit(tmp_path, model, words_data(batch), accumulate_grad_batches=accumulate)[0]

    torch.testing.assert_close(trained(2, 2), trained(4, 1), rtol=1e-5, atol=1e-6)


def test_vectors_of_another_width_are_mapped_and_the_map_is_not_kept(tmp_path, models):
    match = [MatchConfig("hidden_states"), MatchConfig("embeddings")]
    model = Distillation(tagger(models["student"], SGD), models["wide"], alpha=0.0, match=match)
    recorder, shapes = Recorder(), {}

    class Looks(Gradients):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            shapes.update({name: p.shape for name, p in pl_module.matching.named_parameters()})
            assert set(map(id, pl_module.parameters())) == {
                id(p) for group in trainer.optimizers[0].param_groups for p in group["params"]
            }

    fit(tmp_path, model, max_epochs=40, logger=recorder, callbacks=[Looks()])
    assert shapes == {
        "maps.embeddings.0.weight": (16, 8),
        "maps.hidden_states.0.weight": (16, 8),
        "maps.hidden_states.1.weight": (16, 8),
    }
    for name in ("hidden_states", "embeddings"):
        losses = recorder.values(f"train/{name}_loss")
        assert losses[-1] < 0.6 * losses[0]
    assert not [name for name in model.state_dict() if "matching" in name]
    model.save(tmp_path / "saved")
    again = tagger(str(tmp_path / "saved"))
    again.build_saved()
    torch.testing.assert_close(parameters_of(again), parameters_of(model), rtol=0, atol=0)


def test_decoders_are_matched_where_tokens_look(tmp_path):
    sources = [
        save_tiny(tmp_path / name, AutoModelForCausalLM, ["x", "y"], "gpt2", std=std)
        for name, std in (("student", 0.3), ("teacher", 0.5))
    ]
    match = [MatchConfig("attention", distance="kl"), MatchConfig("hidden_states")]
    student = CausalLM(Backbone(sources[0]), SGD, CONSTANT)
    model = Distillation(student, sources[1], match=match)
    recorder, found = Recorder(), []

    class Looks(Gradients):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            starts, lengths = batch.segment_starts.tolist(), batch.segment_lengths.tolist()
            flat, total = batch.input_ids.flatten().tolist(), 0.0
            for start, length in zip(starts, lengths, strict=True):
                ids = torch.tensor([flat[start : start + length]])
                maps = []
                for source in sources:
                    plain = AutoModel.from_pretrained(source, attn_implementation="eager").eval()
                    with torch.no_grad():
                        maps.append(plain(ids, output_attentions=True).attentions)
                for ours, theirs in zip(*maps, strict=True):
                    for q, p in zip(ours[0], theirs[0], strict=True):
                        rows = range(length)
                        pairs = [(q[i, : i + 1].log(), p[i, : i + 1].log()) for i in rows]
                        total += sum(rows_kl(s[None], t[None]) for s, t in pairs) / len(ours[0])
            found.append(total / sum(lengths))

    data = language_corpus(tmp_path, "causal")
    fit(tmp_path, model, data, max_steps=1, logger=recorder, callbacks=[Looks()])
    assert recorder.values("train/attention_loss") == pytest.approx(found, rel=1e-4)


def test_layer_maps():
    assert layer_pairs("skip", 3, 6) == [(0, 1), (1, 3), (2, 5)]
    assert layer_pairs("skip", 4, 6) == [(0, 1), (1, 2), (2, 4), (3, 5)]
    assert layer_pairs("last", 3, 6) == [(0, 3), (1, 4), (2, 5)]
    assert layer_pairs("top", 3, 6) == [(2, 5)]
    assert layer_pairs("top", 6, 3) == [(5, 2)]
    assert layer_pairs([[2, 0]], 3, 6) == [(2, 0)]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([[3, 0]], r"layers: \[3, 0\] does not fit: .* block 0 to 2 and a teacher's block 0 to 5"),
        ([[0, 6]], r"layers: \[0, 6\] does not fit"),
        ([[0]], r"layers: \[0\] does not fit"),
        ([], "layers is empty"),
    ],
)
def test_a_layer_map_that_does_not_fit_is_refused(layers, message):
    with pytest.raises(ValueError, match=message):
        layer_pairs(layers, 3, 6)


def test_a_deeper_student_has_no_even_spacing():
    for layers in ("skip", "last"):
        with pytest.raises(
            ValueError, match=f"{layers} needs a teacher of at least as many .* 3 fo"
        ):
            layer_pairs(layers, 6, 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"what": "logits"}, "what is one of hidden_states, .*, not 'logits'"),
        ({"what": "relations", "distance": "cosine"}, "distance of relations is kl, not 'cosine'"),
        ({"what": "embeddings", "distance": "kl"}, "of embeddings is squared_error, cosine, not"),
        ({"what": "attention", "weight": -1.0}, "weight must be at least 0, not -1.0"),
        ({"what": "attention", "layers": "first"}, "is skip, last, top or a list of pairs, not"),
        ({"what": "relations", "relations": []}, "relations are some of query, key, value"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        MatchConfig(**settings)


@pytest.mark.parametrize(
    ("match", "message"),
    [
        (MatchConfig("attention"), r"match\[0\]: the student has 2 heads and the teacher 4"),
        (
            MatchConfig("relations", relation_heads=3),
            r"match\[0\].relation_heads: 3 parts of the student's query vectors, of 8 components",
        ),
        (MatchConfig("hidden_states", layers=[[0, 9]]), r"match\[0\].layers: \[0, 9\] does not"),
    ],
)
def test_models_that_do_not_fit_are_refused_before_training(tmp_path, models, match, message):
    model = Distillation(tagger(models["student"], SGD), models["wide"], match=[match])
    with pytest.raises(ValueError, match=message):
        fit(tmp_path, model)


def test_attention_through_a_window_is_not_compared(tmp_path):
    settings = {"num_key_value_heads": 2, "attention_dropout": 0.0, "sliding_window": 4}
    source = save_tiny(tmp_path / "m", AutoModelForCausalLM, ["x"], "mistral", **settings)
    student = CausalLM(Backbone(source), SGD, CONSTANT)
    model = Distillation(student, source, match=[MatchConfig("attention")])
    with pytest.raises(ValueError, match=r"match\[0\]: the student's attention looks through a sl"):
        fit(tmp_path, model, language_corpus(tmp_path, "causal"))


def test_only_one_teacher_that_runs_can_be_looked_into(models):
    match = [MatchConfig("embeddings")]
    with pytest.raises(ValueError, match="in every step, and cache: true keeps scores alone"):
        Distillation(tagger(models["student"], SGD), models["teacher"], cache=True, match=match)
    both = [models["teacher"], models["wide"]]
    with pytest.raises(ValueError, match="in every step, and there are several teachers"):
        Distillation(tagger(models["student"], SGD), both, match=match)
