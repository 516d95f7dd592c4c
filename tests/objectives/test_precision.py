"""Every numeric precision of the trainer takes our batches."""

import pytest
from transformers import AutoModelForSequenceClassification

from lit_llm.backbone.backbone import Backbone
from lit_llm.data.batch_config import BatchConfig
from lit_llm.objectives.sequence_classification import SequenceClassification
from tests.helpers import Texts, quick_trainer, save_tiny, texts

LABELS = ["bad", "good"]


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true", "64-true"])
def test_texts_in_windows_train_in_each_precision(precision, tmp_path):
    source = save_tiny(tmp_path / "model", AutoModelForSequenceClassification, LABELS)
    examples = texts([30, 4, 25], ["good", "bad", "good"])
    batches = BatchConfig(examples_per_batch=2, seed=0)
    # Windows weigh 1/k: rounded to bf16 they would no longer sum to 1, and scoring would refuse.
    data = Texts("windows", max_length=9, batches=batches, train=examples, val=examples)
    model = SequenceClassification(Backbone(source))
    quick_trainer(tmp_path, max_epochs=1, precision=precision).fit(model, data)
    assert max(record["windows"] for record in model.results["val"]["records"]) > 2
    assert 0 < model.results["val"]["metrics"]["loss"] < 10
