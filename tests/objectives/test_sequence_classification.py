import pytest
import torch
from transformers import AutoModelForSequenceClassification

from lit_llm.backbone.backbone import Backbone
from lit_llm.batch import PackedBatch
from lit_llm.data.batch_config import BatchConfig
from lit_llm.objectives.evaluation import Predictions
from lit_llm.objectives.sequence_classification import SequenceClassification
from lit_llm.optim import OptimizerConfig
from tests.helpers import (
    CONSTANT,
    STEADY,
    Texts,
    assert_first_step,
    quick_trainer,
    save_tiny,
    texts,
)
from tests.references.fine_tuning import one_step, text_loss

LABELS = ["bad", "fair", "good"]
IDS = {name: i for i, name in enumerate(LABELS)}
EXAMPLES = texts([4, 1, 7, 2, 5], ["good", "bad", "bad", "fair", "good"])


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    made = {}

    def save(model_type="bert", **changes):
        key = (model_type, str(changes))
        if key not in made:
            directory = tmp_path_factory.mktemp(model_type)
            made[key] = save_tiny(
                directory, AutoModelForSequenceClassification, LABELS, model_type, **changes
            )
        return made[key]

    return save


def built(source, labels=LABELS, **settings):
    model = SequenceClassification(Backbone(source), **settings)
    model.build(labels)
    return model


def items_of(model, examples=EXAMPLES, truncation="head", max_length=64):
    data = Texts(truncation, max_length)
    data.label_names = LABELS
    return list(data.items(examples, model.backbone, {}))


@pytest.mark.parametrize("max_norm", [None, 0.05])
@pytest.mark.parametrize(("model_type", "base"), [("bert", "bert"), ("gpt2", "transformer")])
def test_one_step_equals_plain_transformers(source, tmp_path, model_type, base, max_norm):
    plain = AutoModelForSequenceClassification.from_pretrained(source(model_type)).train()
    model = SequenceClassification(Backbone(source(model_type)), STEADY, CONSTANT)
    losses = [text_loss(plain, model.backbone.tokenizer, example, IDS) for example in EXAMPLES]
    expected = one_step(
        plain, losses, lr=STEADY.lr, weight_decay=0.5, eps=STEADY.eps, max_norm=max_norm
    )

    data = Texts(train=EXAMPLES, batches=BatchConfig(examples_per_batch=len(EXAMPLES)))
    assert_first_step(model, data, expected, base, tmp_path, max_norm)


def test_evaluation_equals_plain_transformers(source, tmp_path):
    plain = AutoModelForSequenceClassification.from_pretrained(source()).eval()
    model = SequenceClassification(Backbone(source()))
    with torch.no_grad():
        losses = [
            text_loss(plain, model.backbone.tokenizer, example, IDS).item() for example in EXAMPLES
        ]
    data = Texts(test=EXAMPLES)
    data.label_names = LABELS
    quick_trainer(tmp_path).test(model, data, verbose=False)
    result = model.results["test"]
    assert result["metrics"]["loss"] == pytest.approx(sum(losses) / 5, rel=1e-5)
    gold = [record["probabilities"][IDS[record["gold"]]] for record in result["records"]]
    assert gold == [pytest.approx(torch.tensor(-loss).exp().item(), abs=1e-5) for loss in losses]
    assert [record["id"] for record in result["records"]] == [e["id"] for e in EXAMPLES]


@pytest.mark.parametrize("pooling", ["first", "last", "mean"])
def test_filler_and_order_do_not_change_the_loss(source, pooling):
    model = built(source(), pooling=pooling)
    items = items_of(model)
    rows = PackedBatch.pack(items, [[0, 1], [2], [3, 4]], 24, pad_token_id=0)
    mixed = [items[i] for i in (3, 0, 4, 2, 1)]
    other = PackedBatch.pack(mixed, [[4, 2], [], [0, 1, 3]], 61, pad_token_id=0)
    total, count = model.loss(model.logits(rows), rows)
    total_other, count_other = model.loss(model.logits(other), other)
    assert count == count_other == 5
    torch.testing.assert_close(total, total_other)


def test_windows_weigh_one_over_k(source):
    model = built(source())
    long, short = texts([20, 2], ["bad", "good"])
    items = items_of(model, [long, short], "windows", max_length=16)
    k = len(items) - 1
    assert k > 1
    batch = PackedBatch.pack(items, [[i] for i in range(len(items))], 16, pad_token_id=0)
    logits = torch.zeros(k + 1, 3)
    logits[:k, 0] = torch.arange(k) / 2.0  # each window of the long text is sure in its own way
    total, count = model.loss(logits, batch)
    log_p = logits.log_softmax(-1)
    # The mean over the long text's windows, and the short text: two reviews.
    torch.testing.assert_close(total, -log_p[:k, 0].mean() - log_p[k, 2])
    torch.testing.assert_close(count, torch.tensor(2.0))


