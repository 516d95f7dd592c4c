"""A sample is drawn once, the same way, and never in silence."""

import pytest

from lit_llm.data.batch_config import BatchConfig
from lit_llm.data.sample import SampleConfig, Selection
from lit_llm.data.toy_ner import ToyNER
from lit_llm.data.toy_reviews import ToyReviews
from tests.data.test_data_modules import attach


def reviews(tmp_path, **sample):
    batches = BatchConfig(examples_per_batch=8)
    data = ToyReviews(batches=batches, cache_dir=str(tmp_path), sample=SampleConfig(**sample))
    return attach(data, max_positions=512)


def test_a_smaller_sample_is_part_of_a_larger_one():
    small, _ = SampleConfig(train=20).draw("train", 1000, run_seed=3)
    large, seed = SampleConfig(train=200).draw("train", 1000, run_seed=3)
    assert set(small) < set(large)
    assert len(set(large)) == 200
    assert large == sorted(large)
    assert seed == 3
    other, _ = SampleConfig(train=200).draw("train", 1000, run_seed=4)
    assert set(other) != set(large)
    assert abs(len(set(other) & set(large)) - 40) < 20  # independent: a fifth of them


def test_the_test_sample_is_the_same_for_every_seed():
    sample = SampleConfig(test=10)
    assert sample.draw("test", 100, run_seed=1) == sample.draw("test", 100, run_seed=2)
    assert SampleConfig().draw("test", 100, run_seed=1) is None


def test_train_and_val_are_drawn_apart():
    sample = SampleConfig(train=10, val=10, seed=5)
    assert sample.draw("train", 100, run_seed=1) != sample.draw("val", 100, run_seed=1)


def test_a_selection_keeps_the_order_given():
    rows = Selection([{"n": n} for n in range(10)], [3, 7])
    assert len(rows) == 2
    assert rows[1] == {"n": 7}
    assert list(rows) == [{"n": 3}, {"n": 7}]
    with pytest.raises(IndexError):
        rows[2]


def test_only_the_sampled_examples_are_served(tmp_path):
    whole, part = reviews(tmp_path), reviews(tmp_path, train=40, val=10, seed=1)
    assert len(part.examples("train")) == 40
    assert len(part.examples("val")) == 10
    assert len(part.examples("test")) == len(whole.examples("test"))
    ids = [example["id"] for example in whole.examples("train")]
    drawn = [ids.index(example["id"]) for example in part.examples("train")]
    assert drawn == sorted(drawn)
    assert sum(batch.num_examples for batch in part.train_dataloader()) == 40
    assert part.notices["train"][f"of {len(ids):,} examples, drawn with seed 1"] == 40
    assert part.label_names == whole.label_names
    assert part.fingerprints["train"] != whole.fingerprints["train"]
    assert part.fingerprints["test"] == whole.fingerprints["test"]


def test_a_cached_sample_is_the_sample(tmp_path):
    first, again = (reviews(tmp_path, train=40, seed=1) for _ in range(2))
    assert first.fingerprints == again.fingerprints
    assert list(first.examples("train")) == list(again.examples("train"))


def test_what_cannot_be_drawn_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"sample.train must be at least 1, not 0"):
        SampleConfig(train=0)
    with pytest.raises(ValueError, match=r"sample.val = 1,000,000, but there are"):
        reviews(tmp_path, val=1_000_000)
    with pytest.raises(ValueError, match=r"set data.context to none"):
        ToyNER(context="document_windows", sample=SampleConfig(train=5))
