"""Small parts that keep fine-tuning in bounds, each against its formula."""

import pytest
import torch
from lightning.pytorch import Callback
from transformers import AutoModelForTokenClassification

from lit_llm.backbone.backbone import Backbone
from lit_llm.callbacks.adversarial_noise import AdversarialNoise
from lit_llm.callbacks.checkpoints import Checkpoints
from lit_llm.callbacks.l2_sp import L2SP
from lit_llm.callbacks.mixout import Mixout, mixed
from lit_llm.callbacks.progressive_unfreezing import ProgressiveUnfreezing
from lit_llm.callbacks.r_drop import RDrop
from lit_llm.callbacks.reinitialise_top import ReinitialiseTop
from lit_llm.freezing import FreezingConfig
from lit_llm.objectives.token_classification import TokenClassification
from lit_llm.optim import OptimizerConfig
from lit_llm.schedules import ScheduleConfig
from tests.helpers import (
    TAGS,
    Sentences,
    pack_one_row,
    parameters_of,
    save_tiny,
    sentences,
)
from tests.references.small_fits import fit_words

SGD = OptimizerConfig("sgd", lr=0.1, head_lr=0.2, weight_decay=0.0, momentum=0.0)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("source"), AutoModelForTokenClassification, TAGS)


class Keep(Callback):
    """Weights before, and gradients of, each step."""

    def __init__(self):
        self.before, self.gradients, self.rates = [], [], []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self.before.append(parameters_of(pl_module))

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == len(self.before):
            grads = {n: p.grad for n, p in pl_module.named_parameters() if p.grad is not None}
            self.gradients.append({name: grad.clone() for name, grad in grads.items()})


def fit(directory, source, callbacks, freezing=None, **settings):
    schedule = ScheduleConfig(
        "constant", warmup_fraction=0.0, freezing=freezing or FreezingConfig()
    )
    settings = {"max_epochs": 1, "val": False, **settings}
    every = [ProgressiveUnfreezing(), *callbacks]
    return fit_words(directory, source, every, SGD, schedule, **settings)


def expected_after(keep, start, alpha, beta):
    """Li et al. 2018: w - lr * (g + alpha (w' - w0)), w' after the gradient's step; beta to 0."""
    weights = {}
    for name, weight in keep.before[-1].items():
        if name not in keep.gradients[-1]:
            weights[name] = weight
            continue
        backbone = name.startswith("backbone.")
        rate = 0.1 if backbone else 0.2
        moved = weight - rate * keep.gradients[-1][name]
        pull = alpha * (moved - start[name]) if backbone else beta * moved
        weights[name] = moved - rate * pull
    return weights


@pytest.mark.parametrize("accumulate", [1, 2])
def test_weights_are_pulled_to_the_start_and_the_head_to_zero(tmp_path, source, accumulate):
    keep = Keep()
    model, _ = fit(tmp_path, source, [keep, L2SP(0.5, 0.3)], accumulate_grad_batches=accumulate)
    expected = expected_after(keep, keep.before[0], 0.5, 0.3)
    torch.testing.assert_close(parameters_of(model), expected)


def test_what_is_frozen_is_not_pulled(tmp_path, source):
    keep = Keep()
    freezing = FreezingConfig("head_only")
    model, _ = fit(tmp_path, source, [keep, L2SP(0.5, 0.3)], freezing=freezing)
    ours = parameters_of(model)
    for name, start in keep.before[0].items():
        assert torch.equal(ours[name], start) == name.startswith("backbone."), name


def test_a_resumed_run_is_pulled_to_the_same_place(tmp_path, source):
    saving = Checkpoints(every_n_steps=1, keep=None)
    settings = {"max_epochs": 2, "enable_checkpointing": True}
    whole, _ = fit(tmp_path / "whole", source, [L2SP(), saving], **settings)
    resume = tmp_path / "whole" / "checkpoints" / "step-3"
    again, _ = fit(tmp_path / "again", source, [L2SP(), Checkpoints()], resume=resume, **settings)
    torch.testing.assert_close(parameters_of(again), parameters_of(whole), rtol=0, atol=0)


