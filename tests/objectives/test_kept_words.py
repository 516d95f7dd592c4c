"""A language model's teacher is asked once, and its likeliest words are kept."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForPreTraining,
    AutoModelForTokenClassification,
)

from lit_llm.backbone.backbone import Backbone
from lit_llm.batch import PackedBatch
from lit_llm.data.masking import MaskingConfig
from lit_llm.data.streaming import StreamingConfig
from lit_llm.losses.linear_top_k_targets import most_likely
from lit_llm.objectives import teacher_cache
from lit_llm.objectives.causal_lm import CausalLM
from lit_llm.objectives.distillation import Distillation
from lit_llm.objectives.masked_lm import MaskedLM
from lit_llm.objectives.token_classification import TokenClassification
from lit_llm.optim import OptimizerConfig
from tests.helpers import CONSTANT, TAGS, Recorder, parameters_of, quick_trainer, save_tiny
from tests.references.language_corpus import language_corpus

SGD = OptimizerConfig("sgd", lr=0.05, weight_decay=0.0)
KINDS = {
    "causal": (CausalLM, AutoModelForCausalLM, "gpt2", {}),
    "masked": (MaskedLM, AutoModelForPreTraining, "bert", {"sentence_objective": "sop"}),
}
TRAINER = {"limit_val_batches": 0}
NAMED = {"masking": MaskingConfig(rate=0.4, variants=2)}


@pytest.fixture(scope="module")
def speakers(tmp_path_factory):
    root = tmp_path_factory.mktemp("speakers")
    return {
        (kind, name): save_tiny(root / f"{kind}-{name}", task, ["x", "y"], architecture, std=std)
        for kind, (_, task, architecture, _) in KINDS.items()
        for name, std in (("student", 0.3), ("teacher", 0.5))
    }


@pytest.fixture(autouse=True)
def small_shards(monkeypatch, tmp_path):
    monkeypatch.setattr(teacher_cache, "ITEMS_OF_A_SHARD", 30)
    monkeypatch.setenv("LIT_LLM_CACHE", str(tmp_path / "cache"))


def student_of(kind, speakers):
    torch.manual_seed(0)
    objective, *_, settings = KINDS[kind]
    return objective(Backbone(speakers[kind, "student"]), SGD, CONSTANT, **settings)


def num_words(speakers):
    return len(Backbone(speakers["causal", "student"]).tokenizer)


def data_of(directory, kind, **batches):
    return language_corpus(directory, kind, NAMED if kind == "masked" else None, **batches)


def distilled(directory, speakers, kind, data=None, **settings):
    """A run; its weights, what each step lost to the teacher, how often the teacher was asked."""
    asked = []
    steps = settings.pop("max_steps", 6)
    given = {"alpha": 0.9, "cache": True, **settings}
    model = Distillation(student_of(kind, speakers), speakers[kind, "teacher"], **given)
    load = model.configure_model

    def configure_model():
        load()
        (teacher,) = model._teacher
        scores = teacher.scores
        teacher.scores = lambda batch: (asked.append(batch), scores(batch))[1]

    model.configure_model = configure_model
    recorder = Recorder()
    trainer = quick_trainer(directory, logger=recorder, max_steps=steps, **TRAINER)
    trainer.fit(model, data or data_of(directory, kind))
    return model, recorder.values("train/soft_loss"), len(asked)


def caches(directory):
    return sorted((directory / "cache").glob("teacher-*"))


def shards(directory):
    return sorted(file for cache in caches(directory) for file in cache.glob("*.safetensors"))


# In bfloat16 a teacher's scores differ from one layout of the batch to another.
@pytest.mark.parametrize(("precision", "rtol"), [("32-true", 1e-3), ("bf16-mixed", 5e-2)])
@pytest.mark.parametrize("kind", KINDS)
def test_all_words_kept_are_a_live_teacher_to_the_rounding(
    tmp_path, speakers, kind, precision, rtol, monkeypatch
):
    monkeypatch.setitem(TRAINER, "precision", precision)
    live, losses, asked = distilled(tmp_path, speakers, kind, cache=False)
    assert (asked, live.kept_mass) == (6, None)
    every = num_words(speakers)
    kept, kept_losses, asked = distilled(tmp_path, speakers, kind, top_k=every)
    assert asked == len(shards(tmp_path)) > 1  # a shard is one batch here
    assert kept_losses == pytest.approx(losses, rel=rtol)
    assert kept.kept_mass == 1
    ours, theirs = parameters_of(kept), parameters_of(live)
    torch.testing.assert_close(ours, theirs, rtol=rtol, atol=rtol / 10)
    again, again_losses, asked = distilled(tmp_path, speakers, kind, top_k=every)
    assert (asked, again_losses) == (0, kept_losses)
    torch.testing.assert_close(parameters_of(again), parameters_of(kept), rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_lost_grows_with_fewer_words_and_is_said(tmp_path, speakers, kind, caplog):
    _, (live, *_), _ = distilled(tmp_path, speakers, kind, cache=False, max_steps=1)
    found = []
    for k in (1, 4, 16, num_words(speakers)):
        with caplog.at_level("INFO"):
            model, (loss, *_), _ = distilled(tmp_path, speakers, kind, top_k=k, max_steps=1)
        found.append((loss, model.kept_mass))
        said = f"teacher: {k} of {num_words(speakers)} words hold {model.kept_mass:.3f} of the mass"
        assert sum(line.startswith(said) for line in caplog.messages) == 1
    assert found == sorted(found)
    assert found[0][0] < 0.9 * live
    assert 0 < found[0][1] < 0.9


def test_the_mass_kept_is_the_teachers(tmp_path, speakers):
    model, _, _ = distilled(tmp_path, speakers, "causal", top_k=4, temperature=1.5, max_steps=1)
    teacher = student_of("causal", {("causal", "student"): speakers["causal", "teacher"]})
    teacher.build_saved()
    teacher.eval()
    data = model.trainer.datamodule
    batches = data.packed_pass(range(len(data.targets_of_items())))
    p = torch.cat([torch.softmax(teacher.logits(batch).detach() / 1.5, dim=1) for batch in batches])
    assert len(p) == data.targets_of_items().sum()
    assert model.kept_mass == pytest.approx(p.topk(4, dim=1)[0].sum(1).mean().item(), rel=1e-3)
    stored = load_file(shards(tmp_path)[0])
    assert {name: tensor.dtype for name, tensor in stored.items()} == {
        "ids": torch.int32,
        "log_probabilities": torch.float16,
        "log_rest": torch.float16,
    }


def test_words_are_those_of_the_item_and_its_variant(tmp_path):
    sizes = np.array([2, 0, 3, 1] * 10)
    each = np.repeat(sizes, 3)  # three variants
    ends = np.cumsum(each)
    scores = torch.randn(int(ends[-1]), 7, generator=torch.Generator().manual_seed(0))

    def score(entries):
        rows = slice(ends[entries.start] - each[entries.start], ends[entries.stop - 1])
        kept = most_likely(scores[rows], 2, 1.0)
        half = {n: getattr(kept, n).half() for n in ("log_probabilities", "log_rest")}
        return {"ids": kept.ids.int(), **half}

    cache = teacher_cache.TeacherCache(tmp_path, each, score, variants=3)
    assert len(list(tmp_path.glob("*.safetensors"))) == 4
    chosen, variants = [38, 2, 1, 2, 38, 2, 0], [2, 0, 1, 1, 2, 0, 2]
    items = [{"input_ids": [5], "mask_variants": variant} for variant in variants]
    batch = PackedBatch.pack(items, [[*range(len(items))]], 8, 0, item_ids=chosen)
    entries = [3 * item + variant for item, variant in zip(chosen, variants, strict=True)]
    rows = np.concatenate([np.arange(ends[e] - each[e], ends[e]) for e in entries])
    found, expected = cache.scores(batch), most_likely(scores[rows], 2, 1.0)
    assert found.ids.tolist() == expected.ids.tolist()
    torch.testing.assert_close(found.log_rest, expected.log_rest, rtol=1e-3, atol=1e-3)
    nothing = cache.scores(PackedBatch.pack([], [], 8, 0))
    assert nothing.ids.shape == (0, 2)


CHANGES = {
    "temperature": {"temperature": 3.0},
    "top_k": {"top_k": 5},
    "variants": {"masking": MaskingConfig(rate=0.4, variants=3)},
    "rate": {"masking": MaskingConfig(rate=0.5, variants=2)},
    "seed": {"batches": {"seed": 4}},
}


@pytest.mark.parametrize("change", CHANGES)
def test_words_of_other_settings_are_not_used(tmp_path, speakers, change):
    settings = {"top_k": 4, "temperature": 2.0}
    _, _, asked = distilled(tmp_path, speakers, "masked", max_steps=1, **settings)
    assert asked == len(shards(tmp_path))
    changes = dict(CHANGES[change])
    named = {"masking": changes.pop("masking", NAMED["masking"])}
    data = language_corpus(tmp_path, "masked", named, **changes.pop("batches", {}))
    changed = {**settings, **changes}
    _, _, asked_again = distilled(tmp_path, speakers, "masked", data, max_steps=1, **changed)
    assert len(caches(tmp_path)) == 2
    assert asked + asked_again == len(shards(tmp_path))


def test_a_causal_models_words_are_shared_by_seeds(tmp_path, speakers):
    for seed in (3, 4):
        data = data_of(tmp_path, "causal", seed=seed)
        _, _, asked = distilled(tmp_path, speakers, "causal", data, top_k=4, max_steps=1)
    assert (asked, len(caches(tmp_path))) == (0, 1)


def test_what_was_interrupted_ends_with_the_same_bytes(tmp_path, speakers):
    distilled(tmp_path, speakers, "masked", top_k=4, max_steps=1)
    whole = {file: file.read_bytes() for file in shards(tmp_path)}
    first, second, *_ = whole
    first.unlink()
    second.write_bytes(whole[second][:40])
    assert distilled(tmp_path, speakers, "masked", top_k=4, max_steps=1)[2] == 2
    assert {file: file.read_bytes() for file in shards(tmp_path)} == whole


def settings_refused():
    return [
        ({"temperature_at_end": 1.0}, r"temperature moves from 2.0 to 1.0, and the mass .* one"),
        ({"top_k": 0}, "top_k must be at least 1, not 0"),
        ({"top_k": 4, "cache": False}, "top_k is what cache: true keeps"),
        ({"top_k": 4, "cache": None}, "top_k is what cache: true keeps"),
        ({"divergence": "squared_error"}, "squared_error compares scores, and a cache keeps"),
    ]


@pytest.mark.parametrize(("settings", "message"), settings_refused())
def test_settings_that_do_not_go_together_are_refused(speakers, settings, message):
    with pytest.raises(ValueError, match=message):
        Distillation(student_of("causal", speakers), "teacher", **{"cache": True, **settings})


def test_classes_have_no_top_k(tmp_path):
    source = save_tiny(tmp_path, AutoModelForTokenClassification, TAGS)
    with pytest.raises(ValueError, match="top_k is what cache: true keeps of a language model's"):
        Distillation(TokenClassification(Backbone(source)), source, cache=True, top_k=2)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("masked", {}, "masks are drawn anew in every step: set data.masking.variants, or leave"),
        ("causal", {"stream": True}, "data.stream: true joins documents, and a teacher's words"),
        (
            "causal",
            {"streaming": StreamingConfig(2, 1), "validation_fraction": 0.0},
            "data.streaming keeps no items",
        ),
    ],
)
def test_items_that_change_are_refused_before_the_teacher_is_read(
    tmp_path, speakers, kind, settings, message
):
    data = language_corpus(tmp_path, kind, settings)
    model = Distillation(student_of(kind, speakers), "nowhere", cache=True)
    with pytest.raises(ValueError, match=message):
        quick_trainer(tmp_path, max_steps=1).fit(model, data)


def test_more_words_than_there_are_are_refused(tmp_path, speakers):
    words = num_words(speakers)
    message = f"top_k = {words + 1}, and there are {words} words"
    with pytest.raises(ValueError, match=message):
        distilled(tmp_path, speakers, "causal", top_k=words + 1)
