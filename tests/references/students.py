"""Tagger students of ``save_tiny``, the sentences they learn from, and a short fit."""

import torch

from lit_llm.backbone.backbone import Backbone
from lit_llm.data.batch_config import BatchConfig
from lit_llm.objectives.token_classification import TokenClassification
from lit_llm.optim import OptimizerConfig
from tests.helpers import CONSTANT, STEADY, TAGS, Sentences, parameters_of, quick_trainer, sentences

SGD = OptimizerConfig("sgd", lr=0.05, weight_decay=0.0)
LENGTHS = [3, 9, 1, 14, 6, 2, 5, 3]


def tagger(source, optimizer=STEADY):
    torch.manual_seed(0)
    return TokenClassification(Backbone(source), optimizer, CONSTANT)


def words_data(batch=4, **settings):
    data = Sentences(
        batches=BatchConfig(examples_per_batch=batch, seed=3),
        train=sentences(LENGTHS),
        val=sentences([4, 7, 2], seed=1),
        **settings,
    )
    data.label_names = TAGS
    return data


def fit(directory, model, data=None, **settings):
    """The weights after two epochs, and the trainer."""
    trainer = quick_trainer(directory, **{"max_epochs": 2, **settings})
    trainer.fit(model, data or words_data())
    return parameters_of(model), trainer
