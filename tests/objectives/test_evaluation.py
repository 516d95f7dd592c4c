import numpy as np
import pytest
import torch

from lit_llm.batch import PackedBatch
from lit_llm.objectives.evaluation import PredictionCollector, mean_surprise


def words_batch(unit_ids, item_ids):
    """Items of one word each."""
    items = [
        {"input_ids": [7, 7], "target_positions": [1], "unit_ids": [unit]} for unit in unit_ids
    ]
    rows = [list(range(len(items)))]
    return PackedBatch.pack(items, rows, 2 * len(items), 0, item_ids)


def texts_batch(unit_ids, weights, item_ids):
    """Windows of texts."""
    items = [
        {"input_ids": [7], "unit_ids": unit, "weights": weight}
        for unit, weight in zip(unit_ids, weights, strict=True)
    ]
    return PackedBatch.pack(items, [list(range(len(items)))], len(items), 0, item_ids)


def loss(total, count):
    return torch.tensor(total), torch.tensor(count)


def test_windows_are_averaged_by_weight_whatever_their_order():
    collector = PredictionCollector()
    # Text 1 in three windows over two batches: (0.9 + 0.6 + 0.3) / 3 = 0.6.
    third = 1 / 3
    collector.add(
        texts_batch([1, 0, 1], [third, 1.0, third], [3, 0, 1]),
        torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]]),
        *loss(4.0, 5 / 3),
    )
    collector.add(texts_batch([1], [third], [2]), torch.tensor([[0.6, 0.4]]), *loss(1.0, third))
    found = collector.gather(num_units=2)
    np.testing.assert_allclose(found.probabilities, [[0.2, 0.8], [0.6, 0.4]], atol=1e-7)
    assert found.windows.tolist() == [1, 3]
    assert found.items.tolist() == [0, 3]  # the last of its windows, not the last one seen
    # Two reviews lost 5 nats between them.
    assert found.loss == pytest.approx(2.5)


def test_a_words_item_is_the_one_it_stands_in():
    collector = PredictionCollector()
    probabilities = torch.eye(3)
    collector.add(words_batch([2, 0, 1], [5, 3, 4]), probabilities, *loss(6.0, 3))
    found = collector.gather(3)
    assert found.items.tolist() == [3, 4, 5]
    np.testing.assert_array_equal(found.probabilities, np.eye(3)[[1, 2, 0]])
    assert found.loss == 2.0


def test_nothing_collected_is_nothing_predicted():
    found = PredictionCollector().gather(num_units=0)
    assert (len(found.probabilities), found.loss) == (0, 0.0)


def test_a_missing_unit_is_an_error():
    collector = PredictionCollector()
    collector.add(words_batch([0, 2], [0, 2]), torch.eye(2), *loss(1.0, 2))
    with pytest.raises(RuntimeError, match="1 of 3 units were not predicted exactly once"):
        collector.gather(3)


def test_a_missing_window_is_an_error():
    collector = PredictionCollector()
    collector.add(texts_batch([0], [0.5], [0]), torch.eye(1, 2), *loss(1.0, 0.5))
    with pytest.raises(RuntimeError, match="1 of 1 units were not predicted exactly once"):
        collector.gather(1)


@pytest.mark.parametrize("partial", [False, True])
def test_a_unit_predicted_twice_is_an_error(partial):
    collector = PredictionCollector()
    collector.add(words_batch([0, 0], [0, 1]), torch.eye(2), *loss(1.0, 2))
    with pytest.raises(RuntimeError, match="1 of 1 units were not predicted exactly once"):
        collector.gather(1, partial)


def test_a_part_of_the_split_holds_whole_units_only():
    collector = PredictionCollector()
    collector.add(
        texts_batch([0, 1, 2], [1.0, 0.5, 0.5], [0, 1, 3]), torch.full((3, 2), 0.5), *loss(3.0, 2.0)
    )
    collector.add(texts_batch([2], [0.5], [4]), torch.full((1, 2), 0.5), *loss(1.0, 0.5))
    found = collector.gather(4, partial=True)
    assert found.windows.tolist() == [1, 0, 2, 0]
    assert found.items.tolist() == [0, -1, 4, -1]
    np.testing.assert_array_equal(found.probabilities.sum(1), [1, 0, 1, 0])


def test_surprise_is_finite_and_zero_of_nothing():
    assert mean_surprise(np.array([0.5, 1.0])) == pytest.approx(0.346574)
    assert mean_surprise(np.array([0.0])) == pytest.approx(27.631021)
    assert mean_surprise(np.zeros(0)) == 0.0
