"""A student learns from its teacher: the same loss, gradient and files as by hand."""

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForPreTraining,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from lit_llm.backbone.backbone import Backbone
from lit_llm.losses.soft_targets import soft_targets as matched
from lit_llm.objectives import teacher_cache
from lit_llm.objectives.causal_lm import CausalLM
from lit_llm.objectives.distillation import Distillation
from lit_llm.objectives.masked_lm import MaskedLM
from lit_llm.objectives.matching import MatchConfig
from lit_llm.objectives.sequence_classification import SequenceClassification
from lit_llm.objectives.teacher import Teacher
from lit_llm.objectives.token_classification import TokenClassification
from tests.helpers import (
    CONSTANT,
    STEADY,
    TAGS,
    Gradients,
    Recorder,
    Texts,
    parameters_of,
    save_tiny,
    sentences,
    texts,
)
from tests.references.language_corpus import language_corpus
from tests.references.losses import soft_targets
from tests.references.students import LENGTHS, SGD, fit, tagger, words_data


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A student, two teachers, one of them with its labels in another order."""
    root = tmp_path_factory.mktemp("models")
    kinds = {"student": (TAGS, 0.3), "teacher": (TAGS, 0.5), "turned": (TAGS[::-1], 0.4)}
    return {
        name: save_tiny(root / name, AutoModelForTokenClassification, labels, std=std)
        for name, (labels, std) in kinds.items()
    }


def scores_of(source, data, student=None):
    """A saved tagger's scores of the words of each example, by the example's id."""
    model = tagger(source)
    model.build_saved()
    model.eval()
    found = {}
    for batch in data.train_dataloader():
        logits = model.logits(batch).detach()
        words, labels = (batch.targets[name].tolist() for name in ("unit_ids", "labels"))
        found |= {word: pair for word, *pair in zip(words, logits, labels, strict=True)}
    return found


def test_loss_is_that_of_the_paper(tmp_path, models):
    alpha, temperature = 0.3, 2.5
    model = Distillation(tagger(models["student"], SGD), models["teacher"], alpha, temperature)
    recorder = Recorder()
    data = words_data(batch=len(LENGTHS))
    fit(tmp_path, model, data, max_epochs=1, logger=recorder)
    student, teacher = (scores_of(models[name], data) for name in ("student", "teacher"))
    soft = hard = 0.0
    for word, (scores, label) in student.items():
        theirs = teacher[word][0].double().tolist()
        soft += soft_targets(scores.double().tolist(), theirs, temperature, "kl")
        hard -= torch.log_softmax(scores.double(), dim=0)[label].item()
    found = [recorder.values(f"train/{name}")[0] for name in ("soft_loss", "hard_loss", "loss")]
    total = alpha * soft + (1 - alpha) * hard
    expected = [value / sum(LENGTHS) for value in (soft, hard, total)]
    assert found == pytest.approx(expected, rel=1e-4)


def test_alpha_zero_is_plain_training_to_the_bit(tmp_path, models):
    plain, _ = fit(tmp_path, tagger(models["student"]))
    distilled, _ = fit(tmp_path, Distillation(tagger(models["student"]), "nowhere", alpha=0.0))
    torch.testing.assert_close(distilled, plain, rtol=0, atol=0)


def test_a_student_like_its_teacher_does_not_move(tmp_path, models):
    before = tagger(models["student"], SGD)
    before.build_saved()
    model = Distillation(tagger(models["student"], SGD), models["student"], alpha=1.0)
    after, trainer = fit(tmp_path, model)
    assert trainer.callback_metrics["train/soft_loss"] == pytest.approx(0.0, abs=1e-6)
    torch.testing.assert_close(after, parameters_of(before), rtol=0, atol=1e-6)


def test_a_step_in_parts_is_the_whole_step(tmp_path, models):
    whole = Distillation(tagger(models["student"], SGD), models["teacher"])
    parts = Distillation(tagger(models["student"], SGD), models["teacher"])
    one, _ = fit(tmp_path, whole, words_data(4), accumulate_grad_batches=1)
    other, _ = fit(tmp_path, parts, words_data(2), accumulate_grad_batches=2)
    torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-6)


def test_labels_in_another_order_are_matched_by_name(tmp_path, models):
    model = Distillation(tagger(models["student"]), models["turned"])
    seen = []

    class Looks(Gradients):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            teacher = pl_module._teacher[0]
            mine = teacher.logits(batch)
            theirs = teacher.models[0].logits(batch)
            seen.append((mine, theirs))

    fit(tmp_path, model, max_steps=1, callbacks=[Looks()])
    mine, theirs = seen[0]
    torch.testing.assert_close(mine, theirs.flip(1))


def test_several_teachers_are_averaged_and_none_is_saved_or_counted(tmp_path, models):
    sources = [models["teacher"], models["turned"]]
    model = Distillation(tagger(models["student"]), sources, cache=False)
    modes = []

    class Looks(Gradients):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            teacher = pl_module._teacher[0]
            modes.append(any(m.training for t in teacher.models for m in t.modules()))
            first, second = (t.logits(batch) for t in teacher.models)
            expected = (first + second.flip(1)) / 2
            torch.testing.assert_close(teacher.logits(batch), expected)
            assert not any(p.requires_grad for t in teacher.models for p in t.parameters())

    fit(tmp_path, model, callbacks=[Looks()])
    assert modes
    assert not any(modes)
    plain = tagger(models["student"])
    plain.build_saved()
    assert {n: p.shape for n, p in model.named_parameters()} == {
        n: p.shape for n, p in plain.named_parameters()
    }
    assert set(model.state_dict()) == set(plain.state_dict())


def test_what_is_saved_is_the_student(tmp_path, models):
    model = Distillation(tagger(models["student"]), models["teacher"])
    fit(tmp_path, model)
    model.save(tmp_path / "saved")
    loaded = AutoModelForTokenClassification.from_pretrained(tmp_path / "saved")
    assert loaded.config.id2label == dict(enumerate(TAGS))
    again = tagger(str(tmp_path / "saved"))
    again.build_saved()
    torch.testing.assert_close(parameters_of(again), parameters_of(model), rtol=0, atol=0)


def test_alpha_and_temperature_move_over_the_run(tmp_path, models):
    model = Distillation(
        tagger(models["student"]),
        models["teacher"],
        alpha=1.0,
        alpha_at_end=0.0,
        temperature=4.0,
        temperature_at_end=1.0,
    )
    weights, given = [], []
    match = model.student.match
    model.student.match = lambda *a: (given.append(a[3]), match(*a))[1]

    class Looks(Gradients):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            weights.append(pl_module.term_weights["soft"])

    fit(tmp_path, model, callbacks=[Looks()])  # four steps
    assert weights == pytest.approx([1, 2 / 3, 1 / 3, 0])
    assert given == pytest.approx([4, 3, 2, 1])


@pytest.mark.parametrize(
    ("problem", "labels"),
    [
        ("single_label_classification", ["a", "b", "a", "b"]),
        ("multi_label_classification", [["a"], ["a", "b"], [], ["b"]]),
        ("regression", [0.5, 1.0, -1.0, 2.0]),
    ],
)
def test_texts_of_every_kind_can_be_distilled(tmp_path, problem, labels):
    names = ["value"] if problem == "regression" else ["a", "b"]
    sources = [
        save_tiny(tmp_path / name, AutoModelForSequenceClassification, names, std=std)
        for name, std in (("student", 0.3), ("teacher", 0.5))
    ]
    torch.manual_seed(0)
    student = SequenceClassification(Backbone(sources[0]), STEADY, CONSTANT, problem_type=problem)
    data = Texts(truncation="windows", max_length=16, train=texts([3, 30, 5, 20], labels))
    model = Distillation(student, sources[1], alpha=1.0)
    recorder = Recorder()
    fit(tmp_path, model, data, max_epochs=60, logger=recorder)
    losses = recorder.values("train/soft_loss")
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": 1.5}, r"alpha must lie in \[0, 1\], not 1.5"),
        ({"alpha_at_end": -0.1}, r"alpha_at_end must lie in \[0, 1\], not -0.1"),
        ({"temperature": 0.0}, "temperature must be above 0, not 0.0"),
        ({"teacher": []}, "teacher is empty"),
    ],
)
def test_settings_that_make_no_sense_are_refused(models, settings, message):
    with pytest.raises(ValueError, match=message):
        Distillation(tagger(models["student"]), **{"teacher": models["teacher"], **settings})


KINDS = {"causal": (CausalLM, AutoModelForCausalLM), "masked": (MaskedLM, AutoModelForPreTraining)}


def language_model(kind, source):
    torch.manual_seed(0)
    settings = {"sentence_objective": "sop"} if kind == "masked" else {}
    return KINDS[kind][0](Backbone(source), SGD, CONSTANT, **settings)


@pytest.fixture(scope="module")
def speakers(tmp_path_factory):
    """A student and a teacher of each kind; the masked ones read pairs of segments, too."""
    root = tmp_path_factory.mktemp("speakers")
    architectures = {"causal": "gpt2", "masked": "bert"}
    return {
        (kind, name): save_tiny(
            root / f"{kind}-{name}", KINDS[kind][1], ["x", "y"], architectures[kind], std=std
        )
        for kind in KINDS
        for name, std in (("student", 0.3), ("teacher", 0.5))
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_language_model_learns_from_its_teachers_words(tmp_path, speakers, kind):
    teacher = language_model(kind, speakers[kind, "teacher"])
    teacher.build_saved()
    teacher.eval()
    model = Distillation(language_model(kind, speakers[kind, "student"]), speakers[kind, "teacher"])
    found = []

    class Compares(Gradients):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            terms = pl_module.terms(batch)
            scores = [m.logits(batch).detach().double() for m in (pl_module.student, teacher)]
            expected, count = matched(*scores, 2.0)
            assert terms["soft"][1] == count
            assert terms["soft"][0].item() == pytest.approx(expected.item(), rel=1e-4)
            own = pl_module.student.terms(batch)
            named = {"loss": "hard"}
            assert {named.get(n, n): float(t) for n, (t, _) in own.items()} == pytest.approx(
                {n: float(t) for n, (t, _) in terms.items() if n != "soft"}, rel=1e-6
            )
            found.append(set(terms))

    data = language_corpus(tmp_path, kind)
    fit(tmp_path, model, data, max_steps=2, callbacks=[Compares()])
    own = {"hard"} if kind == "causal" else {"masked", "sentence"}
    assert found == [{"soft", *own}] * 2


def test_a_language_models_step_in_parts_is_the_whole_step(tmp_path, speakers):
    def trained(batches, **settings):
        student = language_model("causal", speakers["causal", "student"])
        model = Distillation(student, speakers["causal", "teacher"], alpha=0.7)
        data = language_corpus(tmp_path, "causal", tokens_per_batch=batches)
        return fit(tmp_path, model, data, max_steps=2, **settings)[0]

    one = trained(batches=256)
    other = trained(batches=128, accumulate_grad_batches=2)
    torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)


def distilled(directory, models, cache, data=None, teacher="teacher", **settings):
    """A run, what its first step lost to the teacher, and how often the teacher was asked."""
    model = Distillation(tagger(models["student"], SGD), models[teacher], alpha=0.9, cache=cache)
    recorder, asked = Recorder(), []
    load = model.configure_model

    def configure_model():
        load()
        if not model._teacher:  # an evaluation
            return
        (scorer,) = model._teacher
        logits = scorer.logits
        scorer.logits = lambda batch: (asked.append(batch), logits(batch))[1]

    model.configure_model = configure_model
    weights, _ = fit(directory, model, data, logger=recorder, **settings)
    return weights, recorder.values("train/soft_loss")[0], len(asked)


def shards(directory):
    return {file.name: file.read_bytes() for file in directory.glob("teacher-*/*.safetensors")}


@pytest.fixture
def small_shards(monkeypatch, tmp_path):
    monkeypatch.setattr(teacher_cache, "ITEMS_OF_A_SHARD", 3)
    monkeypatch.setenv("LIT_LLM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize(("precision", "rtol"), [("32-true", 1e-3), ("bf16-mixed", 5e-2)])
def test_scores_are_computed_once_and_are_the_teachers(
    tmp_path, models, small_shards, precision, rtol
):
    live, loss, asked = distilled(tmp_path, models, cache=False, precision=precision)
    assert asked == 4
    cached, cached_loss, asked = distilled(tmp_path, models, cache=None, precision=precision)
    assert asked == 3  # shards of three of the eight items; four steps
    assert cached_loss == pytest.approx(loss, rel=rtol)
    torch.testing.assert_close(cached, live, rtol=rtol, atol=rtol / 10)
    again, again_loss, asked = distilled(tmp_path, models, cache=True, precision=precision)
    assert (asked, again_loss) == (0, cached_loss)
    torch.testing.assert_close(again, cached, rtol=0, atol=0)


def test_scores_are_computed_once_under_autocast(tmp_path, models, small_shards):
    _, loss, _ = distilled(tmp_path, models, cache=False, precision="bf16-mixed")
    _, cached_loss, asked = distilled(tmp_path, models, cache=True, precision="bf16-mixed")
    assert asked == 3
    assert cached_loss == pytest.approx(loss, rel=0.02)  # bfloat16 holds 8 bits


def test_scores_of_another_teacher_or_other_data_are_not_used(tmp_path, models, small_shards):
    for number, changes in enumerate(({}, {"teacher": "turned"}, {"data": words_data(4)}), start=1):
        if "data" in changes:
            changes["data"].splits["train"] = sentences(LENGTHS[:-1])
        assert distilled(tmp_path, models, cache=True, **changes)[2] == 3
        assert len(list(small_shards.glob("teacher-*"))) == number


def test_what_was_interrupted_goes_on_and_ends_with_the_same_bytes(tmp_path, models, small_shards):
    distilled(tmp_path, models, cache=True)
    whole = shards(small_shards)
    first, second, third = sorted(small_shards.glob("teacher-*/*.safetensors"))
    first.unlink()
    second.write_bytes(second.read_bytes()[:40])  # half written by something else than us
    third.with_name(f".{third.name}-123").write_bytes(b"left behind")
    assert distilled(tmp_path, models, cache=True)[2] == 2
    assert shards(small_shards) == whole


def test_texts_in_windows_have_a_score_each(tmp_path, small_shards):
    sources = [
        save_tiny(tmp_path / name, AutoModelForSequenceClassification, ["a", "b"], std=std)
        for name, std in (("student", 0.3), ("teacher", 0.5))
    ]
    found = []
    for cache in (False, True):
        torch.manual_seed(0)
        student = SequenceClassification(Backbone(sources[0]), SGD, CONSTANT)
        data = Texts("windows", max_length=16, train=texts([3, 30, 5, 20], ["a", "b", "a", "b"]))
        model = Distillation(student, sources[1], cache=cache)
        found.append(fit(tmp_path, model, data, max_epochs=3)[0])
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-4)


class Own(TokenClassification):
    """An objective of a user's, which says nothing of teachers."""

    def terms(self, batch):
        return super().terms(batch)


