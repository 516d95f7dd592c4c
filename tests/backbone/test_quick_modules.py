from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import AutoModelForSequenceClassification
from transformers.activations import (
    AccurateGELUActivation,
    FastGELUActivation,
    NewGELUActivation,
)

from lit_llm.backbone.backbone import Backbone
from lit_llm.backbone.quick_dropout import QuickDropout
from lit_llm.backbone.quick_modules import use_quick_modules


@pytest.mark.parametrize(
    "activation", [NewGELUActivation, FastGELUActivation, AccurateGELUActivation]
)
def test_tanh_gelu_and_its_gradient_equal_the_replaced(activation):
    model = nn.Sequential(activation())
    x = torch.linspace(-8, 8, 4001, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(model(x).sum(), x)
    value = model(x)
    use_quick_modules(model)
    assert isinstance(model[0], nn.GELU)
    torch.testing.assert_close(model(x), value, rtol=1e-9, atol=1e-9)
    (gradient,) = torch.autograd.grad(model(x).sum(), x)
    torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-9)


def test_dropout_of_any_depth_keeps_its_probability():
    model = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.3)), nn.Dropout(0.2))
    use_quick_modules(model)
    assert [m.p for m in model.modules() if isinstance(m, QuickDropout)] == [0.3, 0.2]
    use_quick_modules(model)
    assert [m.p for m in model.modules() if isinstance(m, QuickDropout)] == [0.3, 0.2]


def test_twins_and_modes_are_kept():
    model = nn.Module()
    model.first = model.second = nn.Dropout(0.5)
    model.eval()
    use_quick_modules(model)
    assert isinstance(model.first, QuickDropout)
    assert isinstance(model.second, QuickDropout)
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize("model_type", ["bert", "gpt2", "distilbert", "roberta", "electra"])
def test_backbone_and_head_use_them(model_type, source):
    backbone = Backbone(source(model_type))
    head = backbone.build(AutoModelForSequenceClassification, num_labels=2)
    modules = [*backbone.modules(), *head.modules()]
    dropouts = [module for module in modules if isinstance(module, nn.Dropout)]
    assert dropouts
    assert all(isinstance(module, QuickDropout) for module in dropouts)
    assert not any(isinstance(module, NewGELUActivation) for module in modules)
