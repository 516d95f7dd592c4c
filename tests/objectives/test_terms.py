"""A loss of several terms: each is divided by its own count of the whole optimizer step."""

import pytest
import torch
from transformers import AutoModelForTokenClassification

from lit_llm.backbone.backbone import Backbone
from lit_llm.losses.cross_entropy import cross_entropy
from lit_llm.objectives.token_classification import TokenClassification
from lit_llm.optim import OptimizerConfig
from tests.helpers import (
    CONSTANT,
    TAGS,
    GivenBatches,
    Gradients,
    Recorder,
    Sentences,
    pack_one_row,
    quick_trainer,
    save_tiny,
    sentences,
)

SGD = OptimizerConfig("sgd", lr=0.1, weight_decay=0.0)


class WordsAndSentences(TokenClassification):
    """Cross-entropy of each word, and the squared length of each sentence's first vector."""

    def __init__(self, source):
        super().__init__(Backbone(source), SGD, CONSTANT)
        self.term_weights = {"word": 1.0, "sentence": 0.3}

    def terms(self, batch):
        hidden_RLD = self.backbone(batch)
        vectors_TD = hidden_RLD.flatten(0, 1)
        logits = self.head(vectors_TD[batch.targets["positions"]])
        first_BD = vectors_TD[batch.segment_starts]
        count = torch.tensor(len(first_BD))
        word = cross_entropy(logits, batch.targets["labels"])
        return {"word": word, "sentence": (first_BD.square().sum(), count)}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("bert"), AutoModelForTokenClassification, TAGS)


@pytest.fixture(scope="module")
def items(source):
    data = Sentences(max_length=64)
    data.label_names = TAGS
    return list(data.items(sentences([2, 17, 6, 1, 9]), Backbone(source), {}))


def batch_of(items, totals=None):
    batch = pack_one_row(items)
    batch.totals = totals or {}
    return batch


def train(source, directory, batches, **settings):
    model, recorder, gradients = WordsAndSentences(source), Recorder(), Gradients()
    callbacks = [gradients]
    trainer = quick_trainer(
        directory, max_epochs=1, logger=recorder, callbacks=callbacks, **settings
    )
    trainer.fit(model, GivenBatches(TAGS, batches))
    return gradients.last, recorder


def by_hand(source, items):
    """Loss and gradients of mean over words + 0.3 * mean over sentences, in one go."""
    model = WordsAndSentences(source)
    model.build(TAGS)
    terms = model.terms(batch_of(items))
    means = {name: total / count for name, (total, count) in terms.items()}
    loss = means["word"] + 0.3 * means["sentence"]
    loss.backward()
    return means, loss, {name: p.grad for name, p in model.named_parameters()}


def test_accumulated_terms_are_those_of_one_big_batch(source, items, tmp_path):
    """Batches of 2, 17 + 6 and 1 + 9 words: 5 sentences, 35 words, never in the same proportion."""
    totals = {"word": 35, "sentence": 5}
    batches = [batch_of(items[i:j], totals) for i, j in ((0, 1), (1, 3), (3, 5))]
    gradients, recorder = train(source, tmp_path, batches, accumulate_grad_batches=3)
    means, loss, wanted = by_hand(source, items)
    torch.testing.assert_close(gradients, wanted, rtol=1e-5, atol=1e-6)
    assert recorder.values("train/loss") == pytest.approx([loss.item()], rel=1e-5)
    for name, mean in means.items():
        assert recorder.values(f"train/{name}_loss") == pytest.approx([mean.item()], rel=1e-5)


def test_a_batch_that_is_the_whole_step_needs_no_totals(source, items, tmp_path):
    gradients, _ = train(source, tmp_path, [batch_of(items)])
    torch.testing.assert_close(gradients, by_hand(source, items)[2], rtol=1e-5, atol=1e-6)


def test_wrong_totals_would_be_seen(source, items, tmp_path):
    """What the test above is worth: the terms' proportion does depend on the totals."""
    gradients, _ = train(source, tmp_path, [batch_of(items, {"word": 70, "sentence": 5})])
    wanted = by_hand(source, items)[2]
    assert any((gradients[name] - wanted[name]).abs().max() > 1e-3 for name in wanted)


def test_several_batches_without_totals_are_refused(source, items, tmp_path):
    batches = [batch_of(items[:2]), batch_of(items[2:])]
    with pytest.raises(ValueError, match="how many targets the whole optimizer step has"):
        train(source, tmp_path, batches, accumulate_grad_batches=2)
