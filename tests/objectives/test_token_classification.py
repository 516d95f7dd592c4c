import math

import pytest
import torch
from transformers import AutoModelForTokenClassification

from lit_llm.backbone.backbone import Backbone
from lit_llm.batch import PackedBatch
from lit_llm.data.batch_config import BatchConfig
from lit_llm.objectives.token_classification import TokenClassification
from lit_llm.optim import OptimizerConfig
from tests.helpers import (
    CONSTANT,
    STEADY,
    TAGS,
    Sentences,
    assert_first_step,
    quick_trainer,
    save_tiny,
    sentences,
)
from tests.references.fine_tuning import one_step, word_losses

IDS = {name: i for i, name in enumerate(TAGS)}
EXAMPLES = sentences([4, 1, 7, 2, 5])


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    made = {}

    def save(model_type="bert", **changes):
        key = (model_type, str(changes))
        if key not in made:
            directory = tmp_path_factory.mktemp(model_type)
            made[key] = save_tiny(
                directory, AutoModelForTokenClassification, TAGS, model_type, **changes
            )
        return made[key]

    return save


def built(source, **settings):
    model = TokenClassification(Backbone(source), **settings)
    model.build(TAGS)
    return model


def items_of(model, examples=EXAMPLES, context="none"):
    data = Sentences(context, max_length=64)
    data.label_names = TAGS
    return list(data.items(examples, model.backbone, {}))


@pytest.mark.parametrize("max_norm", [None, 0.05])
@pytest.mark.parametrize(("model_type", "base"), [("bert", "bert"), ("gpt2", "transformer")])
def test_one_step_equals_plain_transformers(source, tmp_path, model_type, base, max_norm):
    plain = AutoModelForTokenClassification.from_pretrained(source(model_type)).train()
    model = TokenClassification(Backbone(source(model_type)), STEADY, CONSTANT)
    subword = "last" if model_type == "gpt2" else "first"
    losses = [
        loss
        for example in EXAMPLES
        for loss in word_losses(plain, model.backbone.tokenizer, example, IDS, subword)
    ]
    expected = one_step(
        plain, losses, lr=STEADY.lr, weight_decay=0.5, eps=STEADY.eps, max_norm=max_norm
    )

    data = Sentences(train=EXAMPLES, batches=BatchConfig(examples_per_batch=len(EXAMPLES)))
    data.label_names = TAGS
    assert_first_step(model, data, expected, base, tmp_path, max_norm)


def test_evaluation_equals_plain_transformers(source, tmp_path):
    plain = AutoModelForTokenClassification.from_pretrained(source()).eval()
    model = TokenClassification(Backbone(source()))
    with torch.no_grad():
        losses = [
            loss.item()
            for example in EXAMPLES
            for loss in word_losses(plain, model.backbone.tokenizer, example, IDS)
        ]
    data = Sentences(test=EXAMPLES)
    data.label_names = TAGS
    quick_trainer(tmp_path).test(model, data, verbose=False)
    result = model.results["test"]
    assert result["metrics"]["loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    gold_probabilities = [
        row[IDS[tag]]
        for record in result["records"]
        for row, tag in zip(record["probabilities"], record["gold"], strict=True)
    ]
    # -log p of the same words, in the same order; records keep five digits.
    expected = [pytest.approx(torch.tensor(-loss).exp().item(), abs=1e-5) for loss in losses]
    assert gold_probabilities == expected


def test_filler_and_order_do_not_change_the_loss(source):
    model = built(source())
    items = items_of(model)
    rows = PackedBatch.pack(items, [[0, 1], [2], [3, 4]], 24, pad_token_id=0)
    mixed = [items[i] for i in (3, 0, 4, 2, 1)]
    other = PackedBatch.pack(mixed, [[4, 2], [], [0, 1, 3]], 61, pad_token_id=0)
    total, count = model.loss(model.logits(rows), rows)
    total_other, count_other = model.loss(model.logits(other), other)
    assert count == count_other == 4 + 1 + 7 + 2 + 5
    torch.testing.assert_close(total, total_other)


