"""A run that goes on from any of its checkpoints ends as the one that was never stopped.

The whole matrix of settings is part of ``pytest -m faults``.
"""

import csv
import shutil
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy
from transformers import AutoModelForTokenClassification

from lit_llm.backbone.backbone import Backbone
from lit_llm.callbacks.best_model import BestModel, epochs_made
from lit_llm.callbacks.checkpoints import Checkpoints
from lit_llm.checkpoint_io import STATE, checkpoints, step_of
from lit_llm.data.batch_config import BatchConfig
from lit_llm.loggers import MetricsCSV
from lit_llm.objectives.token_classification import TokenClassification
from lit_llm.optim import OptimizerConfig
from lit_llm.schedules import ScheduleConfig
from tests.helpers import TAGS, Sentences, parameters_of, quick_trainer, save_tiny, sentences


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    dropout = {"hidden_dropout_prob": 0.3, "attention_probs_dropout_prob": 0.2}
    directory = tmp_path_factory.mktemp("source")
    return save_tiny(directory, AutoModelForTokenClassification, TAGS, **dropout)


EVERY_STEP = {"every_n_steps": 1, "keep": None}


def train(
    directory,
    source,
    resume=None,
    workers=0,
    dev=True,
    mode=None,
    extra=(),
    saving=EVERY_STEP,
    **settings,
):
    """Three epochs of four batches with dropout; all that a run is made of, when it is over."""
    torch.manual_seed(1)
    batches = BatchConfig(**(mode or {"examples_per_batch": 2}), num_workers=workers, seed=3)
    data = Sentences(
        batches=batches,
        train=sentences([3, 9, 1, 14, 6, 2, 5]),
        **({"val": sentences([4, 7, 2], seed=1)} if dev else {}),
    )
    data.label_names = TAGS
    model = TokenClassification(
        Backbone(source), OptimizerConfig(lr=1e-2), ScheduleConfig("linear", warmup_fraction=0.3)
    )
    logger = MetricsCSV(directory / "metrics.csv")
    if resume is not None:
        logger.truncate(step_of(resume) - 1)
    keeper = BestModel()
    trainer = quick_trainer(
        directory,
        **{"max_epochs": 3, "enable_checkpointing": True, **settings},
        logger=logger,
        callbacks=[
            keeper,
            LearningRateMonitor("step"),
            Checkpoints(**saving),
            *extra,
        ],
    )
    trainer.fit(model, data, ckpt_path=resume, weights_only=True)
    keeper.complete(trainer, model)
    with (directory / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        "weights": parameters_of(model),
        "optimizer": trainer.optimizers[0].state_dict(),
        "schedule": trainer.lr_scheduler_configs[0].scheduler.state_dict(),
        "random": torch.get_rng_state(),
        "rows": rows,
        "best": str(keeper.best),
        "steps": trainer.global_step,
        "epochs": epochs_made(trainer),
    }


def assert_same(actual, expected, where="run"):
    """Bitwise, through dictionaries and lists; the random numbers are left aside."""
    if isinstance(expected, torch.Tensor):
        assert torch.equal(actual, expected), where
    elif isinstance(expected, dict):
        assert actual.keys() == expected.keys(), where
        for key in expected.keys() - {"random"}:
            assert_same(actual[key], expected[key], f"{where}.{key}")
    elif isinstance(expected, list | tuple):
        assert len(actual) == len(expected), where
        for i, (ours, theirs) in enumerate(zip(actual, expected, strict=True)):
            assert_same(ours, theirs, f"{where}[{i}]")
    else:
        assert actual == expected, where


def assert_resumes_from_everywhere(tmp_path, source, **settings):
    """The number of checkpoints tried."""
    whole = train(tmp_path / "whole", source, **settings)
    found = checkpoints(tmp_path / "whole" / "checkpoints")
    assert [step_of(path) for path in found] == list(range(whole["steps"], 0, -1))
    for path in found:
        again = tmp_path / f"from-{step_of(path)}"
        again.mkdir()
        for name in ("metrics.csv", "best"):  # as they stand when a later step was under way
            if (tmp_path / "whole" / name).is_dir():
                shutil.copytree(tmp_path / "whole" / name, again / name)
            else:
                shutil.copy(tmp_path / "whole" / name, again / name)
        resumed = train(again, source, resume=path, **settings)
        assert_same(resumed, whole)
        if step_of(path) < whole["steps"]:
            assert torch.equal(resumed["random"], whole["random"])
    return len(found)


