import pytest
import torch

from lit_llm.backbone.backbone import Backbone
from lit_llm.backbone.pooling import pool, pooled
from lit_llm.batch import PackedBatch

# Two rows of 5 tokens: examples 1 (3 tokens) and 0 (1 token), one filler; example 2 (2 tokens).
LENGTHS = (1, 3, 2)
ROWS = [[1, 0], [2]]


@pytest.fixture
def batch():
    items = [{"input_ids": [7] * length} for length in LENGTHS]
    return PackedBatch.pack(items, ROWS, 5, pad_token_id=0)


@pytest.fixture
def hidden():
    # Token t of row r is (10 r + t, -(10 r + t)); filler is what must never be seen.
    values = torch.tensor([[0.0, 1, 2, 3, 1e9], [10, 11, 1e9, 1e9, 1e9]])
    return torch.stack([values, -values], dim=-1)


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("first", [3, 0, 10]),
        ("last", [3, 2, 11]),
        # (3) / 1, (0 + 1 + 2) / 3, (10 + 11) / 2
        ("mean", [3, 1, 10.5]),
    ],
)
def test_pool_gives_hand_values(batch, hidden, pooling, expected):
    expected = torch.tensor(expected, dtype=torch.float32)
    torch.testing.assert_close(
        pool(hidden, batch, pooling), torch.stack([expected, -expected], dim=-1)
    )


@pytest.mark.parametrize("pooling", ["first", "last", "mean"])
def test_pool_of_no_example_is_empty(pooling):
    batch = PackedBatch.pack([], [], 1, pad_token_id=0)
    assert pool(torch.zeros(1, 1, 2), batch, pooling).shape == (0, 2)


def test_mean_gives_no_gradient_to_filler(batch, hidden):
    hidden.requires_grad_()
    pool(hidden, batch, "mean").sum().backward()
    # 1 / length on each token of an example.
    weights = torch.tensor([[1 / 3, 1 / 3, 1 / 3, 1, 0], [1 / 2, 1 / 2, 0, 0, 0]])
    torch.testing.assert_close(hidden.grad, weights.unsqueeze(-1).expand(2, 5, 2))


def test_mean_of_half_precision_is_taken_in_float32():
    # In bfloat16, with 8 bits of precision, 256 + 1 is 256 again: the mean would be 256 / 512.
    batch = PackedBatch.pack([{"input_ids": [7] * 512}], [[0]], 512, pad_token_id=0)
    pooled = pool(torch.ones(1, 512, 1, dtype=torch.bfloat16), batch, "mean")
    assert pooled.dtype == torch.bfloat16
    assert pooled.item() == 1.0


def test_mean_of_double_precision_stays_double():
    batch = PackedBatch.pack([{"input_ids": [7, 7]}], [[0]], 2, pad_token_id=0)
    hidden = torch.tensor([[[1.0], [1.0 + 1e-12]]], dtype=torch.float64)
    torch.testing.assert_close(
        pool(hidden, batch, "mean"),
        torch.tensor([[1.0 + 5e-13]], dtype=torch.float64),
        rtol=0,
        atol=1e-15,
    )


def test_pool_refuses_another_word(batch, hidden):
    with pytest.raises(ValueError, match="pooling is first, last or mean, not 'max'"):
        pool(hidden, batch, "max")


@pytest.mark.parametrize("pooling", ["first", "last", "mean"])
def test_pooled_equals_pool_of_all_hidden_states(pooling, source):
    torch.manual_seed(0)
    backbone = Backbone(source("bert"))
    backbone.build()
    backbone.eval()
    items = [{"input_ids": [7, 8, 9][:length]} for length in LENGTHS]
    batch = PackedBatch.pack(items, ROWS, 5, pad_token_id=0)
    expected = pool(backbone(batch), batch, pooling)
    torch.testing.assert_close(pooled(backbone, batch, pooling), expected)
