"""What all objectives share, shown on words: a batch has any number of them."""

import pytest
import torch
from lightning.pytorch import Callback
from transformers import AutoModelForTokenClassification

from lit_llm.backbone.backbone import Backbone
from lit_llm.batch import PackedBatch
from lit_llm.objectives.divergence import DivergedError
from lit_llm.objectives.token_classification import TokenClassification
from lit_llm.optim import OptimizerConfig
from lit_llm.schedules import ScheduleConfig
from tests.helpers import (
    CONSTANT,
    TAGS,
    GivenBatches,
    Gradients,
    Recorder,
    Sentences,
    pack_one_row,
    parameters_of,
    quick_trainer,
    save_tiny,
    sentences,
)

# SGD: what a wrong factor on the gradient does is seen, where Adam would hide it.
SGD = OptimizerConfig("sgd", lr=0.1, weight_decay=0.0)
EMPTY = PackedBatch.pack([], [], 3, pad_token_id=0)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("bert"), AutoModelForTokenClassification, TAGS)


@pytest.fixture(scope="module")
def items(source):
    """Five sentences of 1 to 17 words."""
    data = Sentences(max_length=64)
    data.label_names = TAGS
    return list(data.items(sentences([2, 17, 6, 1, 9]), Backbone(source), {}))


def train(source, directory, batches, **settings):
    """(model, gradients of the last step, loss and gradient norm of every step)."""
    model = TokenClassification(Backbone(source), SGD, CONSTANT)
    recorder, gradients = Recorder(), Gradients()
    trainer = quick_trainer(
        directory, max_epochs=1, logger=recorder, callbacks=[gradients], **settings
    )
    trainer.fit(model, GivenBatches(TAGS, batches))
    logged = recorder.values("train/loss"), recorder.values("train/grad_norm")
    return model, gradients.last, logged