class FirstWeights(Callback):
    def on_train_start(self, trainer, pl_module):
        self.found = parameters_of(pl_module)


def test_the_highest_blocks_are_drawn_anew_and_nothing_else(tmp_path, source):
    first = FirstWeights()
    fit(tmp_path, source, [ReinitialiseTop(1), first], max_steps=1)
    loaded = TokenClassification(Backbone(source))
    loaded.build(TAGS)
    for name, weight in parameters_of(loaded).items():
        anew = ".layer.1." in name
        assert torch.equal(first.found[name], weight) != anew, name
        if anew and weight.ndim > 1:
            assert first.found[name].std() < 0.05  # initializer_range is 0.02, the source's 0.3
        elif anew:
            assert set(first.found[name].tolist()) <= {0.0, 1.0}


def test_a_resumed_run_keeps_what_it_learned(tmp_path, source):
    saving = Checkpoints(every_n_steps=1, keep=None)
    settings = {"max_epochs": 2, "enable_checkpointing": True}
    whole, _ = fit(tmp_path / "whole", source, [ReinitialiseTop(2), saving], **settings)
    resume = tmp_path / "whole" / "checkpoints" / "step-5"
    parts = [ReinitialiseTop(2), Checkpoints()]
    again, _ = fit(tmp_path / "again", source, parts, resume=resume, **settings)
    torch.testing.assert_close(parameters_of(again), parameters_of(whole), rtol=0, atol=0)


def test_mixout_is_the_papers_formula_and_right_on_average():
    weight, start = torch.tensor([[2.0, 3.0]]), torch.tensor([[1.0, -1.0]])
    found = mixed(weight, start, torch.tensor([[True, False]]), 0.25)
    # (1 - 0.25 * 1) / 0.75 = 1, (3 - 0.25 * -1) / 0.75 = 13 / 3.
    torch.testing.assert_close(found, torch.tensor([[1.0, 13 / 3]]))
    chosen = torch.rand(20_000, 2, generator=torch.Generator().manual_seed(0)) < 0.25
    mean = mixed(weight, start, chosen, 0.25).mean(0)
    torch.testing.assert_close(mean, weight[0], rtol=0, atol=0.05)


