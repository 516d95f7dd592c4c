import pytest
from transformers import AutoModelForSequenceClassification

from lit_llm.backbone.backbone import Backbone
from lit_llm.callbacks.staged_data import StagedData
from lit_llm.data.batch_config import BatchConfig
from lit_llm.data.causal_corpus import CausalCorpus
from lit_llm.data.corpus_source import CorpusSource
from lit_llm.data.joined import Joined
from lit_llm.data.stages import StageConfig
from lit_llm.objectives.sequence_classification import SequenceClassification
from tests.helpers import CONSTANT, STEADY, Sentences, Texts, quick_trainer, save_tiny
from tests.helpers import sentences as tagged
from tests.helpers import texts as labelled


def both(**settings):
    return Joined(
        {
            "web": Texts(train=labelled([3, 4, 5, 6], "abab"), val=labelled([9], "a")),
            "news": Texts(train=labelled([3, 4], "bc"), val=labelled([7, 8], "bc", seed=1)),
        },
        **settings,
    )


def test_examples_of_all_are_trained_on_and_one_is_evaluated():
    data = both()
    train = list(data.read("train"))
    assert [example["id"] for example in train] == [
        *("web/t0", "web/t1", "web/t2", "web/t3", "news/t0", "news/t1")
    ]
    assert {example["dataset"] for example in data.read("val")} == {"news"}
    assert len(list(both(evaluate="web").read("val"))) == 1
    assert data.find_label_names(train) == ["a", "b", "c"]
    assert data.source("test") is None


def test_no_context_crosses_from_one_data_set_to_the_next():
    data = Joined({name: Sentences(train=tagged([3, 2])) for name in "xy"})
    assert [example["document"] for example in data.read("train")] == [0, 0, 1, 1]


def test_a_run_goes_from_one_data_set_to_the_next(tmp_path):
    source = save_tiny(tmp_path / "tiny", AutoModelForSequenceClassification, ["a", "b", "c"])
    stages = [
        StageConfig(where={"dataset": "web"}, steps=3),
        StageConfig(where={"dataset": "news"}, replay=0.5),
    ]
    data = both(batches=BatchConfig(examples_per_batch=2, stages=stages))
    seen = []

    class Seen(StagedData):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            seen.append({data.examples("train")[i]["dataset"] for i in batch.item_ids.tolist()})

    trainer = quick_trainer(tmp_path, max_steps=9, callbacks=[Seen()])
    trainer.fit(SequenceClassification(Backbone(source), STEADY, CONSTANT), data)
    assert seen[:3] == [{"web"}] * 3
    assert set().union(*seen[3:]) == {"news", "web"}
    assert data.label_names == ["a", "b", "c"]
    assert trainer.callback_metrics["val/loss"] > 0


@pytest.mark.parametrize(
    ("datasets", "settings", "message"),
    [
        ({}, {}, "data.datasets is empty"),
        ({"a": Texts()}, {"evaluate": "b"}, "no data set is called 'b'; there are a"),
        ({"a": Texts(), "b": Sentences()}, {}, r"datasets\.b holds tagged words, and the first"),
        ({"a": Texts(), "b": Texts("tail")}, {}, r"datasets\.b: .*tail.* give them the same"),
        ({"a": Texts(max_length=8)}, {}, r"datasets\.a\.max_length is a setting of the whole"),
        (
            {"a": CausalCorpus([CorpusSource("toy")])},
            {},
            r"datasets\.a: CausalCorpus holds no labelled",
        ),
    ],
)
def test_what_cannot_be_joined_is_refused(datasets, settings, message):
    with pytest.raises(ValueError, match=message):
        Joined(datasets, **settings)


def test_examples_of_other_fields_are_refused():
    one, other = labelled([3], "a"), [{**labelled([3], "a")[0], "year": 1999}]
    data = Joined({"one": Texts(train=one), "other": Texts(train=other)})
    with pytest.raises(ValueError, match=r"datasets\.other: examples have .*year.*give them the"):
        list(data.read("train"))


def test_a_data_set_without_training_examples_is_refused():
    data = Joined({"one": Texts(train=labelled([3], "a")), "other": Texts()})
    with pytest.raises(ValueError, match=r"datasets\.other has no training split"):
        data.source("train")
