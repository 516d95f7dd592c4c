from __future__ import annotations

import pytest
from torch import nn

from lit_llm.backbone.backbone import Backbone
from lit_llm.backbone.dropout import set_dropout

BOTH = ["albert", "bert", "deberta-v2", "distilbert", "electra", "gpt2", "gpt_neox", "modernbert"]


@pytest.mark.parametrize("model_type", [*BOTH, "opt", "roberta", "squeezebert"])
def test_hidden_and_attention_dropout_reach_the_modules(model_type, source):
    backbone = Backbone(source(model_type), hidden_dropout=0.25, attention_dropout=0.125)
    backbone.build()
    found = {module.p for module in backbone.modules() if isinstance(module, nn.Dropout)}
    found |= {getattr(module, "attention_dropout", 0.25) for module in backbone.modules()}
    found |= {getattr(module, "dropout_prob", 0.25) for module in backbone.modules()}
    numbers = {p for p in found if isinstance(p, float)}
    assert 0.25 in numbers
    assert numbers <= {0.25, 0.125}


@pytest.mark.parametrize("model_type", ["llama", "mistral", "qwen2"])
def test_architecture_without_hidden_dropout_is_named(model_type, config_of):
    config = config_of(model_type)
    set_dropout(config, None, 0.2)
    assert config.attention_dropout == 0.2
    with pytest.raises(ValueError, match=f"hidden_dropout: {model_type} has no such setting"):
        set_dropout(config, 0.1, None)


@pytest.mark.parametrize("value", [-0.1, 1.0])
def test_no_probability_is_refused(value, config_of):
    with pytest.raises(ValueError, match=r"attention_dropout = .* is no probability"):
        set_dropout(config_of("bert"), None, value)


def test_none_leaves_the_configuration_alone(config_of):
    config = config_of("bert")
    before = config.to_dict()
    set_dropout(config, None, None)
    assert config.to_dict() == before