def test_an_objective_that_asks_no_teacher_is_refused(models):
    with pytest.raises(ValueError, match="Own has terms of its own, and no method taught"):
        Distillation(Own(Backbone(models["student"])), models["teacher"])


def other_vocabulary(directory, task=AutoModelForTokenClassification, labels=TAGS, **settings):
    """Its tokenizer knows single letters and digits alone."""
    source = save_tiny(directory, task, labels, **settings)
    file = directory / "tokenizer.json"
    content = json.loads(file.read_text())
    vocabulary = content["model"]["vocab"]
    content["model"]["vocab"] = {
        word if len(word.removeprefix("##")) == 1 or word.startswith("[") else f"~{word}": i
        for word, i in vocabulary.items()
    }
    file.write_text(json.dumps(content))
    return source


def read_one_by_one(model, data, examples):
    """A model's scores of each text or word, every example in a batch of its own."""
    model.build_saved()
    model.eval()
    rows = []
    for example in examples:
        (batch,) = data.packed_reading(model.backbone, [example])
        rows.append(model.logits(batch).detach())
    return torch.cat(rows)


@pytest.mark.parametrize("kind", ["words", "texts"])
def test_a_teacher_that_reads_otherwise_is_asked_for_each_unit(tmp_path, small_shards, kind):
    if kind == "words":
        task, labels, module = AutoModelForTokenClassification, TAGS, TokenClassification
        data, examples, units = words_data(), sentences(LENGTHS), sum(LENGTHS)
    else:
        task, labels = AutoModelForSequenceClassification, ["a", "b"]
        module, units = SequenceClassification, 4
        examples = texts([3, 9, 5, 7], ["a", "b", "a", "b"])
        data = Texts(max_length=64, train=examples, val=texts([4], ["a"], seed=1))
    student = save_tiny(tmp_path / "student", task, labels, std=0.3)
    first = other_vocabulary(tmp_path / "first", task, labels, std=0.5)
    second = save_tiny(tmp_path / "second", task, labels[::-1], std=0.4)
    seen = {}

    class Looks(Gradients):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            scores = pl_module._teacher[0].logits(batch)
            seen.update(zip(batch.targets["unit_ids"].tolist(), scores, strict=True))

    torch.manual_seed(0)
    model = Distillation(module(Backbone(student), SGD, CONSTANT), [first, second])
    fit(tmp_path, model, data, max_epochs=1, callbacks=[Looks()])
    ours, theirs = (
        read_one_by_one(module(Backbone(source)), data, examples) for source in (first, second)
    )
    assert len(seen) == units
    for unit in range(units):
        expected = (ours[unit] + theirs[unit].flip(0)) / 2
        torch.testing.assert_close(seen[unit], expected, rtol=1e-3, atol=1e-3)


