"""The average is the formula's, is what is scored and kept, and survives any stop."""

import pytest
import torch
from lightning.pytorch import Callback
from transformers import AutoModelForTokenClassification

from lit_llm.backbone.backbone import Backbone
from lit_llm.callbacks.averaged_weights import AveragedWeights
from lit_llm.callbacks.best_model import BestModel
from lit_llm.callbacks.checkpoints import Checkpoints
from lit_llm.checkpoint_io import checkpoints
from lit_llm.objectives.token_classification import TokenClassification
from lit_llm.optim import OptimizerConfig
from lit_llm.signals import Interrupted
from tests.helpers import (
    TAGS,
    parameters_of,
    save_tiny,
)
from tests.references.small_fits import fit_words


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("source"), AutoModelForTokenClassification, TAGS)


class Watch(Callback):
    """The weights after each step, and those that are scored."""

    def __init__(self):
        self.trained, self.scored = [], []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step > len(self.trained):
            self.trained.append(parameters_of(pl_module))

    def on_validation_epoch_start(self, trainer, pl_module):
        self.scored.append(parameters_of(pl_module))


def fit(directory, source, callbacks, **settings):
    return fit_words(directory, source, callbacks, OptimizerConfig(lr=1e-2), **settings)[0]


def exponential(start, trained, decay):
    average = start
    for weights in trained:
        average = {n: decay * average[n] + (1 - decay) * weights[n] for n in weights}
    return average


def initial(source):
    model = TokenClassification(Backbone(source))
    model.build(TAGS)
    return parameters_of(model)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_exponential_average_is_scored_and_training_goes_on_without_it(
    tmp_path, source, accumulate
):
    plain, watch = Watch(), Watch()
    settings = {"accumulate_grad_batches": accumulate}
    fit(tmp_path / "plain", source, [plain, Checkpoints()], **settings)
    parts = [BestModel(), AveragedWeights(decay=0.8), Checkpoints(), watch]
    model = fit(tmp_path / "averaged", source, parts, **settings)
    torch.testing.assert_close(watch.trained, plain.trained, rtol=0, atol=0)
    torch.testing.assert_close(parameters_of(model), plain.trained[-1], rtol=0, atol=0)
    steps = len(plain.trained)
    for scored, seen in zip(watch.scored, (steps // 2, steps), strict=True):
        expected = exponential(initial(source), plain.trained[:seen], 0.8)
        torch.testing.assert_close(scored, expected, rtol=1e-5, atol=1e-6)


def test_equal_parts_from_a_step_on(tmp_path, source):
    watch = Watch()
    parts = [BestModel(), AveragedWeights(decay=None, start_step=5), Checkpoints(), watch]
    fit(tmp_path, source, parts)
    # After four steps the average is the weights; after eight the mean of steps 6, 7 and 8.
    torch.testing.assert_close(watch.scored[0], watch.trained[3], rtol=0, atol=0)
    mean = {n: sum(w[n] for w in watch.trained[5:]) / 3 for n in watch.trained[0]}
    torch.testing.assert_close(watch.scored[1], mean, rtol=1e-5, atol=1e-6)


def test_best_holds_the_average(tmp_path, source):
    watch = Watch()
    best = BestModel()
    fit(tmp_path, source, [best, AveragedWeights(decay=0.5), Checkpoints(), watch])
    model = TokenClassification(Backbone(str(tmp_path / "best")))
    model.build_saved()
    scored = watch.scored[0 if best.best["step"] == 4 else 1]
    torch.testing.assert_close(parameters_of(model), scored, rtol=0, atol=0)


class StopsIn(Callback):
    """A signal in the first batch of a validation."""

    def __init__(self, module_requests):
        self.request = module_requests

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        if trainer.global_step == 4:
            pl_module.requests.add(self.request)


def run_of(directory, source, resume=None, extra=()):
    average = AveragedWeights(decay=0.8)
    saving = Checkpoints(every_n_steps=1, keep=None)
    model = fit(directory, source, [BestModel(), average, saving, *extra], resume=resume)
    return parameters_of(model), average.state_dict()


def test_resumed_from_everywhere_also_from_within_a_validation(tmp_path, source):
    whole = run_of(tmp_path / "whole", source)
    found = checkpoints(tmp_path / "whole" / "checkpoints")
    assert len(found) == 8
    for path in found:
        again = run_of(tmp_path / path.name, source, resume=path)
        torch.testing.assert_close(again, whole, rtol=0, atol=0)
    saving = Checkpoints(every_n_steps=100, keep=None)
    parts = [BestModel(), AveragedWeights(decay=0.8), StopsIn("SIGTERM"), saving]
    with pytest.raises(Interrupted):
        fit(tmp_path / "stopped", source, parts)
    (path,) = checkpoints(tmp_path / "stopped" / "checkpoints")
    again = run_of(tmp_path / "resumed", source, resume=path)
    torch.testing.assert_close(again, whole, rtol=0, atol=0)


def test_what_makes_no_sense_is_refused(tmp_path, source):
    for decay in (0.0, 1.0):
        with pytest.raises(ValueError, match=rf"decay must lie in \(0, 1\), not {decay}"):
            AveragedWeights(decay)
    with pytest.raises(ValueError, match="start_step must be at least 0, not -1"):
        AveragedWeights(start_step=-1)
    with pytest.raises(ValueError, match="no development set"):
        fit(tmp_path / "a", source, [BestModel(), AveragedWeights()], val=False)
    with pytest.raises(ValueError, match="BestModel before it"):
        fit(tmp_path / "b", source, [AveragedWeights(), BestModel()])
