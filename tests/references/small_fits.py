"""Eight sentences in four batches: a run of a second, whose every step can be looked at."""

import torch

from lit_llm.backbone.backbone import Backbone
from lit_llm.data.batch_config import BatchConfig
from lit_llm.objectives.token_classification import TokenClassification
from tests.helpers import CONSTANT, TAGS, Sentences, quick_trainer, sentences

STEPS_IN_AN_EPOCH = 4


def fit_words(
    directory,
    source,
    callbacks,
    optimizer,
    schedule=CONSTANT,
    resume=None,
    val=True,
    batches=None,
    **settings,
):
    """Two epochs, unless the settings say something else; the model and its trainer."""
    data = Sentences(
        batches=BatchConfig(**{"examples_per_batch": 2, "seed": 3, **(batches or {})}),
        train=sentences([3, 9, 1, 14, 6, 2, 5, 3]),
        **({"val": sentences([4, 7, 2], seed=1)} if val else {}),
    )
    data.label_names = TAGS
    torch.manual_seed(5)
    model = TokenClassification(Backbone(source), optimizer, schedule)
    trainer = quick_trainer(
        directory,
        **{"max_epochs": 2, "enable_checkpointing": True, **settings},
        callbacks=callbacks,
    )
    trainer.fit(model, data, ckpt_path=resume, weights_only=True)
    return model, trainer
