import copy

import pytest
import torch
from torch import nn

from lit_llm.freezing import FreezingConfig
from lit_llm.freezing_plan import freezing_plan
from lit_llm.optim import (
    OptimizerConfig,
    build_optimizer,
    build_schedule,
    joined,
    parameter_groups,
    rate_of,
)
from lit_llm.schedules import ScheduleConfig

NAMES = ("adamw", "adam", "sgd")


class Model(nn.Module):
    """A backbone with a norm, and a head."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
        self.head = nn.Linear(4, 2)

    def forward(self, inputs):
        return self.head(self.backbone(inputs))


def make_model():
    torch.manual_seed(0)
    return Model()


def layers_of(model):
    return [("backbone", list(model.backbone.parameters())), ("head", own_of_head(model))]


def own_of_head(model):
    below = {id(p) for p in model.backbone.parameters()}
    return [p for p in model.parameters() if id(p) not in below]


def groups_of(model, **settings):
    return parameter_groups(layers_of(model), OptimizerConfig(**settings))


def names_of(model, group):
    return sorted(n for n, p in model.named_parameters() if any(p is q for q in group["params"]))


def test_only_matrices_are_decayed_and_the_head_has_its_rate():
    model = make_model()
    groups = groups_of(model, lr=0.1, head_lr=0.5, weight_decay=0.3)
    found = {g["name"]: (names_of(model, g), g["lr"], g["weight_decay"]) for g in groups}
    assert found == {
        "backbone": (["backbone.0.weight"], 0.1, 0.3),
        "backbone/no_decay": (["backbone.0.bias", "backbone.1.bias", "backbone.1.weight"], 0.1, 0),
        "head": (["head.weight"], 0.5, 0.3),
        "head/no_decay": (["head.bias"], 0.5, 0),
    }


def test_the_head_takes_the_common_rate_unless_it_has_its_own():
    assert {group["lr"] for group in groups_of(make_model(), lr=0.1)} == {0.1}


def test_every_parameter_is_in_one_group_also_frozen_and_equal_ones():
    model = make_model()
    model.add_module("twin", copy.deepcopy(model.head))  # equal in value, another parameter
    model.backbone[0].weight.requires_grad_(False)
    grouped = [id(p) for group in groups_of(model) for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters())


def test_a_shared_parameter_is_in_one_group():
    model = make_model()
    model.add_module("tied", model.backbone[0])
    optimizer = build_optimizer(groups_of(model), OptimizerConfig(), fused=False)  # torch checks
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 6


@pytest.mark.parametrize("name", NAMES)
def test_fused_steps_equal_plain_ones(name):
    fused, plain = make_model(), make_model()
    inputs = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    config = OptimizerConfig(name, lr=0.05, weight_decay=0.1, head_lr=0.02)
    for model, is_fused in ((fused, True), (plain, False)):
        groups = parameter_groups(layers_of(model), config)
        optimizer = build_optimizer(groups, config, is_fused)
        for _ in range(3):
            optimizer.zero_grad()
            model(inputs).square().sum().backward()
            optimizer.step()
    for ours, theirs in zip(fused.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # p = 2, gradient 3, lr 0.1, decay 0.5.
        # AdamW's first step: p (1 - 0.1 * 0.5) - 0.1 * sign(3) = 1.9 - 0.1.
        ("adamw", 1.8),
        # Adam's: the decay joins the gradient, whose size the first step ignores: 2 - 0.1.
        ("adam", 1.9),
        # SGD's: 2 - 0.1 * (3 + 0.5 * 2).
        ("sgd", 1.6),
    ],
)
def test_first_step_gives_the_hand_value(name, expected):
    parameter = nn.Parameter(torch.tensor([[2.0]]))
    config = OptimizerConfig(name, lr=0.1, weight_decay=0.5)
    groups = parameter_groups([("backbone", [parameter])], config)
    optimizer = build_optimizer(groups, config, fused=True)
    parameter.grad = torch.tensor([[3.0]])
    optimizer.step()
    torch.testing.assert_close(parameter.detach(), torch.tensor([[expected]]))


def test_settings_reach_the_optimizer():
    model = make_model()
    config = OptimizerConfig(betas=(0.8, 0.9), eps=1e-5)
    adamw = build_optimizer(groups_of(model), config, fused=False)
    assert (adamw.defaults["betas"], adamw.defaults["eps"]) == ((0.8, 0.9), 1e-5)
    sgd = build_optimizer(groups_of(model), OptimizerConfig("sgd", momentum=0.7), fused=False)
    assert sgd.defaults["momentum"] == 0.7


def test_schedule_scales_each_groups_own_rate():
    config = OptimizerConfig("sgd", lr=0.1, head_lr=0.5)
    optimizer = build_optimizer(parameter_groups(layers_of(make_model()), config), config, False)
    schedule = build_schedule(optimizer, ScheduleConfig("linear", warmup_steps=2), total_steps=4)
    seen = []
    for _ in range(5):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    # Factors 0, 1/2, 1, 1/2, 0.
    backbone, head = [row[0] for row in seen], [row[2] for row in seen]
    assert backbone == pytest.approx([0.0, 0.05, 0.1, 0.05, 0.0])
    assert head == pytest.approx([0.0, 0.25, 0.5, 0.25, 0.0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "lion"}, r"optimizer.name is adamw, adam or sgd, not 'lion'"),
        ({"lr": 0.0}, r"optimizer.lr must be above 0, not 0.0"),
        ({"lr": float("nan")}, r"optimizer.lr must be above 0, not nan"),
        ({"head_lr": -1.0}, r"optimizer.head_lr must be above 0, not -1.0"),
        ({"weight_decay": -0.1}, r"optimizer.weight_decay must be at least 0, not -0.1"),
    ],
)
def test_config_refuses_what_trains_nothing(settings, message):
    with pytest.raises(ValueError, match=message):
        OptimizerConfig(**settings)


LAYERS = ["embeddings", "block 0", "block 1", "final", "head"]


def test_rates_fall_from_the_head_to_the_embeddings():
    config = OptimizerConfig(lr=0.8, layer_decay=0.5)
    rates = [rate_of(layer, LAYERS, config) for layer in LAYERS]
    assert rates == pytest.approx([0.1, 0.2, 0.4, 0.4, 0.8])
    own = OptimizerConfig(lr=0.8, layer_decay=0.5, head_lr=3.0)
    assert [rate_of(layer, LAYERS, own) for layer in LAYERS][-2:] == pytest.approx([0.4, 3.0])


@pytest.mark.parametrize("factor", [0.0, 1.1, float("nan")])
def test_a_decay_that_is_none_is_refused(factor):
    with pytest.raises(ValueError, match=f"layer_decay must lie in .0, 1., not {factor}"):
        OptimizerConfig(layer_decay=factor)


def layers(names=LAYERS):
    """A matrix and a vector each."""
    return [(name, [nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))]) for name in names]


def test_each_layer_has_its_groups_and_its_rate():
    groups = parameter_groups(layers(), OptimizerConfig(lr=0.8, layer_decay=0.5, weight_decay=0.3))
    found = {group["name"]: (group["lr"], group["weight_decay"]) for group in groups}
    assert found["block 0"] == (pytest.approx(0.2), 0.3)
    assert found["block 0/no_decay"] == (pytest.approx(0.2), 0.0)
    assert len(found) == 2 * len(LAYERS)


def test_joined_layers_keep_every_parameter():
    whole = layers()
    (name, backbone), (head_name, head) = joined(whole)
    assert (name, head_name) == ("backbone", "head")
    kept = [id(p) for p in [*backbone, *head]]
    assert kept == [id(p) for _, parameters in whole for p in parameters]


def test_each_groups_rate_follows_its_own_opening():
    freezing = FreezingConfig("gradual", every_steps=1)
    config = OptimizerConfig("sgd", lr=1.0, layer_decay=0.5)
    optimizer = build_optimizer(parameter_groups(layers(), config), config, False)
    plan = freezing_plan(freezing, LAYERS, total_steps=4, steps_per_epoch=1)
    schedule_config = ScheduleConfig("constant", warmup_steps=0, freezing=freezing)
    schedule = build_schedule(optimizer, schedule_config, 4, lambda: plan)
    names = [group["name"] for group in optimizer.param_groups]
    seen = []
    for _ in range(4):
        rates = dict(zip(names, (group["lr"] for group in optimizer.param_groups), strict=True))
        assert all(rates[f"{layer}/no_decay"] == rates[layer] for layer in LAYERS)
        seen.append([rates[layer] for layer in LAYERS])
        optimizer.step()
        schedule.step()
    assert seen == [
        [0, 0, 0, 0, 1],
        [0, 0, 0.5, 0.5, 1],
        [0, 0.25, 0.5, 0.5, 1],
        [0.125, 0.25, 0.5, 0.5, 1],
    ]
