"""Layers learn when the schedule says so, and a resumed run is the one that was never stopped.

All schedules at every step are part of ``pytest -m faults``; two ranks stand in
``tests/test_multi_step_two_ranks.py``.
"""

import shutil

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.strategies import DDPStrategy
from transformers import AutoModelForTokenClassification

from lit_llm.backbone.backbone import Backbone
from lit_llm.callbacks.checkpoints import Checkpoints
from lit_llm.callbacks.progressive_unfreezing import ProgressiveUnfreezing
from lit_llm.checkpoint_io import checkpoints, step_of
from lit_llm.freezing import FreezingConfig
from lit_llm.objectives.token_classification import TokenClassification
from lit_llm.optim import OptimizerConfig
from lit_llm.schedules import ScheduleConfig
from tests.helpers import (
    TAGS,
    Recorder,
    Sentences,
    parameters_of,
    quick_trainer,
    save_tiny,
    sentences,
)
from tests.references.freezing import SCHEDULES
from tests.references.small_fits import fit_words

STEPS = 8


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    dropout = {"hidden_dropout_prob": 0.3, "attention_probs_dropout_prob": 0.2}
    directory = tmp_path_factory.mktemp("source")
    return save_tiny(directory, AutoModelForTokenClassification, TAGS, **dropout)


class Watch(Callback):
    """What learns in each step, which layers change, and which gradients there are."""

    def __init__(self) -> None:
        self.open, self.changed, self.modes = [], [], []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.before = parameters_of(pl_module)

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        layers = pl_module.layer_groups()
        self.open.append({n for n, ps in layers if any(p.grad is not None for p in ps)})
        for name, parameters in layers:
            assert all((p.grad is not None) == (name in self.open[-1]) for p in parameters), name

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        names = {id(p): name for name, p in pl_module.named_parameters()}
        self.changed.append(
            {
                layer
                for layer, parameters in pl_module.layer_groups()
                if any(not torch.equal(p, self.before[names[id(p)]]) for p in parameters)
            }
        )
        modules = pl_module.backbone.layer_modules()
        self.modes.append({n for n, found in modules.items() if any(m.training for m in found)})


OPTIMIZER = OptimizerConfig(lr=1e-2, layer_decay=0.7, eps=1e-4)  # see helpers.STEADY


def schedule_of(freezing, **settings):
    return ScheduleConfig(
        **{"name": "constant", "warmup_fraction": 0.0, "freezing": freezing, **settings}
    )


def model_of(source, freezing):
    return TokenClassification(Backbone(source), OPTIMIZER, schedule_of(freezing))


def fit(directory, source, freezing, extra=(), schedule=None, **settings):
    callbacks = [ProgressiveUnfreezing(), *extra]
    moving = schedule_of(freezing, **(schedule or {}))
    return fit_words(directory, source, callbacks, OPTIMIZER, moving, **settings)


@pytest.mark.parametrize("name", SCHEDULES)
def test_exactly_what_is_open_learns(tmp_path, source, name):
    watch = Watch()
    model, trainer = fit(tmp_path, source, SCHEDULES[name], [watch])
    assert trainer.global_step == STEPS
    expected = [set(model.freezing.open_at(step)) for step in range(STEPS)]
    assert watch.open == expected
    assert watch.changed == expected
    if not SCHEDULES[name].patience:
        assert len(set(map(frozenset, expected))) == len(model.freezing.phases)


def test_optimizer_keeps_nothing_of_what_never_learned(tmp_path, source):
    model, trainer = fit(tmp_path, source, FreezingConfig("head_only"))
    kept = {id(p) for p in trainer.optimizers[0].state}
    assert kept == {id(p) for p in dict(model.layer_groups())["head"]}


@pytest.mark.parametrize(("mode", "resting"), [("train", False), ("eval", True)])
def test_dropout_of_frozen_layers_is_as_said(tmp_path, source, mode, resting):
    watch = Watch()
    freezing = FreezingConfig("two_step", every_steps=6, frozen_layers=mode)
    fit(tmp_path, source, freezing, [watch])  # validated after steps 4 and 8
    everything = {"embeddings", "block 0", "block 1"}
    assert watch.modes == [set() if resting else everything] * 6 + [everything] * 2


def test_a_frozen_head_rests_too(tmp_path, source):
    class Modes(Callback):
        seen = ()

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            self.seen = (*self.seen, pl_module.head.training)

    modes = Modes()
    freezing = FreezingConfig("chain_thaw", every_steps=1, frozen_layers="eval")
    fit(tmp_path, source, freezing, [modes])
    assert modes.seen == (True, False, False, False, True, True, True, True)