@pytest.mark.parametrize(
    "clipping",
    [
        {"gradient_clip_val": None},
        {"gradient_clip_val": 0.05, "gradient_clip_algorithm": "norm"},
        {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"},
    ],
)
def test_accumulated_batches_are_one_big_batch(source, items, tmp_path, clipping):
    small = [pack_one_row(items[i : i + 1]) for i in range(3)]  # 2, 17 and 6 words
    rest = [pack_one_row(items[3:4]), EMPTY]  # a last window of two batches, one of them empty
    split = train(source, tmp_path, [*small, *rest], accumulate_grad_batches=3, **clipping)
    whole = train(source, tmp_path, [pack_one_row(items[:3]), pack_one_row(items[3:4])], **clipping)
    exact = {"rtol": 1e-6, "atol": 1e-6}
    torch.testing.assert_close(split[1], whole[1], **exact)
    torch.testing.assert_close(parameters_of(split[0]), parameters_of(whole[0]), **exact)
    for ours, theirs in zip(split[2], whole[2], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
        assert len(ours) == 2  # one row per optimizer step


def test_logged_loss_and_norm_are_those_of_the_whole_step(source, items, tmp_path):
    batches = [pack_one_row(items[:1]), pack_one_row(items[1:])]
    _, gradients, (losses, norms) = train(source, tmp_path, batches, accumulate_grad_batches=2)
    plain = TokenClassification(Backbone(source))
    plain.build(TAGS)
    batch = pack_one_row(items)
    total, _ = plain.loss(plain.logits(batch), batch)
    assert losses == pytest.approx([total.item() / (2 + 17 + 6 + 1 + 9)], rel=1e-5)
    squares = sum(gradient.square().sum().item() for gradient in gradients.values())
    assert norms == pytest.approx([squares**0.5], rel=1e-5)


def test_gradients_are_clipped_after_the_division(source, items, tmp_path):
    batches = [pack_one_row(items)]
    _, free, _ = train(source, tmp_path, batches)
    norm = sum(gradient.square().sum().item() for gradient in free.values()) ** 0.5
    for algorithm, bound in (("norm", 0.05), ("value", 0.01)):
        _, clipped, (_, logged) = train(
            source,
            tmp_path,
            batches,
            gradient_clip_val=bound,
            gradient_clip_algorithm=algorithm,
        )
        assert logged == pytest.approx([norm], rel=1e-5)  # what it was before
        assert norm > bound
        for name, gradient in free.items():
            scaled = gradient * bound / norm
            expected = scaled if algorithm == "norm" else gradient.clamp(-bound, bound)
            torch.testing.assert_close(clipped[name], expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_window_without_any_target_changes_nothing(source, tmp_path, clip):
    model, gradients, (losses, norms) = train(
        source, tmp_path, [EMPTY, EMPTY], accumulate_grad_batches=2, gradient_clip_val=clip
    )
    assert losses == norms == [0.0]
    assert all((gradient == 0).all() for gradient in gradients.values())
    before = TokenClassification(Backbone(source))
    before.build(TAGS)
    assert parameters_of(model).keys() == parameters_of(before).keys()
    for name, value in parameters_of(before).items():
        assert torch.equal(model.get_parameter(name), value), name


def test_an_empty_batch_gives_a_zero_that_hangs_on_the_graph(source):
    model = TokenClassification(Backbone(source))
    model.build(TAGS)
    loss = model.training_step(EMPTY, 0)
    assert loss.item() == 0.0
    loss.backward()
    assert all((p.grad == 0).all() for p in model.parameters())


def test_an_interrupted_window_is_forgotten(source, items, tmp_path):
    model = TokenClassification(Backbone(source), SGD, CONSTANT)
    model.build(TAGS)
    model.training_step(pack_one_row(items), 0)  # and no optimizer step
    recorder = Recorder()
    batch = pack_one_row(items[:1])
    expected = model.loss(model.logits(batch), batch)[0].item() / 2
    trainer = quick_trainer(tmp_path, max_steps=1, logger=recorder)
    trainer.fit(model, GivenBatches(TAGS, [batch]))
    assert recorder.values("train/loss") == pytest.approx([expected], rel=1e-5)


@pytest.mark.parametrize("split", ["val", "test"])
def test_an_interrupted_evaluation_is_forgotten(source, tmp_path, split):
    data = Sentences(**{split: sentences([3, 2])})
    data.label_names = TAGS
    model = TokenClassification(Backbone(source))
    trainer = quick_trainer(tmp_path)
    run = trainer.validate if split == "val" else trainer.test
    run(model, data, verbose=False)
    batch = next(iter(data.val_dataloader() if split == "val" else data.test_dataloader()))
    model.validation_step(batch, 0)  # and no end of the epoch
    run(model, data, verbose=False)
    assert len(model.results[split]["records"]) == 2


@pytest.mark.parametrize("limit", [1, 1.0])
def test_only_a_limited_evaluation_may_miss_words(source, tmp_path, limit):
    data = Sentences(val=sentences([3, 2]))
    data.label_names = TAGS
    model = TokenClassification(Backbone(source))
    model.validation_step = lambda batch, batch_idx: None  # the only batch is lost on the way
    trainer = quick_trainer(tmp_path, limit_val_batches=limit)
    if isinstance(limit, int):  # a single batch, where 1.0 is all of them
        trainer.validate(model, data, verbose=False)
        assert model.results["val"]["records"] == []
    else:
        with pytest.raises(RuntimeError, match="5 of 5 units were not predicted exactly once"):
            trainer.validate(model, data, verbose=False)


def test_the_learning_rate_follows_the_schedule_of_all_steps(source, items, tmp_path):
    rates = []

    class Rates(Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            rates.append([group["lr"] for group in optimizer.param_groups])

    model = TokenClassification(
        Backbone(source), OptimizerConfig(lr=0.4, head_lr=0.8), ScheduleConfig(warmup_steps=2)
    )
    batches = [pack_one_row(items)] * 4
    trainer = quick_trainer(tmp_path, max_epochs=2, accumulate_grad_batches=2, callbacks=[Rates()])
    trainer.fit(model, GivenBatches(TAGS, batches))
    # 2 epochs of 4 batches in twos: 4 steps, of which 2 warm up: factors 0, 1/2, 1, 1/2.
    assert [row[0] for row in rates] == pytest.approx([0.0, 0.2, 0.4, 0.2])
    assert [row[-1] for row in rates] == pytest.approx([0.0, 0.4, 0.8, 0.4])


def test_a_run_without_an_end_is_refused(source, items, tmp_path):
    trainer = quick_trainer(tmp_path, max_epochs=-1)
    with pytest.raises(ValueError, match=r"needs the run's length: set trainer.max_epochs or"):
        trainer.fit(TokenClassification(Backbone(source)), GivenBatches(TAGS, [EMPTY]))


def test_saved_weights_are_taken_over_whole(source, tmp_path):
    model = TokenClassification(Backbone(source))
    model.build(TAGS)
    model.save(tmp_path / "best")
    saved = parameters_of(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    model.load_weights(tmp_path / "best")
    torch.testing.assert_close(parameters_of(model), saved, rtol=0, atol=0)


class Poison(Callback):
    """The loss, or one gradient, of the third step is no number."""

    def __init__(self, what):
        self.what = what

    def on_after_backward(self, trainer, pl_module):
        if trainer.global_step == 2:
            if self.what == "loss":
                pl_module._window = pl_module._window * float("nan")
            else:
                pl_module.head.task_model.classifier.bias.grad[1] = float("inf")


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("loss", "diverged at step 3: loss nan"),
        ("gradient", r"diverged at step 3: .*norm inf, first in head\.\S*classifier\.bias \(of 1 "),
    ],
)
def test_a_step_that_is_not_finite_is_not_made(source, items, tmp_path, what, message):
    model = TokenClassification(Backbone(source), SGD, CONSTANT)
    steps = []

    class Before(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            steps.append(parameters_of(pl_module))

    trainer = quick_trainer(tmp_path, max_epochs=1, callbacks=[Before(), Poison(what)])
    with pytest.raises(DivergedError, match=message):
        trainer.fit(model, GivenBatches(TAGS, [pack_one_row([item]) for item in items]))
    assert len(steps) == 3
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, steps[-1][name])


def test_what_a_rank_asks_for_is_agreed_once(source, items, tmp_path):
    model = TokenClassification(Backbone(source), SGD, CONSTANT)
    agreed = []

    class Asks(Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            if trainer.global_step == 1:
                pl_module.requests |= {"save", "SIGTERM"}

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            agreed.append(set(pl_module.agreed))

    trainer = quick_trainer(tmp_path, max_epochs=1, callbacks=[Asks()])
    trainer.fit(model, GivenBatches(TAGS, [pack_one_row([item]) for item in items]))
    assert agreed == [set(), {"save", "SIGTERM"}, set(), set(), set()]
