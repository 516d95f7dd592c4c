"""What a distilled run says of its student and its teacher."""

import json

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForPreTraining,
    AutoModelForSequenceClassification,
)

from lit_llm.backbone.backbone import Backbone
from lit_llm.data.masking import MaskingConfig
from lit_llm.objectives.causal_lm import CausalLM
from lit_llm.objectives.distillation import Distillation
from lit_llm.objectives.masked_lm import MaskedLM
from lit_llm.objectives.sequence_classification import SequenceClassification
from tests.helpers import CONSTANT, Texts, quick_trainer, save_tiny, texts
from tests.objectives.test_distillation import other_vocabulary
from tests.references.language_corpus import language_corpus
from tests.references.students import SGD

LABELS = ["a", "b"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIT_LLM_CACHE", str(tmp_path / "cache"))


def compared(directory, model, data, **settings):
    """A short fit, its evaluation, and what is said then."""
    trainer = quick_trainer(directory, max_steps=1, **settings)
    trainer.fit(model, data)
    trainer.validate(model, data, verbose=False)
    return model.closing_facts(["val"])["distillation"]


def scored(directory, model, data, **settings):
    """A model's own figures of the development set."""
    model.build_saved()
    quick_trainer(directory, **settings).validate(model, data, verbose=False)
    return model.results["val"]["metrics"]


def labelled(truncation="head", max_length=64):
    lengths = [3, 9, 5, 7, 30, 4]
    val = texts(lengths, ["a", "b"] * 3, seed=1)
    train = texts([3, 9, 5, 7], ["a", "b", "a", "b"])
    return Texts(truncation, max_length, train=train, val=val)


def classifier(source):
    torch.manual_seed(0)
    return SequenceClassification(Backbone(source), SGD, CONSTANT)


@pytest.fixture
def sources(tmp_path):
    def save(name, make=save_tiny, **settings):
        kind = AutoModelForSequenceClassification
        return make(tmp_path / name, kind, LABELS, **{"std": 0.5, **settings})

    return {
        "student": save("student"),
        "teacher": save("teacher", hidden_size=16),
        "letters": save("letters", other_vocabulary),
    }


@pytest.mark.parametrize("teacher", ["teacher", "letters"])
@pytest.mark.parametrize("limit", [1.0, 1])
def test_the_teachers_figures_are_its_own(tmp_path, sources, teacher, limit):
    data = labelled("windows", 16)
    data.batches = type(data.batches)(eval_tokens_per_batch=130)
    settings = {"limit_val_batches": limit}
    model = Distillation(classifier(sources["student"]), sources[teacher])
    facts = compared(tmp_path, model, data, **settings)
    is_whole = isinstance(limit, float)  # 1 is a single batch
    if is_whole:
        own = labelled("windows", 16)
        found = scored(tmp_path, classifier(sources[teacher]), own, **settings)
        theirs = facts["teacher"]["metrics"]
        assert theirs["val/accuracy"] == pytest.approx(found["accuracy"])
    ours = model.results["val"]["metrics"]["accuracy"]
    if facts["retained"]:
        theirs = facts["teacher"]["metrics"]["val/accuracy"]
        assert facts["retained"]["val/accuracy"] == ours / theirs
    assert 0 <= facts["agreement"]["val"] <= 1
    whole = list((tmp_path / "cache").glob("teacher-*.json"))
    assert len(whole) == is_whole  # a part is not kept as if it were all


def test_what_is_kept_is_asked_for_again(tmp_path, sources):
    def facts():
        model = Distillation(classifier(sources["student"]), sources["teacher"])
        return compared(tmp_path, model, labelled())

    first = facts()
    (file,) = (tmp_path / "cache").glob("teacher-*.json")
    content = json.loads(file.read_text())
    content["metrics"]["accuracy"] = 0.125
    file.write_text(json.dumps(content))
    assert facts()["teacher"]["metrics"]["val/accuracy"] == 0.125
    assert first["teacher"]["metrics"].keys() == {f"val/{name}" for name in content["metrics"]}


def test_one_example_is_one_example(tmp_path, sources):
    data = labelled()
    compared(tmp_path, Distillation(classifier(sources["student"]), sources["teacher"]), data)
    assert [b.num_examples for b in data.timing_pass("val", single=True)] == [1] * 6
    assert sum(b.num_examples for b in data.timing_pass("val", single=False)) == 6
    reading = data.packed_reading(Backbone(sources["letters"]), data.examples("val"), single=True)
    assert [b.num_examples for b in reading] == [1] * 6


def masked_lm(source, pairs="none"):
    torch.manual_seed(0)
    return MaskedLM(Backbone(source), SGD, CONSTANT, sentence_objective=pairs)


def test_of_masked_words_other_masks_are_other_figures(tmp_path):
    sources = [
        save_tiny(tmp_path / name, AutoModelForPreTraining, LABELS, std=std)
        for name, std in (("student", 0.3), ("teacher", 0.5))
    ]
    losses = []
    for rate in (0.15, 0.4):
        data = language_corpus(tmp_path, "masked")
        data.masking = MaskingConfig(rate=rate)
        model = Distillation(masked_lm(sources[0]), sources[1])
        facts = compared(tmp_path, model, data)
        data = language_corpus(tmp_path, "masked")
        data.masking = MaskingConfig(rate=rate)
        own = scored(tmp_path, masked_lm(sources[1]), data)
        losses.append(facts["teacher"]["metrics"]["val/loss"])
        assert losses[-1] == pytest.approx(own["loss"])
    assert losses[0] != losses[1]


@pytest.mark.parametrize(("ours", "theirs"), [("none", "sop"), ("sop", "none")])
def test_pairs_of_sentences_are_the_students_own(tmp_path, monkeypatch, ours, theirs):
    sources = [
        save_tiny(tmp_path / name, AutoModelForPreTraining, LABELS, std=std)
        for name, std in (("student", 0.3), ("teacher", 0.5))
    ]
    load = "lit_llm.objectives.teacher.settings_of"
    monkeypatch.setattr(load, lambda model: {"sentence_objective": theirs})
    model = Distillation(masked_lm(sources[0], ours), sources[1])
    facts = compared(tmp_path, model, language_corpus(tmp_path, "masked"))
    assert "val/masked_accuracy" in facts["teacher"]["metrics"]
    assert "val/sentence_accuracy" not in facts["teacher"]["metrics"]


def test_of_several_language_models_there_are_no_figures(tmp_path):
    sources = [
        save_tiny(tmp_path / name, AutoModelForCausalLM, LABELS, "gpt2", std=std)
        for name, std in (("student", 0.3), ("first", 0.5), ("second", 0.4))
    ]
    student = CausalLM(Backbone(sources[0]), SGD, CONSTANT)
    model = Distillation(student, sources[1:])
    facts = compared(tmp_path, model, language_corpus(tmp_path, "causal"))
    assert facts["teacher"]["metrics"] == facts["retained"] == facts["agreement"] == {}
    assert facts["teacher"]["parameters"] == 2 * facts["student"]["parameters"]


def test_a_teacher_that_will_be_compared_is_looked_at_first(tmp_path, sources):
    model = Distillation(classifier(sources["student"]), "nowhere", alpha=0.0, compare=True)
    with pytest.raises(OSError, match="nowhere"):
        compared(tmp_path, model, labelled())


def test_a_teacher_of_one_example_a_row_reads_in_its_own_way(tmp_path, sources):
    shape = {"dim": 8, "n_layers": 2, "n_heads": 2, "hidden_dim": 16, "dropout": 0.0}
    settings = {"attention_dropout": 0.0, "seq_classif_dropout": 0.0, **shape}
    teacher = save_tiny(
        tmp_path / "one",
        AutoModelForSequenceClassification,
        LABELS,
        "distilbert",
        **settings,
    )
    facts = compared(tmp_path, Distillation(classifier(sources["student"]), teacher), labelled())
    own = scored(tmp_path, classifier(teacher), labelled())
    assert facts["teacher"]["metrics"]["val/accuracy"] == pytest.approx(own["accuracy"])


def test_a_teacher_of_short_texts_reads_what_it_can(tmp_path, sources):
    kind = AutoModelForSequenceClassification
    short = save_tiny(tmp_path / "short", kind, LABELS, max_position_embeddings=12)
    model = Distillation(classifier(sources["student"]), short)
    facts = compared(tmp_path, model, labelled())
    assert facts["teacher"]["metrics"]["val/accuracy"] >= 0
