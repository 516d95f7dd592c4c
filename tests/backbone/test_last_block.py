"""Vectors of some tokens against all hidden states."""

from __future__ import annotations

import pytest
import torch

from lit_llm.backbone.backbone import Backbone
from lit_llm.batch import PackedBatch

REDUCED = ["bert", "camembert", "electra", "roberta", "xlm-roberta"]
OTHERS = ["albert", "gpt2", "llama", "modernbert"]


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    items = [{"input_ids": torch.randint(5, 20, (n,), generator=generator)} for n in (7, 3, 9)]
    return PackedBatch.pack(items, [[0, 1], [2]], 12, 1)


def built(source):
    backbone = Backbone(source, hidden_dropout=None)
    torch.manual_seed(0)
    backbone.build()
    return backbone.eval()


def gradients(backbone, vectors):
    backbone.zero_grad()
    (vectors * torch.arange(1.0, 1 + vectors.numel()).view_as(vectors).sin()).sum().backward()
    return {n: p.grad.clone() for n, p in backbone.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("positions", [[3, 0, 13, 3], []])
@pytest.mark.parametrize("model_type", REDUCED + OTHERS)
def test_vectors_and_gradients_equal_those_of_all_hidden_states(
    model_type, positions, source, batch
):
    backbone = built(source(model_type))
    at = torch.tensor(positions, dtype=torch.int64)
    expected = backbone(batch).flatten(0, 1)[at]
    found = backbone.at(batch, at)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    want = gradients(backbone, expected)
    got = gradients(backbone, found)
    assert got.keys() == want.keys()  # of no token zeros, not none: plain DDP waits for each
    for name, gradient in want.items():
        torch.testing.assert_close(got[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("model_type", REDUCED)
def test_last_feed_forward_layer_sees_only_the_asked_tokens(model_type, source, batch):
    backbone = built(source(model_type))
    seen = []
    for layer in backbone.model.encoder.layer:
        layer.intermediate.register_forward_hook(
            lambda m, i, out: seen.append(out.shape[:-1].numel())
        )
    backbone.at(batch, torch.tensor([1, 5]))
    assert seen == [24] * (len(seen) - 1) + [2]
    seen.clear()
    backbone(batch)  # nothing of it stays
    assert set(seen) == {24}


def test_checkpointed_blocks_run_as_they_are(source, batch):
    backbone = built(source("bert")).train()
    for module in backbone.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    at = torch.tensor([0, 13])
    want = gradients(backbone, backbone.at(batch, at))
    backbone.model.gradient_checkpointing_enable({"use_reentrant": False})
    got = gradients(backbone, backbone.at(batch, at))
    for name, gradient in want.items():
        torch.testing.assert_close(got[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("part", ["model", "blocks"])
def test_compiled_models_give_the_asked_tokens(part, source, batch):
    backbone = built(source("bert"))
    at = torch.tensor([0, 13])
    expected = backbone.at(batch, at)
    parts = [backbone.model] if part == "model" else backbone.model.encoder.layer
    for module in parts:
        module.compile(backend="eager")
    torch.testing.assert_close(backbone.at(batch, at), expected)
    torch.testing.assert_close(backbone.at(batch, at[:1]), expected[:1])


def test_feed_forward_layers_in_chunks_run_as_they_are(source, batch):
    backbone = built(source("bert"))
    at = torch.tensor([0, 13, 3])
    expected = backbone.at(batch, at)
    backbone.model.config.chunk_size_feed_forward = 4
    for layer in backbone.model.encoder.layer:
        layer.chunk_size_feed_forward = 4
    torch.testing.assert_close(backbone.at(batch, at), expected)