def test_accumulated_batches_share_what_is_open(tmp_path, source):
    class Shares(Callback):
        def __init__(self):
            self.seen = []

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            layers = pl_module.layer_groups()
            self.seen.append(sum(all(p.requires_grad for p in ps) for _, ps in layers))

    gates = Shares()
    freezing = FreezingConfig("gradual", every_steps=1)
    fit(tmp_path, source, freezing, [gates], accumulate_grad_batches=2)
    assert gates.seen == [1, 1, 2, 2, 3, 3, 4, 4]


class Logs(Callback):
    """A metric of one value after the other, the last one for good."""

    def __init__(self, *values):
        self.values = list(values)

    def on_validation_epoch_end(self, trainer, pl_module):
        value = self.values.pop(0) if len(self.values) > 1 else self.values[0]
        pl_module.log("val/given", value)


def waiting(name, patience, mode="max"):
    return FreezingConfig(name, patience=patience, monitor="val/given", monitor_mode=mode)


@pytest.mark.parametrize(
    ("values", "mode", "starts"),
    [
        # The first evaluation is the best; after steps 3, 5 and 7 two more were no better.
        ([1.0], "max", (0, 3, 5, 7)),
        ([8, 7, 6, 5, 4, 3, 2, 1], "min", (0,)),
        ([8, 7, 6, 5, 4, 3, 2, 1], "max", (0, 3, 5, 7)),
        ([1, 2, 1, 3, 2, 2, 4], "max", (0, 6)),
    ],
)
def test_a_metric_that_stands_still_opens_the_next_phase(tmp_path, source, values, mode, starts):
    settings = {"extra": [Logs(*values)], "val_check_interval": 1}
    model, _ = fit(tmp_path, source, waiting("gradual", 2, mode), **settings)
    assert model.freezing.starts == starts


@pytest.mark.parametrize("interval", [1, 3])
def test_a_phase_never_begins_within_a_step(tmp_path, source, interval):
    watch = Watch()
    settings = {"accumulate_grad_batches": 2, "val_check_interval": interval, "max_epochs": 4}
    extra = [Logs(1.0), watch]
    model, trainer = fit(tmp_path, source, waiting("chain_thaw", 1), extra=extra, **settings)
    starts = model.freezing.starts
    assert len(set(starts)) == len(starts) == 5 if interval == 1 else 3
    expected = [set(model.freezing.open_at(step)) for step in range(trainer.global_step)]
    assert watch.open == watch.changed[1::2] == expected  # what learns has a rate above 0


def test_patience_needs_evaluations(tmp_path, source):
    for settings in ({"val": False}, {"limit_val_batches": 0}):
        with pytest.raises(ValueError, match="patience waits for evaluations"):
            fit(tmp_path, source, FreezingConfig("two_step", patience=1), **settings)


def test_a_metric_that_is_not_logged_is_named(tmp_path, source):
    freezing = FreezingConfig("two_step", patience=1, monitor="val/f2", monitor_mode="max")
    with pytest.raises(ValueError, match=r"'val/f2' is not logged; there is .*val/entity_f1"):
        fit(tmp_path, source, freezing)


def test_a_second_run_of_the_same_model_is_not_frozen_by_the_first(tmp_path, source):
    model, trainer = fit(tmp_path / "one", source, FreezingConfig("gradual"), max_steps=2)
    assert all(p.requires_grad for p in model.parameters())
    watch, gate = Watch(), ProgressiveUnfreezing()
    again = quick_trainer(tmp_path / "two", max_epochs=2, callbacks=[gate, watch])
    again.fit(model, trainer.datamodule)
    assert watch.open == [set(model.freezing.open_at(step)) for step in range(STEPS)]


def test_a_longer_run_keeps_what_has_begun(tmp_path, source):
    freezing = FreezingConfig("two_step")  # opens halfway
    settings = {"enable_checkpointing": True}
    fit(tmp_path / "one", source, freezing, [Checkpoints(every_n_steps=1, keep=None)], **settings)
    for step, opened in ((6, 4), (3, 12)):
        path = tmp_path / "one" / "checkpoints" / f"step-{step}"
        longer = {"max_epochs": 6, "resume": path, **settings}
        model, _ = fit(tmp_path / f"{step}", source, freezing, [Checkpoints()], **longer)
        assert model.freezing.starts == (0, opened)


def test_rates_are_logged_by_layer(tmp_path, source):
    recorder = Recorder()
    freezing = FreezingConfig("two_step", every_steps=4)
    fit(tmp_path, source, freezing, [LearningRateMonitor("step")], logger=recorder)
    assert recorder.values("lr-AdamW/block 1") == pytest.approx([0] * 4 + [7e-3] * 4)
    assert recorder.values("lr-AdamW/head/no_decay") == pytest.approx([1e-2] * 8)