@pytest.mark.faults
@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_every_step_of_three_epochs(tmp_path, source, workers, accumulate):
    tried = assert_resumes_from_everywhere(
        tmp_path, source, workers=workers, accumulate_grad_batches=accumulate
    )
    assert tried == {1: 12, 3: 6}[accumulate]


@pytest.mark.faults
@pytest.mark.parametrize(
    "settings",
    [
        {"dev": False},
        {"val_check_interval": 2},
        {"val_check_interval": 1, "accumulate_grad_batches": 2},
        {"check_val_every_n_epoch": 2},
        {"max_steps": 6, "max_epochs": -1},
        {"max_steps": 6, "max_epochs": -1, "dev": False},
        {
            "max_steps": 8,
            "max_epochs": -1,
            "check_val_every_n_epoch": None,
            "val_check_interval": 3,
        },
        {"limit_train_batches": 3},
        {"limit_train_batches": 3, "dev": False, "max_steps": 5, "max_epochs": -1},
        {"mode": {"tokens_per_batch": 128, "row_length": 64}},
    ],
    ids=str,
)
def test_every_step_whatever_ends_and_validates(tmp_path, source, settings):
    assert_resumes_from_everywhere(tmp_path, source, **settings)


def test_every_step_of_accumulated_batches_validated_in_between(tmp_path, source):
    settings = {"accumulate_grad_batches": 2, "val_check_interval": 3, "max_epochs": 2}
    assert assert_resumes_from_everywhere(tmp_path, source, **settings) == 4


@pytest.mark.parametrize(("settings", "steps"), [({"val_check_interval": 2}, 6), ({}, 12)])
def test_early_stopping_stays_stopped(tmp_path, source, settings, steps):
    def stopper():
        return EarlyStopping("val/loss", patience=2, min_delta=100.0)

    settings = {**settings, "max_epochs": 5}
    whole = train(tmp_path / "whole", source, extra=[stopper()], **settings)
    assert whole["steps"] == steps
    for path in checkpoints(tmp_path / "whole" / "checkpoints")[:5]:
        shutil.copy(tmp_path / "whole" / "metrics.csv", tmp_path / "metrics.csv")
        again = train(tmp_path, source, resume=path, extra=[stopper()], **settings)
        assert_same(again, whole)


def names(directory):
    return sorted(path.name for path in (directory / "checkpoints").iterdir())


def test_what_was_just_written_is_never_removed(tmp_path, source):
    train(tmp_path, source, saving={"every_n_steps": 2, "keep": 3})
    assert names(tmp_path) == ["step-10", "step-12", "step-8"]
    flip = tmp_path / "checkpoints" / "step-12" / STATE
    flip.write_bytes(b"")
    resume = tmp_path / "checkpoints" / "step-10"
    train(tmp_path, source, resume=resume, saving={"every_n_steps": 1, "keep": 1}, max_steps=11)
    assert names(tmp_path) == ["step-11"]
    train(tmp_path, source, saving={"every_n_steps": 4, "keep": 9})  # another run, from the start
    assert names(tmp_path) == ["step-12", "step-4", "step-8"]


def test_nothing_is_saved_within_a_window(tmp_path, source):
    class Stops(Callback):
        """As ``max_time`` does: after any batch."""

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            trainer.should_stop = batch_idx == 2

    train(tmp_path, source, extra=[Stops()], accumulate_grad_batches=2)
    assert names(tmp_path) == ["step-1"]


@pytest.mark.parametrize("strategy", [ModelParallelStrategy(), FSDPStrategy()])
def test_strategies_that_hold_pieces_are_refused(strategy):
    trainer = SimpleNamespace(strategy=strategy)
    with pytest.raises(ValueError, match=f"{type(strategy).__name__} holds parameters in pieces"):
        Checkpoints().setup(trainer, None, "fit")
