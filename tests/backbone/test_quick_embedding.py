from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from lit_llm.backbone.quick_embedding import MAPPED_BYTES, QuickEmbedding
from lit_llm.backbone.quick_modules import use_quick_modules

IDS = torch.tensor([[3, 1, 3, 0], [2, 3, 0, 0]])


def pair(dtype=torch.float32, padding_idx=None):
    """An embedding, and the quick one over the same weight."""
    torch.manual_seed(0)
    plain = nn.Embedding(5, 3, padding_idx=padding_idx, dtype=dtype)
    return plain, QuickEmbedding(plain)


def gradient(module, ids=IDS, seed=1):
    """Of its weight, for slopes drawn anew."""
    module.weight.grad = None
    out = module(ids)
    torch.manual_seed(seed)
    out.backward(torch.randn(out.shape, dtype=out.dtype))
    return module.weight.grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("padding_idx", [None, 0, 3])
def test_numbers_and_gradient_are_those_of_the_plain_one(dtype, padding_idx):
    plain, quick = pair(dtype, padding_idx)
    assert quick(IDS).equal(plain(IDS))
    assert quick(IDS).dtype == dtype
    expected = gradient(plain).clone()
    for _ in range(3):
        assert gradient(quick).equal(expected)
    assert gradient(quick, IDS.int()).equal(expected)


def test_memory_is_used_again_once_the_last_gradient_is_gone():
    _, quick = pair()
    gradient(quick)
    first = quick.weight.grad.data_ptr()
    quick.weight.grad = None
    gradient(quick)
    assert quick.weight.grad.data_ptr() == first


def test_gradient_that_somebody_holds_is_left_alone():
    plain, quick = pair()
    held = gradient(quick)
    before = held.clone()
    other = gradient(quick, seed=2)
    assert held.equal(before)
    assert not other.equal(before)
    assert other.equal(gradient(plain, seed=2))


def test_gradients_add_up_over_batches_and_within_a_graph():
    plain, quick = pair()
    found = []
    for module in (plain, quick):
        module.weight.grad = None
        for ids in (IDS, IDS.flip(1)):  # each twice in its graph
            (module(ids) * module(ids.flip(0))).sum().backward()
        found.append(module.weight.grad.clone())
        (one,) = torch.autograd.grad(module(IDS).square().sum(), module.weight)
        (two,) = torch.autograd.grad(module(IDS).sum(), module.weight)
        found += [one, two]
    assert all(a.equal(b) for a, b in zip(found[:3], found[3:], strict=True))


def test_weight_tied_to_an_output_layer_gets_both_gradients():
    found = []
    for module in pair():
        module.weight.grad = None
        (module(IDS) @ module.weight.t()).square().sum().backward()
        found.append(module.weight.grad.clone())
    torch.testing.assert_close(found[1], found[0])


def test_weight_may_change_between_the_passes():
    _, quick = pair()
    out = quick(IDS)
    with torch.no_grad():
        quick.weight.mul_(2)
    out.sum().backward()
    assert quick.weight.grad.sum() == IDS.numel() * 3


def test_frozen_or_without_gradients_it_is_the_plain_one():
    _, quick = pair()
    with torch.no_grad():
        assert quick(IDS).grad_fn is None
    quick.weight.requires_grad_(requires_grad=False)
    assert not quick(IDS).requires_grad


def test_copies_share_no_memory():
    _, quick = pair()
    gradient(quick)
    for other in (copy.deepcopy(quick), pickle.loads(pickle.dumps(quick))):
        assert gradient(other).equal(gradient(quick))
        assert other.weight.grad.data_ptr() != quick.weight.grad.data_ptr()


def test_large_plain_embeddings_are_replaced_and_keep_weight_and_name():
    rows = MAPPED_BYTES // (4 * 64)
    model = nn.Module()
    model.small, model.large = nn.Embedding(rows, 64), nn.Embedding(rows + 1, 64, padding_idx=2)
    model.odd = nn.Embedding(rows + 1, 64, max_norm=1.0)
    weight, names = model.large.weight, list(model.state_dict())
    model.eval()
    use_quick_modules(model)
    assert [type(child) for child in model.children()] == [
        nn.Embedding,
        QuickEmbedding,
        nn.Embedding,
    ]
    assert model.large.weight is weight
    assert model.large.padding_idx == 2
    assert not model.large.training
    assert list(model.state_dict()) == names
