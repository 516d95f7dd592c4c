"""A run goes through the stages of its data, on any number of workers and after any resume.

Two ranks stand in ``tests/test_multi_step_two_ranks.py``.
"""

import pytest
import torch
from lightning.pytorch import Callback
from transformers import AutoModelForTokenClassification

from lit_llm.callbacks.checkpoints import Checkpoints
from lit_llm.callbacks.staged_data import StagedData
from lit_llm.checkpoint_io import checkpoints, step_of
from lit_llm.data.stages import StageConfig
from lit_llm.optim import OptimizerConfig
from tests.helpers import TAGS, parameters_of, save_tiny
from tests.references.small_fits import fit_words

SHORT, LONG = {"s0", "s2", "s4", "s5", "s6", "s7"}, {"s1", "s3"}  # up to 6 words; 9 and 14
SHORT_FIRST = StageConfig(where={"id": sorted(SHORT)}, steps=3)
ALL = StageConfig()
OPTIMIZER = OptimizerConfig(lr=1e-2, eps=1e-4)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    dropout = {"hidden_dropout_prob": 0.3}
    directory = tmp_path_factory.mktemp("source")
    return save_tiny(directory, AutoModelForTokenClassification, TAGS, **dropout)


class Seen(Callback):
    """The examples of each optimizer step, and a metric that grows by one with each evaluation."""

    def __init__(self):
        self.steps, self.evaluations = [], 0

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self.steps.append(set())
        self.steps[-1] |= {f"s{i}" for i in batch.item_ids.tolist()}

    def on_validation_epoch_end(self, trainer, pl_module):
        self.evaluations += 1
        pl_module.log("val/grows", float(self.evaluations))

    def state_dict(self):
        return {"evaluations": self.evaluations}

    def load_state_dict(self, state_dict):
        self.evaluations = state_dict["evaluations"]


def until(value, **settings):
    return StageConfig(until=value, monitor="val/grows", monitor_mode="max", **settings)


def fit(directory, source, stages, extra=(), batches=None, **settings):
    seen = Seen()
    order = {"stages": stages, **(batches or {})}
    callbacks = [seen, StagedData(), *extra]
    found = fit_words(directory, source, callbacks, OPTIMIZER, batches=order, **settings)
    return seen.steps, *found


def test_a_stage_ends_after_its_steps(tmp_path, source):
    steps, _, trainer = fit(tmp_path, source, [SHORT_FIRST, ALL])
    assert trainer.global_step == 8
    assert set().union(*steps[:3]) == SHORT
    assert set().union(*steps[3:7]) == SHORT | LONG  # a pass over all of it
    trainer.validate(trainer.lightning_module, trainer.datamodule)  # has no training data


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_metric_ends_a_stage_within_an_epoch(tmp_path, source, workers, accumulate):
    stages = [until(3, where={"id": sorted(SHORT)}), StageConfig(where={"id": sorted(LONG)})]
    settings = {"batches": {"num_workers": workers}, "accumulate_grad_batches": accumulate}
    steps, *_ = fit(tmp_path, source, stages, val_check_interval=1, max_epochs=3, **settings)
    last = -(-3 // accumulate)  # the optimizer step under way ends with the data it began with
    assert all(step <= SHORT for step in steps[:last])
    assert all(step <= LONG for step in steps[last:])
    assert len(steps) == 12 // accumulate


def test_steps_end_a_stage_whose_metric_is_not_reached(tmp_path, source):
    stages = [until(100, steps=2, max_tokens=12), StageConfig(where={"id": sorted(LONG)})]
    steps, *_ = fit(tmp_path, source, stages, val_check_interval=1)
    assert all(step <= LONG for step in steps[2:])


@pytest.mark.parametrize(("value", "mode"), [(-1.0, "max"), (1e9, "min")])
def test_what_is_reached_at_once_ends_with_the_first_evaluation(tmp_path, source, value, mode):
    monitored = {"until": value, "monitor": "val/loss", "monitor_mode": mode}
    stages = [StageConfig(**monitored), StageConfig(where={"id": sorted(LONG)})]
    steps, *_ = fit(tmp_path, source, stages)  # evaluated after steps 4 and 8
    assert all(step <= LONG for step in steps[4:])
    assert not set().union(*steps[:4]) <= LONG


STAGES = [
    until(2, where={"id": sorted(SHORT)}),
    StageConfig(where={"id": sorted(LONG)}, steps=2, replay=0.5),
    ALL,
]


def test_resumed_at_every_step_it_ends_the_same(tmp_path, source):
    every = {"enable_checkpointing": True, "val_check_interval": 1}
    saving = Checkpoints(every_n_steps=1, keep=None)
    whole, model, _ = fit(tmp_path / "whole", source, STAGES, [saving], **every)
    expected = parameters_of(model)
    found = checkpoints(tmp_path / "whole" / "checkpoints")
    assert [step_of(path) for path in found] == [8, 7, 6, 5, 4, 3, 2, 1]
    for path in found:
        again = tmp_path / f"from-{step_of(path)}"
        steps, resumed, _ = fit(again, source, STAGES, [Checkpoints()], resume=path, **every)
        assert steps == whole[step_of(path) :]
        torch.testing.assert_close(parameters_of(resumed), expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("stages", "settings", "message"),
    [
        (
            [SHORT_FIRST, StageConfig(steps=5), ALL],
            {},
            r"stages\[2\] begins at step 8, and the run ends after 8",
        ),
        ([until(1), ALL], {"val": False}, r"stages\[0\].until waits for evaluations"),
        ([until(1), ALL], {"limit_val_batches": 0}, r"stages\[0\].until waits for evaluations"),
        (
            [StageConfig(where={"topic": "x"})],
            {},
            r"stages\[0\].where.topic: examples have no 'topic'; there are 'id', 'words'",
        ),
    ],
)
def test_stages_that_can_never_be_are_refused(tmp_path, source, stages, settings, message):
    with pytest.raises(ValueError, match=message):
        fit(tmp_path, source, stages, **settings)


def test_a_metric_that_is_not_logged_is_named(tmp_path, source):
    lost = StageConfig(until=1, monitor="val/lost", monitor_mode="max")
    with pytest.raises(ValueError, match=r"stages\[0\].monitor: 'val/lost' is not logged; there"):
        fit(tmp_path, source, [lost, ALL])


def test_a_trial_of_a_few_steps_is_not_refused(tmp_path, source):
    steps, *_ = fit(tmp_path, source, [SHORT_FIRST, ALL], limit_train_batches=1)
    assert len(steps) == 2
    assert set().union(*steps) <= SHORT


def test_stages_a_run_did_not_get_to_are_named(tmp_path, source, caplog):
    with caplog.at_level("INFO"):
        fit(tmp_path, source, [until(100), ALL])
    assert "the run ended in entry 1 of 2; the later ones were not trained on" in caplog.text
