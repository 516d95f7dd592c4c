from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from lit_llm.batch import PackedBatch

# Two sentences; the second has two token types.
WORDS: list[dict[str, Any]] = [
    {
        "input_ids": [11, 12, 13],
        "token_type_ids": [0, 0, 0],
        "target_positions": [1],
        "labels": [4],
        "unit_ids": [7],
    },
    {
        "input_ids": [21, 22],
        "token_type_ids": [0, 1],
        "target_positions": [0, 1],
        "labels": [5, 6],
        "unit_ids": [8, 9],
    },
]


def changed(**columns: Any) -> list[dict[str, Any]]:
    """The two sentences, the second with other columns."""
    items = copy.deepcopy(WORDS)
    items[1].update(columns)
    return items


def test_pack_lays_items_end_to_end() -> None:
    batch = PackedBatch.pack(WORDS, [[1, 0]], row_length=6, pad_token_id=99, item_ids=[40, 30])
    assert_close(batch.input_ids, torch.tensor([[21, 22, 11, 12, 13, 99]]))
    assert_close(batch.segment_ids, torch.tensor([[1, 1, 0, 0, 0, -1]]))
    assert_close(batch.position_ids, torch.tensor([[0, 1, 0, 1, 2, 0]]))
    assert_close(batch.token_type_ids, torch.tensor([[0, 1, 0, 0, 0, 0]]))
    assert_close(batch.segment_starts, torch.tensor([2, 0]))
    assert_close(batch.segment_lengths, torch.tensor([3, 2]))
    assert_close(batch.item_ids, torch.tensor([40, 30]))
    assert (batch.num_examples, batch.num_tokens) == (2, 5)


def test_pack_makes_target_positions_flat_in_the_order_of_items() -> None:
    batch = PackedBatch.pack(WORDS, [[1], [0]], row_length=4, pad_token_id=0)
    # Item 0 is row 1, from 4: its token 1 is 5. Item 1 is row 0: its tokens are 0 and 1.
    assert_close(batch.targets["positions"], torch.tensor([5, 0, 1]))
    assert_close(batch.targets["labels"], torch.tensor([4, 5, 6]))
    assert_close(batch.targets["unit_ids"], torch.tensor([7, 8, 9]))
    assert_close(batch.item_ids, torch.tensor([0, 1]))
    scored = batch.input_ids.flatten()[batch.targets["positions"]]
    assert_close(scored, torch.tensor([12, 21, 22]))


def test_pack_stacks_one_target_for_each_example() -> None:
    items = [
        {"input_ids": [1, 2], "labels": 3, "weights": 0.5, "scores": [0.0, 1.0]},
        {"input_ids": [4], "labels": 0, "weights": 1.0, "scores": [1.0, 1.0]},
    ]
    targets = PackedBatch.pack(items, [[0, 1]], row_length=3, pad_token_id=0).targets
    assert_close(targets["labels"], torch.tensor([3, 0]))
    assert_close(targets["weights"], torch.tensor([0.5, 1.0]))
    assert_close(targets["scores"], torch.tensor([[0.0, 1.0], [1.0, 1.0]]))
    assert "positions" not in targets


def test_pack_takes_items_without_targets() -> None:
    none = {"target_positions": [], "labels": [], "unit_ids": []}
    targets = PackedBatch.pack(changed(**none), [[0, 1]], row_length=5, pad_token_id=0).targets
    assert_close(targets["positions"], torch.tensor([1]))
    assert_close(targets["labels"], torch.tensor([4]))
    only = PackedBatch.pack(changed(**none)[1:], [[0]], row_length=5, pad_token_id=0).targets
    assert_close(only["labels"], torch.zeros(0, dtype=torch.int64))


def test_pack_takes_numpy_columns() -> None:
    items = [{key: np.asarray(value, np.int32) for key, value in item.items()} for item in WORDS]
    from_numpy = PackedBatch.pack(items, [[0, 1]], row_length=5, pad_token_id=0)
    plain = PackedBatch.pack(WORDS, [[0, 1]], row_length=5, pad_token_id=0)
    assert_close(from_numpy.input_ids, plain.input_ids)
    assert_close(from_numpy.targets, plain.targets)


def test_pack_of_nothing_is_one_row_of_filler() -> None:
    batch = PackedBatch.pack([], [], row_length=3, pad_token_id=9)
    assert_close(batch.input_ids, torch.full((1, 3), 9))
    assert_close(batch.segment_ids, torch.full((1, 3), -1))
    assert (batch.num_examples, batch.num_tokens, batch.targets) == (0, 0, {})
    assert batch.item_ids.dtype == batch.segment_starts.dtype == torch.int64


@pytest.mark.parametrize(
    ("rows", "row_length", "message"),
    [
        ([[0]], 5, "exactly one row"),
        ([[0, 1], [1]], 5, "exactly one row"),
        ([[0, 1]], 4, "row 0 holds more than row_length = 4"),
        ([[0, 1]], 0, "row_length must be at least 1"),
    ],
)
def test_pack_refuses_rows(rows: list[list[int]], row_length: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PackedBatch.pack(WORDS, rows, row_length, pad_token_id=0)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"input_ids": [], "token_type_ids": []}, "item 1 of the batch has no tokens"),
        ({"weights": 1.0}, "item 1 of the batch has keys"),
        ({"target_positions": [0, 2]}, "outside its 2 tokens"),
        ({"target_positions": [-1, 1]}, "outside its 2 tokens"),
        ({"labels": [5]}, "1 'labels' for 2 targets"),
    ],
)
def test_pack_refuses_items(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PackedBatch.pack(changed(**columns), [[0, 1]], row_length=6, pad_token_id=0)


def test_batch_moves_and_pickles_with_its_targets() -> None:
    batch = PackedBatch.pack(WORDS, [[0, 1]], row_length=5, pad_token_id=0)
    moved = batch.to(torch.device("meta"))
    assert {moved.input_ids.device.type, moved.targets["labels"].device.type} == {"meta"}
    again = pickle.loads(pickle.dumps(batch))
    assert_close(again.input_ids, batch.input_ids)
    assert_close(again.targets, batch.targets)
