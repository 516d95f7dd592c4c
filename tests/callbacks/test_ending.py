"""Runs that end early: a budget is used up, a score stands still; also after a resume."""

import pytest
import torch
from lightning.pytorch import Callback
from transformers import AutoModelForTokenClassification

from lit_llm.callbacks.budget import Budget
from lit_llm.callbacks.checkpoints import Checkpoints
from lit_llm.callbacks.early_stopping import EarlyStopping
from lit_llm.checkpoint_io import checkpoints, step_of
from lit_llm.optim import OptimizerConfig
from tests.helpers import (
    TAGS,
    parameters_of,
    save_tiny,
)
from tests.references.small_fits import fit_words


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("source"), AutoModelForTokenClassification, TAGS)


class Seen(Callback):
    """Tokens after each step, and the steps that were validated after."""

    def __init__(self):
        self.tokens, self.validated = [], []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.tokens.append(batch.num_tokens)

    def on_validation_end(self, trainer, pl_module):
        self.validated.append(trainer.global_step)


def fit(directory, source, callbacks, **settings):
    settings = {"max_epochs": 5, **settings}
    return fit_words(directory, source, callbacks, OptimizerConfig(lr=1e-2), **settings)


def saving():
    return Checkpoints(every_n_steps=1, keep=None)


def test_a_budget_of_tokens_ends_with_the_step_that_reaches_it(tmp_path, source):
    everything = Seen()
    fit(tmp_path / "whole", source, [everything], max_epochs=2)
    for steps in (1, 3, 4, 6):
        seen = Seen()
        budget = Budget(tokens=sum(everything.tokens[:steps]))
        _, trainer = fit(tmp_path / str(steps), source, [budget, seen])
        assert trainer.global_step == steps
        assert seen.validated[-1] == steps


def test_accumulated_batches_are_stepped_with_before_the_end(tmp_path, source):
    _, trainer = fit(tmp_path, source, [Budget(tokens=1), Seen()], accumulate_grad_batches=2)
    assert trainer.global_step == 1


def test_a_budget_of_minutes_counts_training_alone(tmp_path, source, monkeypatch):
    clock = iter(range(0, 10_000, 30))  # read three times a step: at its start, before, at its end
    monkeypatch.setattr("lit_llm.callbacks.budget.time.monotonic", lambda: float(next(clock)))
    budget = Budget(minutes=3)
    _, trainer = fit(tmp_path, source, [budget])
    assert trainer.global_step == 4  # a minute each; in the fourth step the three are over
    assert budget.used["seconds"] == 240


def test_a_budget_survives_a_resume(tmp_path, source):
    limit = 60
    whole, trainer = fit(tmp_path / "whole", source, [saving(), Budget(tokens=limit)])
    steps = trainer.global_step
    assert 2 < steps < 10
    for path in checkpoints(tmp_path / "whole" / "checkpoints"):
        budget = Budget(tokens=limit)
        again, trainer = fit(tmp_path / path.name, source, [Checkpoints(), budget], resume=path)
        assert (trainer.global_step, step_of(path) <= steps) == (steps, True)
        assert budget.used["tokens"] >= limit
        torch.testing.assert_close(parameters_of(again), parameters_of(whole), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({}, "say how many"), ({"tokens": 0}, "tokens must be above 0"), ({"minutes": -1}, "minutes")],
)
def test_a_budget_of_nothing_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Budget(**settings)


def test_early_stopping_watches_the_objectives_metric(tmp_path, source):
    stopper = EarlyStopping(patience=2, min_delta=1.0)
    _, trainer = fit(tmp_path, source, [stopper])
    assert (stopper.monitor, stopper.mode) == ("val/entity_f1", "max")
    assert trainer.global_step == 12  # the first epoch is the best, the third the second no better


def test_a_resumed_run_keeps_the_count_and_takes_the_patience_configured_now(tmp_path, source):
    fit(tmp_path / "whole", source, [saving(), EarlyStopping(patience=9, min_delta=1.0)])
    path = tmp_path / "whole" / "checkpoints" / "step-9"  # after two evaluations
    stopper = EarlyStopping(patience=3, min_delta=1.0)
    _, trainer = fit(tmp_path / "again", source, [Checkpoints(), stopper], resume=path)
    assert stopper.patience == 3
    assert trainer.global_step == 16


def test_more_patience_lets_a_stopped_run_go_on(tmp_path, source):
    fit(tmp_path / "whole", source, [saving(), EarlyStopping(patience=2, min_delta=1.0)])
    path = tmp_path / "whole" / "checkpoints" / "step-12"
    for patience, steps in ((2, 12), (3, 16)):
        parts = [Checkpoints(), EarlyStopping(patience=patience, min_delta=1.0)]
        _, trainer = fit(tmp_path / str(patience), source, parts, resume=path)
        assert trainer.global_step == steps


class StopsInValidation(Callback):
    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        pl_module.requests.add("SIGTERM")


def test_the_validation_at_a_budgets_end_is_finished_before_a_stop(tmp_path, source):
    seen = Seen()
    parts = [Budget(tokens=60), StopsInValidation(), seen, Checkpoints()]
    _, trainer = fit(tmp_path, source, parts)
    assert trainer.global_step < 5
    assert seen.validated == [trainer.global_step]


def test_a_named_metric_needs_its_mode():
    assert EarlyStopping(monitor="val/loss", mode="min").mode == "min"
    with pytest.raises(ValueError, match="monitor and mode"):
        EarlyStopping(monitor="val/loss")