def test_windows_of_a_text_are_averaged(tmp_path):
    source = save_tiny(tmp_path / "m", AutoModelForSequenceClassification, ["a", "b"])
    model = SequenceClassification(Backbone(source), SGD, CONSTANT)
    data = Texts("windows", max_length=16, train=texts([30], ["a"]))
    data.label_names = ["a", "b"]
    student = SequenceClassification(Backbone(source), SGD, CONSTANT)
    student.build(["a", "b"])
    teacher = Teacher([source], student)
    model.build_saved()
    model.eval()
    (batch,) = data.packed_reading(model.backbone, data.splits["train"])
    assert batch.num_examples > 1
    found = teacher.unit_scores(data, data.splits["train"])
    torch.testing.assert_close(found, model.logits(batch).mean(0, keepdim=True))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cache": False}, "cache: false asks it every step, and the teacher reads other tokens"),
        ({"match": [MatchConfig("embeddings")]}, "match looks into both, and the teacher reads"),
    ],
)
def test_what_needs_the_students_tokens_is_refused(tmp_path, models, settings, message):
    teacher = other_vocabulary(tmp_path / "teacher")
    with pytest.raises(ValueError, match=message):
        fit(tmp_path, Distillation(tagger(models["student"]), teacher, **settings))


@pytest.mark.parametrize("kind", KINDS)
def test_words_of_another_vocabulary_cannot_be_aligned(tmp_path, speakers, kind):
    architecture = {"causal": "gpt2", "masked": "bert"}[kind]
    labels = ["x", "y"]
    teacher = other_vocabulary(
        tmp_path / "teacher", KINDS[kind][1], labels, model_type=architecture
    )
    model = Distillation(language_model(kind, speakers[kind, "student"]), teacher)
    with pytest.raises(ValueError, match="has another tokenizer than the student, so they do not"):
        fit(tmp_path, model, language_corpus(tmp_path, kind))


def pickled(directory):
    source = save_tiny(directory, AutoModelForTokenClassification, TAGS)
    weights = directory / "model.safetensors"
    torch.save(load_file(weights), directory / "pytorch_model.bin")
    weights.unlink()
    return source


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (pickled, r"pytorch_model.bin.* pickle"),
        (
            lambda d: save_tiny(d, AutoModelForTokenClassification, [*TAGS[:4], "I-ORG"]),
            r"has the labels O, B-LOC, I-LOC, B-PER, I-ORG, and the data .*I-PER: a teacher has to",
        ),
        (lambda d: str(d / "none"), "there is no such directory"),
        (lambda d: save_tiny(d, AutoModelForSequenceClassification, TAGS), "holds no trained head"),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused_by_name(tmp_path, models, make, message):
    teacher = make(tmp_path / "teacher")
    with pytest.raises(ValueError, match=message):
        fit(tmp_path, Distillation(tagger(models["student"]), teacher))