def test_without_the_callback_nothing_is_trained(tmp_path, source):
    data = Sentences(train=sentences([3, 9]))
    data.label_names = TAGS
    model = model_of(source, FreezingConfig("head_only"))
    with pytest.raises(ValueError, match=r"give the trainer the callback .*ProgressiveUnfreezing"):
        quick_trainer(tmp_path, max_epochs=1).fit(model, data)


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        (DDPStrategy(), "plain ddp waits .* use ddp_find_unused_parameters_true"),
        (DDPStrategy(find_unused_parameters=True, static_graph=True), "static_graph forbids"),
    ],
)
def test_strategies_that_cannot_open_layers_are_refused(source, tmp_path, strategy, message):
    trainer = quick_trainer(tmp_path, strategy=strategy)
    model = model_of(source, FreezingConfig("two_step"))
    with pytest.raises(ValueError, match=message):
        ProgressiveUnfreezing().setup(trainer, model, "fit")
    ProgressiveUnfreezing().setup(trainer, model_of(source, FreezingConfig()), "fit")


class Gates(Callback):
    """What could learn in the last step."""

    def __init__(self):
        self.last = {}

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.last = {name: p.requires_grad for name, p in pl_module.named_parameters()}


def state_of(model, trainer):
    gates = next(c for c in trainer.callbacks if isinstance(c, Gates)).last
    optimizer = trainer.optimizers[0].state_dict()
    rates = [(group["name"], group["lr"]) for group in trainer.optimizers[0].param_groups]
    return parameters_of(model), optimizer["state"], rates, gates


def assert_same(ours, theirs):
    torch.testing.assert_close(ours[0], theirs[0], rtol=0, atol=0)
    torch.testing.assert_close(ours[1], theirs[1], rtol=0, atol=0)
    assert ours[2:] == theirs[2:]


def resume_everywhere(tmp_path, source, freezing, schedule=None):
    """The number of steps that a run was resumed at; each ends as the whole one did."""
    every = {"enable_checkpointing": True, "schedule": schedule, "val_check_interval": 1}
    saving = Checkpoints(every_n_steps=1, keep=None)
    whole = state_of(*fit(tmp_path / "whole", source, freezing, [saving, Gates()], **every))
    found = checkpoints(tmp_path / "whole" / "checkpoints")
    assert [step_of(path) for path in found] == list(range(STEPS, 0, -1))
    for path in found:
        again = tmp_path / f"from-{step_of(path)}"
        resumed = fit(again, source, freezing, [Checkpoints(), Gates()], resume=path, **every)
        parts = 4 if step_of(path) < STEPS else 3  # at the end nothing is left to be gated for
        assert_same(state_of(*resumed)[:parts], whole[:parts])
        shutil.rmtree(again, ignore_errors=True)
    return len(found)


RESTART = {"name": "linear", "warmup_fraction": 0.5, "restart": True}


@pytest.mark.parametrize("name", ["chain_thaw", "patience"])
def test_resumed_at_every_step_it_ends_the_same(tmp_path, source, name):
    assert resume_everywhere(tmp_path, source, SCHEDULES[name], RESTART) == STEPS


MATRIX = [(name, None) for name in SCHEDULES] + [
    (name, RESTART) for name, freezing in SCHEDULES.items() if freezing.opens_later
]


@pytest.mark.faults
@pytest.mark.parametrize(("name", "schedule"), MATRIX)
def test_every_schedule_resumed_at_every_step(tmp_path, source, name, schedule):
    tried = resume_everywhere(tmp_path, source, SCHEDULES[name], schedule)
    print(f"{name}: resumed at {tried} steps")


@pytest.mark.slow
def test_compiled_backbone_learns_the_same_through_all_phases(tmp_path, monkeypatch):
    monkeypatch.setattr("torch._dynamo.config.recompile_limit", 2)
    monkeypatch.setattr("torch._dynamo.config.fail_on_recompile_limit_hit", True)
    source = save_tiny(tmp_path / "source", AutoModelForTokenClassification, TAGS)

    class Compiles(Callback):
        def on_fit_start(self, trainer, pl_module):
            pl_module.backbone.model.compile(backend="eager", dynamic=True)

    freezing = SCHEDULES["chain_thaw"]
    plain, _ = fit(tmp_path, source, freezing)
    compiled, _ = fit(tmp_path, source, freezing, [Compiles()])
    torch.testing.assert_close(parameters_of(compiled), parameters_of(plain))