class KindOfLayer(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.kind = type(pl_module.backbone.model.encoder.layer[0].intermediate.dense).__name__


def test_mixout_trains_resumes_and_leaves_plain_layers(tmp_path, source):
    settings = {"max_epochs": 2, "enable_checkpointing": True}
    layer = KindOfLayer()
    parts = [Mixout(0.5), Checkpoints(every_n_steps=1, keep=None), layer]
    whole, _ = fit(tmp_path / "whole", source, parts, **settings)
    assert layer.kind == "_MixedLinear"
    assert not any("Mixed" in type(module).__name__ for module in whole.modules())
    plain, _ = fit(tmp_path / "plain", source, [Checkpoints()], **settings)
    layers = dict(plain.named_parameters())
    assert all(not torch.equal(p, layers[n]) for n, p in whole.named_parameters() if "dense" in n)
    resume = tmp_path / "whole" / "checkpoints" / "step-3"
    again, _ = fit(tmp_path / "a", source, [Mixout(0.5), Checkpoints()], resume=resume, **settings)
    torch.testing.assert_close(parameters_of(again), parameters_of(whole), rtol=0, atol=0)


def test_mixout_with_hardly_any_chance_is_plain_training(tmp_path, source):
    plain, _ = fit(tmp_path / "plain", source, [])
    mixing, _ = fit(tmp_path / "mixed", source, [Mixout(1e-9)])
    torch.testing.assert_close(parameters_of(mixing), parameters_of(plain))


BATCH = sentences([3, 5, 2])


@pytest.fixture
def one_batch(source):
    """A model in training mode without dropout, and a batch of three sentences in one row."""
    model = TokenClassification(Backbone(source))
    model.build(TAGS)
    data = Sentences(max_length=64)
    data.label_names = TAGS
    items = list(data.items(BATCH, model.backbone, {}))
    return model.train(), pack_one_row(items, row_length=40)


def loss_of(model, batch):
    total, _ = model.terms(batch)["loss"]
    return total


def test_r_drop_without_dropout_is_twice_the_loss(one_batch):
    model, batch = one_batch
    plain = loss_of(model, batch)
    RDrop(3.0).setup(None, model, "fit")
    torch.testing.assert_close(loss_of(model, batch), 2 * plain)


def test_r_drop_is_the_papers_formula(one_batch):
    model, batch = one_batch
    passes = [torch.randn(10, 5, generator=torch.Generator().manual_seed(i)) for i in (1, 2)]
    queue = list(passes)
    model.logits = lambda batch: queue.pop(0)
    part = RDrop(alpha=0.7)
    part.setup(None, model, "fit")
    p, q = (x.softmax(-1).double() for x in passes)
    gold = batch.targets["labels"]
    nll = -sum(x[torch.arange(10), gold].log().sum() for x in (p, q))
    both = (p * (p / q).log()).sum() + (q * (q / p).log()).sum()
    expected = nll + 0.7 * both / 2
    assert loss_of(model, batch).item() == pytest.approx(expected.item(), rel=1e-5)
    part.teardown(None, model, "fit")
    assert model.loss_parts == []


def test_noise_points_to_where_the_loss_grows_fastest(one_batch):
    model, batch = one_batch
    plain = loss_of(model, batch).item()
    words = model.backbone.model.get_input_embeddings()
    noise = AdversarialNoise(epsilon=1e-3)
    noise.setup(None, model, "fit")
    noise.on_fit_start(None, model)
    seen = []
    handle = words.register_forward_hook(lambda module, inputs, output: seen.append(output))
    total = loss_of(model, batch)
    moved = seen[1] - seen[0]
    (gradient,) = torch.autograd.grad(model.loss(model.logits(batch), batch)[0], seen[2])
    for segment in range(3):
        inside = batch.segment_ids == segment
        own = gradient[inside]
        torch.testing.assert_close(moved[inside], 1e-3 * own / own.norm(), rtol=1e-2, atol=1e-6)
    assert moved[batch.segment_ids < 0].abs().max() < 1e-9
    # To first order the loss grows by epsilon times the sum of the examples' gradient norms.
    norms = sum(gradient[batch.segment_ids == i].norm().item() for i in range(3))
    assert total.item() == pytest.approx(2 * plain + 1e-3 * norms, rel=1e-5)
    total.backward()
    assert all(p.grad is not None for p in model.parameters())
    handle.remove()
    noise.teardown(None, model, "fit")
    assert loss_of(model, batch).item() == pytest.approx(plain)


@pytest.mark.parametrize("kinds", [[RDrop], [AdversarialNoise], [RDrop, AdversarialNoise]])
def test_parts_of_the_loss_train_with_frozen_layers_and_leave_it(tmp_path, source, kinds):
    parts = [kind() for kind in kinds]
    model, trainer = fit(tmp_path, source, parts, freezing=FreezingConfig("two_step"))
    assert trainer.global_step == 4
    assert model.loss_parts == []


def test_what_makes_no_sense_is_refused(tmp_path, source):
    with pytest.raises(ValueError, match=r"Mixout.prob must lie in \(0, 1\), not 1"):
        Mixout(1)
    with pytest.raises(ValueError, match=r"L2SP.beta must be at least 0, not -1"):
        L2SP(beta=-1)
    with pytest.raises(ValueError, match=r"blocks must be at least 1, not 0"):
        ReinitialiseTop(0)
    with pytest.raises(ValueError, match=r"blocks = 3, but the model has 2"):
        fit(tmp_path, source, [ReinitialiseTop(3)])
