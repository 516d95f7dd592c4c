"""Texts without a label: drawn, never evaluated on, and counted for the teacher alone."""

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from lit_llm.backbone.backbone import Backbone
from lit_llm.data.batch_config import BatchConfig
from lit_llm.data.corpus_source import CorpusSource
from lit_llm.data.joined import Joined
from lit_llm.data.sample import SampleConfig
from lit_llm.data.text_classification import TextClassification
from lit_llm.data.toy_ner import ToyNER
from lit_llm.losses.soft_targets import soft_targets
from lit_llm.objectives.distillation import Distillation
from lit_llm.objectives.sequence_classification import SequenceClassification
from lit_llm.objectives.token_classification import TokenClassification
from tests.helpers import CONSTANT, Gradients, Recorder, parameters_of, quick_trainer, save_tiny
from tests.references.students import SGD

LABELLED = ["w1 w2 w3,pos", "w4,neg", "w5 w6,pos", "w7 w8 w9 w10,neg"]
FREE = ["w11 w12", "w13", "w20", "w14 w15 w16", "w17 w18 w19"]


@pytest.fixture
def files(tmp_path):
    """Four labelled texts, one of each other split, and five texts, one of them of the test set."""
    rows = {"train": LABELLED, "dev": ["w21,pos"], "test": ["w20,neg"]}
    for split, lines in rows.items():
        (tmp_path / f"{split}.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    free = tmp_path / "more"
    free.mkdir()
    (free / "texts.csv").write_text("\n".join(["text", *FREE]) + "\n")
    return tmp_path


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return [
        save_tiny(root / name, AutoModelForSequenceClassification, ["neg", "pos"], std=std)
        for name, std in (("student", 0.3), ("teacher", 0.5))
    ]


def texts(files, number=None, batch=8, free="more/texts.csv", **settings):
    sample = SampleConfig(unlabelled=number, seed=0)
    return TextClassification(
        str(files),
        batches=BatchConfig(examples_per_batch=batch, seed=1),
        sample=sample,
        unlabelled=CorpusSource(str(files / free)) if free else None,
        **settings,
    )


def student(models):
    torch.manual_seed(0)
    return SequenceClassification(Backbone(models[0]), SGD, CONSTANT)


def fit(directory, model, data, **settings):
    trainer = quick_trainer(directory, **{"max_epochs": 1, **settings})
    trainer.fit(model, data)
    return parameters_of(model)


def test_they_are_drawn_once_and_none_is_evaluated_on(files, models):
    data = texts(files)
    fit(files, Distillation(student(models), models[1]), data)
    more = [e for e in data.examples("train") if e["label"] is None]
    assert [e["text"] for e in more] == [text for text in FREE if text != "w20"]
    assert data.notices["train"] == {
        "texts without a label, drawn with seed 0": 4,
        "texts without a label left out: evaluated on": 1,
    }
    drawn = []
    for number in (2, 3):
        data = texts(files, number)
        fit(files, Distillation(student(models), models[1]), data)
        drawn.append({e["text"] for e in data.examples("train") if e["label"] is None})
        assert len(drawn[-1]) == number
        assert len(data.examples("train")) == 4 + number
    assert drawn[0] < drawn[1]


@pytest.mark.parametrize("cache", [False, True])
def test_the_teacher_speaks_of_all_and_labels_count_where_they_are(files, models, cache):
    data, recorder, seen = texts(files), Recorder(), []
    model = Distillation(student(models), models[1], alpha=0.4, cache=cache)
    teacher = SequenceClassification(Backbone(models[1]))
    teacher.build_saved()
    teacher.eval()

    class Looks(Gradients):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            ours, theirs = (m.logits(batch).detach() for m in (pl_module.student, teacher))
            has = batch.targets["label_weights"].bool()
            labels = batch.targets["labels"][has]
            hard = torch.nn.functional.cross_entropy(ours[has], labels).item()
            total, count = soft_targets(ours, theirs, 2.0)
            seen.append((int(has.sum()), int(count), hard, total.item() / int(count)))

    fit(files, model, data, logger=recorder, callbacks=[Looks()])
    ((labelled, targets, hard, soft),) = seen
    assert (labelled, targets) == (4, 8)
    assert recorder.values("train/hard_loss") == pytest.approx([hard], rel=1e-5)
    assert recorder.values("train/soft_loss") == pytest.approx([soft], rel=1e-3)
    total = 0.4 * soft + 0.6 * hard
    assert recorder.values("train/loss") == pytest.approx([total], rel=1e-3)


def test_a_step_in_parts_is_the_whole_step(files, models):
    def trained(batch, accumulate):
        model = Distillation(student(models), models[1], cache=False)
        data = texts(files, batch=batch)
        return fit(files, model, data, max_epochs=2, accumulate_grad_batches=accumulate)

    torch.testing.assert_close(trained(2, 4), trained(8, 1), rtol=1e-5, atol=1e-6)


def test_without_a_teacher_they_are_refused(files, models):
    for model in (student(models), Distillation(student(models), "none", alpha=0.0)):
        with pytest.raises(ValueError, match=r"data.unlabelled: texts .* need a teacher"):
            fit(files, model, texts(files))


def test_other_texts_in_as_large_a_number_are_tokenised_anew(files, models):
    def tokens():
        data = texts(files)
        fit(files, Distillation(student(models), models[1]), data)
        more = [i for i, e in enumerate(data.examples("train")) if e["label"] is None]
        decode = data._backbone().tokenizer.decode
        read = [
            decode(data._items["train"][i]["input_ids"], skip_special_tokens=True) for i in more
        ]
        assert read == [data.examples("train")[i]["text"] for i in more]
        return read

    before = tokens()
    (files / "test.csv").write_text("text,label\nw13,neg\n")  # another one is left out now
    assert tokens() != before


def test_a_run_that_is_only_scored_has_none(files, models):
    model = student(models)
    model.build_saved()
    data = texts(files)
    quick_trainer(files).test(model, data, verbose=False)
    assert len(data.examples("train")) == 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"path": "toy"}, "data.unlabelled.path: toy is a corpus of stories"),
        ({"path": "x.csv", "weight": 2.0}, "data.unlabelled.weight is for the sources of a corpus"),
        ({"path": "x.csv", "shuffle_words": True}, "data.unlabelled.shuffle_words is for"),
    ],
)
def test_what_means_something_of_a_corpus_alone_is_refused(files, settings, message):
    with pytest.raises(ValueError, match=message):
        TextClassification(str(files), unlabelled=CorpusSource(**settings))


def test_other_data_refuse_them(files, models):
    words = ToyNER(context="none", sample=SampleConfig(unlabelled=2))
    model = TokenClassification(Backbone(models[0]))
    with pytest.raises(ValueError, match=r"sample.unlabelled: ToyNER takes no texts without"):
        fit(files, model, words)
    with pytest.raises(ValueError, match=r"joined data sets take no texts without a label"):
        Joined({"one": texts(files)})


def test_more_than_there_are_is_refused(files, models):
    with pytest.raises(ValueError, match=r"sample.unlabelled = 5, but there are 4 texts"):
        fit(files, Distillation(student(models), models[1]), texts(files, 5))
    with pytest.raises(ValueError, match=r"data.sample.unlabelled: say where the texts are"):
        texts(files, 2, free=None)
    with pytest.raises(ValueError, match=r"sample.unlabelled must be at least 1"):
        SampleConfig(unlabelled=0)