def test_windows_are_averaged_to_one_prediction(source, tmp_path):
    examples = texts([20, 2, 45], ["bad", "good", "fair"])
    data = Texts("windows", 16, val=examples)
    data.label_names = LABELS
    model = SequenceClassification(Backbone(source()))
    quick_trainer(tmp_path).validate(model, data, verbose=False)
    model.eval()
    items = items_of(model, examples, "windows", max_length=16)
    with torch.no_grad():
        windows = [
            model.logits(PackedBatch.pack([item], [[0]], 16, pad_token_id=0)).softmax(-1)[0]
            for item in items
        ]
    for unit, record in enumerate(model.results["val"]["records"]):
        own = [p for p, item in zip(windows, items, strict=True) if item["unit_ids"] == unit]
        assert record["windows"] == len(own)
        expected = torch.stack(own).mean(0)
        torch.testing.assert_close(
            torch.tensor(record["probabilities"]), expected, rtol=0, atol=2e-6
        )
        assert record["prediction"] == LABELS[int(expected.argmax())]


def test_limited_evaluation_scores_whole_texts_only(source, tmp_path):
    examples = texts([60, 8, 70, 80], ["bad", "good", "fair", "bad"])
    batches = BatchConfig(eval_tokens_per_batch=128)
    data = Texts("windows", 32, batches=batches, val=examples)
    data.label_names = LABELS
    model = SequenceClassification(Backbone(source()))
    quick_trainer(tmp_path).validate(model, data, verbose=False)
    everything = {record["id"]: record for record in model.results["val"]["records"]}
    assert len(everything) == 4
    limit = len(data.val_dataloader()) - 1
    quick_trainer(tmp_path, limit_val_batches=limit).validate(model, data, verbose=False)
    some = model.results["val"]["records"]
    assert 0 < len(some) < 4
    assert all(record == everything[record["id"]] for record in some)


def learn(model, examples, tmp_path):
    data = Texts(train=examples, val=examples)
    trainer = quick_trainer(tmp_path, max_epochs=40, check_val_every_n_epoch=40)
    trainer.fit(model, data)
    return model.results["val"]


def learner(source, **settings):
    torch.manual_seed(0)
    fast = OptimizerConfig(lr=0.02)
    return SequenceClassification(
        Backbone(source(std=None, hidden_size=16, initializer_range=0.2)), fast, **settings
    )


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_four_texts_are_learned(source, tmp_path, pooling):
    examples = texts([3, 1, 4, 2], ["good", "bad", "bad", "fair"])
    result = learn(learner(source, pooling=pooling), examples, tmp_path)
    assert result["metrics"]["accuracy"] == result["metrics"]["mcc"] == 1.0
    assert result["metrics"]["loss"] < 0.1
    assert [record["prediction"] for record in result["records"]] == ["good", "bad", "bad", "fair"]


def test_four_texts_of_several_labels_are_learned(source, tmp_path):
    labels = [["good", "fair"], ["bad"], [], ["bad", "good"]]
    model = learner(source, problem_type="multi_label_classification")
    assert model.monitor == "val/f1"
    result = learn(model, texts([3, 1, 4, 2], labels), tmp_path)
    assert result["metrics"]["exact_match"] == result["metrics"]["f1"] == 1.0
    predicted = [record["prediction"] for record in result["records"]]
    assert predicted == [["fair", "good"], ["bad"], [], ["bad", "good"]]
    # Each label has a sigmoid of its own: the row of no label sums to nearly nothing.
    assert sum(result["records"][2]["probabilities"]) < 0.5


def test_four_numbers_are_learned(source, tmp_path):
    model = learner(source, problem_type="regression")
    assert (model.monitor, model.monitor_mode) == ("val/loss", "min")
    result = learn(model, texts([3, 1, 4, 2], [0.5, -1.0, 2.0, 1.25]), tmp_path)
    assert model.label_names == ["value"]
    assert result["metrics"]["loss"] == pytest.approx(result["metrics"]["mse"], rel=1e-4)
    assert result["metrics"]["mse"] < 0.05
    assert result["metrics"]["pearson"] > 0.95
    record = result["records"][2]
    assert (record["gold"], record["prediction"]) == (2.0, pytest.approx(2.0, abs=0.4))


def test_subsets_have_an_accuracy_of_their_own(source):
    model = built(source())
    probabilities = torch.eye(3).double().numpy()[[0, 1, 2, 2]]
    ones = torch.ones(4, dtype=torch.int64).numpy()
    examples = [
        {"id": "a", "label": "bad", "subsets": ["unseen"]},
        {"id": "b", "label": "bad", "subsets": ["unseen"]},
        {"id": "c", "label": "good", "subsets": []},
        {"id": "d", "label": "good"},
    ]
    metrics = model.score(Predictions(probabilities, ones, ones, 0.0), examples)["metrics"]
    # Right: a, c, d of four; of the unseen ones a of two.
    assert (metrics["accuracy"], metrics["accuracy_unseen"]) == (0.75, 0.5)


def test_pooling_defaults_to_what_the_backbone_has_seen(source):
    assert SequenceClassification(Backbone(source())).pooling == "first"
    assert SequenceClassification(Backbone(source("gpt2"))).pooling == "last"


def test_first_token_of_a_causal_backbone_is_refused(source):
    with pytest.raises(ValueError, match="pooling: first reads a token that has seen nothing"):
        SequenceClassification(Backbone(source("gpt2")), pooling="first")


@pytest.mark.parametrize("problem", ["multi_label_classification", "regression"])
def test_label_smoothing_of_other_problems_is_refused(source, problem):
    with pytest.raises(ValueError, match=r"label_smoothing = 0.1 is for single_label"):
        SequenceClassification(Backbone(source()), problem_type=problem, label_smoothing=0.1)