def test_only_scored_words_get_a_gradient(source):
    model = built(source())
    (item,) = items_of(model, EXAMPLES[:1])
    scored = {**item, "target_positions": [1], "labels": [2], "unit_ids": [0]}
    batch = PackedBatch.pack([scored], [[0]], len(item["input_ids"]), pad_token_id=0)
    hidden = model.backbone(batch).detach().requires_grad_()
    model.backbone.at = lambda batch, positions: hidden.flatten(0, 1)[positions]
    total, count = model.loss(model.logits(batch), batch)
    total.backward()
    assert count == 1
    touched = hidden.grad[0].abs().sum(-1) > 0
    assert touched.nonzero().flatten().tolist() == [1]


def test_label_smoothing_reaches_the_loss(source):
    plain, smooth = built(source()), built(source(), label_smoothing=0.3)
    (item,) = items_of(plain, EXAMPLES[1:2])
    batch = PackedBatch.pack([item], [[0]], 8, pad_token_id=0)
    logits = torch.zeros(1, len(TAGS))
    logits[0, batch.targets["labels"]] = 2.0
    # H(q', p) = 0.7 * -log p[label] + 0.3 * mean over classes of -log p.
    log_p = logits.log_softmax(-1)
    expected = 0.7 * plain.loss(logits, batch)[0] - 0.3 * log_p.mean()
    torch.testing.assert_close(smooth.loss(logits, batch)[0], expected)


def test_limited_evaluation_scores_whole_sentences_only(source, tmp_path):
    # 30 words are over 32 sub-words, so that each sentence is read in several windows.
    examples = sentences([30] * 6)
    data = Sentences(max_length=32, batches=BatchConfig(eval_tokens_per_batch=128), val=examples)
    data.label_names = TAGS
    model = TokenClassification(Backbone(source()))
    quick_trainer(tmp_path).validate(model, data, verbose=False)
    everything = {record["id"]: record for record in model.results["val"]["records"]}
    assert list(everything) == [example["id"] for example in examples]
    assert all(record["windows"] > 1 for record in everything.values())

    limit = len(data.val_dataloader()) - 1
    quick_trainer(tmp_path, limit_val_batches=limit).validate(model, data, verbose=False)
    some = model.results["val"]["records"]
    assert 0 < len(some) < 6
    assert all(record == everything[record["id"]] for record in some)


def test_four_sentences_are_learned(source, tmp_path):
    examples = [
        {"id": "a", "words": ["w1", "w2", "w3"], "tags": ["B-PER", "I-PER", "O"], "document": 0},
        {"id": "b", "words": ["w4", "w5"], "tags": ["O", "B-LOC"], "document": 0},
        {"id": "c", "words": ["w6"], "tags": ["B-PER"], "document": 0},
        {"id": "d", "words": ["w7", "w8"], "tags": ["B-LOC", "I-LOC"], "document": 0},
    ]
    torch.manual_seed(0)
    model = TokenClassification(
        Backbone(source(std=None, hidden_size=16, initializer_range=0.2)), OptimizerConfig(lr=0.02)
    )
    data = Sentences(train=examples, val=examples)
    trainer = quick_trainer(tmp_path, max_epochs=40, check_val_every_n_epoch=40)
    trainer.fit(model, data)
    assert data.label_names == TAGS
    result = model.results["val"]
    assert result["metrics"]["entity_f1"] == result["metrics"]["entity_f1_strict"] == 1.0
    assert result["metrics"]["loss"] < 0.1
    assert trainer.callback_metrics["val/entity_f1"] == 1.0
    assert result["records"][0] == {
        **{"id": "a", "words": ["w1", "w2", "w3"], "gold": ["B-PER", "I-PER", "O"]},
        **{"prediction": ["B-PER", "I-PER", "O"], "windows": 1},
        "probabilities": result["records"][0]["probabilities"],
        "loss": pytest.approx(
            -sum(math.log(max(row)) for row in result["records"][0]["probabilities"]) / 3, abs=1e-3
        ),
    }
