from __future__ import annotations

import pytest
from torch import nn

from lit_llm.backbone.backbone import Backbone
from lit_llm.backbone.layer_groups import layer_groups
from lit_llm.backbone.packed_inputs import PACKABLE

TYPES = sorted(PACKABLE | {"deberta-v2", "distilbert", "opt", "squeezebert", "xlm"})
NO_FINAL = {
    *("albert", "bert", "camembert", "deberta-v2", "distilbert", "electra"),
    *("roberta", "squeezebert", "xlm", "xlm-roberta"),
}


def names(backbone, parameters):
    name_of = {id(p): name for name, p in backbone.model.named_parameters()}
    return [name_of[id(p)] for p in parameters]


@pytest.mark.parametrize("model_type", TYPES)
def test_groups_hold_every_parameter_once_in_order(model_type, source):
    backbone = Backbone(source(model_type))
    backbone.build()
    groups = backbone.layer_groups()
    ids = [id(p) for _, parameters in groups for p in parameters]
    assert sorted(ids) == sorted(id(p) for p in backbone.parameters())
    blocks = ["block 0"] if model_type == "albert" else ["block 0", "block 1"]
    final = [] if model_type in NO_FINAL else ["final"]
    assert [name for name, _ in groups] == ["embeddings", *blocks, *final]
    assert all(parameters for _, parameters in groups)


def test_groups_of_gpt2_are_what_their_names_say(source):
    backbone = Backbone(source("gpt2"))
    backbone.build()
    embeddings, first, second, final = (names(backbone, p) for _, p in backbone.layer_groups())
    assert embeddings == ["wte.weight", "wpe.weight"]
    assert all(name.startswith("h.0.") for name in first)
    assert all(name.startswith("h.1.") for name in second)
    assert final == ["ln_f.weight", "ln_f.bias"]


def test_relative_positions_of_deberta_stand_below_its_blocks(source):
    backbone = Backbone(source("deberta-v2"))
    backbone.build()
    (_, below), *_ = backbone.layer_groups()
    assert "encoder.rel_embeddings.weight" in names(backbone, below)


@pytest.mark.parametrize("model_type", TYPES)
def test_modules_of_a_group_hold_its_parameters_and_nothing_else(model_type, source):
    backbone = Backbone(source(model_type))
    backbone.build()
    modules = backbone.layer_modules()
    for name, parameters in backbone.layer_groups():
        found = {id(p) for module in modules[name] for p in module.parameters()}
        assert found == {id(p) for p in parameters}, name
    inside = {id(m) for found in modules.values() for top in found for m in top.modules()}
    dropouts = [m for m in backbone.model.modules() if "Dropout" in type(m).__name__]
    assert all(id(m) in inside for m in dropouts)


def test_model_without_a_list_of_layers_is_refused():
    with pytest.raises(ValueError, match="Linear holds no list of layers"):
        layer_groups(nn.Linear(2, 2), 2)
