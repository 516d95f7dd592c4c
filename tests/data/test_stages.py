import numpy as np
import pytest

from lit_llm.data.batch_config import BatchConfig
from lit_llm.data.curriculum import CurriculumConfig
from lit_llm.data.packing import training_plan
from lit_llm.data.staged_plan import StagedPlan
from lit_llm.data.stages import StageConfig, check_stages, stage_weights

LENGTHS = np.array([2, 9, 4, 7, 3, 8])
DOMAINS = ["news", "web", "news", "web", "books", "books"]
TOPICS = [["a"], ["a", "b"], [], ["b"], [], ["c"]]


def field_of(name, key):
    return {"domain": DOMAINS, "topics": TOPICS}[name]


def drawn(*stages, weights=None):
    return [w.tolist() for w in stage_weights(stages, LENGTHS, field_of, weights)]


def test_conditions_hold_together():
    found = drawn(
        StageConfig(),
        StageConfig(where={"domain": "news"}),
        StageConfig(where={"domain": ["news", "web"]}, max_tokens=7),
        StageConfig(min_tokens=4, max_tokens=8),
        StageConfig(where={"topics": ["b", "c"]}),
    )
    assert found == [
        [1, 1, 1, 1, 1, 1],
        [1, 0, 1, 0, 0, 0],
        [1, 0, 1, 1, 0, 0],
        [0, 0, 1, 1, 0, 1],
        [0, 1, 0, 1, 0, 1],
    ]


def test_replay_is_a_part_of_what_is_drawn():
    first, second, third = drawn(
        StageConfig(where={"domain": "news"}),
        StageConfig(where={"domain": "web"}, replay=0.5),
        StageConfig(where={"domain": "books"}, replay=0.2),
    )
    assert first == [1, 0, 1, 0, 0, 0]
    assert second == [1, 1, 1, 1, 0, 0]
    assert third == pytest.approx([0.125, 0.125, 0.125, 0.125, 1, 1])


def test_what_is_replayed_is_not_the_stages_own():
    _, second = drawn(StageConfig(where={"domain": "news"}), StageConfig(max_tokens=3, replay=0.25))
    assert second == pytest.approx([1, 0, 2 / 3, 0, 1, 0])


def test_a_source_keeps_its_weight():
    weights = np.array([2, 1, 2, 1, 1, 1])
    first, second = drawn(
        StageConfig(where={"domain": "news"}),
        StageConfig(where={"domain": "web"}, replay=0.5),
        weights=weights,
    )
    assert first == [2, 0, 2, 0, 0, 0]
    assert second == [1, 1, 1, 1, 0, 0]


def test_the_part_of_replayed_examples_is_kept_in_batches():
    lengths = np.full(1000, 5)
    fields = {"half": [i < 500 for i in range(1000)]}
    stages = [StageConfig(where={"half": True}), StageConfig(where={"half": False}, replay=0.1)]
    weights = stage_weights(stages, lengths, lambda name, key: fields[name])[1]
    plan = training_plan(lengths, seed=0, examples_per_batch=100, weights=weights)
    ids = np.array([i for b in range(3 * len(plan)) for i in plan.batch(b, 0).item_ids])
    assert (ids < 500).mean() == pytest.approx(0.1, abs=0.002)
    assert (np.bincount(ids, minlength=1000)[500:] == 3).all()  # own ones once in each pass


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        (
            [{"where": {"domain": "sport"}}],
            r"stages\[0\].where.domain: .*'sport'; there are 'books",
        ),
        ([{"min_tokens": 10}], r"stages\[0\]: no training example is like this"),
        ([{"max_tokens": 4}, {"max_tokens": 3, "replay": 0.5}], None),
        ([{"max_tokens": 3}, {"max_tokens": 4, "replay": 0.5}], r"stages\[1\].replay: all that"),
    ],
)
def test_an_entry_without_data_is_refused(stages, message):
    entries = [StageConfig(**stage) for stage in stages]
    if message is None:
        stage_weights(entries, LENGTHS, field_of)
        return
    with pytest.raises(ValueError, match=message):
        stage_weights(entries, LENGTHS, field_of)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([{}, {}], r"stages\[0\] never ends, so .*\[1\] never begins"),
        ([{"steps": 3}], r"stages\[0\]: the last entry lasts to the end"),
        ([{"steps": 3}, {"until": 0.5}], r"stages\[1\]: the last entry lasts to the end"),
        ([{"steps": 0}, {}], r"stages\[0\].steps must be at least 1, not 0"),
        ([{"max_tokens": 0}], r"stages\[0\].max_tokens must be at least 1, not 0"),
        ([{"steps": 3}, {"replay": 1.0}], r"stages\[1\].replay must lie in \[0, 1\), not 1.0"),
        ([{"replay": 0.1}], r"stages\[0\].replay: nothing comes before"),
        ([{"until": 1, "monitor": "x"}, {}], r"stages\[0\]: give monitor and monitor_mode"),
        ([{"steps": 1, "monitor": "x", "monitor_mode": "min"}, {}], r"\[0\].monitor is what until"),
    ],
)
def test_entries_that_make_no_sense_are_refused(stages, message):
    with pytest.raises(ValueError, match=message):
        check_stages([StageConfig(**stage) for stage in stages])


def test_a_curriculum_and_stages_exclude_each_other():
    with pytest.raises(ValueError, match="exclude each other"):
        BatchConfig(curriculum=CurriculumConfig(), stages=[StageConfig()])


class Numbered:
    """A plan whose batches hold their own number."""

    world_size = 1

    def __init__(self, name):
        self.name = name

    def __len__(self):
        return 3

    def batch(self, index, rank):
        return self.name, index


def staged(steps, batches=5, trained=5, accumulate=1, **settings):
    plans = [Numbered(name) for name in "abc"[: len(steps)]]
    return StagedPlan(plans, steps, batches, trained, accumulate, **settings)


def names(plan, trained=5):
    """What is trained on in three epochs: ``a0 a1 b0 ...``."""
    found = [plan.batch(epoch * 5 + i, 0) for epoch in range(3) for i in range(trained)]
    return " ".join(f"{name}{index}" for name, index in found)


def test_each_stage_follows_its_own_plan_without_a_gap():
    plan = staged([4, 3, None])
    assert plan.starts == [0, 4, 7]
    expected = "a0 a1 a2 a3 b0 b1 b2 c0 c1 c2 c3 c4 c5 c6 c7"
    assert names(plan) == expected


def test_what_an_epoch_leaves_out_is_no_gap_either():
    plan = staged([4, 3, None], trained=3)
    expected = "a0 a1 a2 a3 b0 b1 b2 c0 c1"
    assert names(plan, trained=3) == expected


def test_stages_begin_with_an_optimizer_step():
    # Five batches, two to a step: steps of 2, 2 and 1 batches.
    plan = staged([2, 2, None], accumulate=2)
    assert names(plan) == "a0 a1 a2 a3 b0 b1 b2 c0 c1 c2 c3 c4 c5 c6 c7"


def test_a_metric_ends_a_stage_and_moves_the_next():
    plan = staged([None, 3, None])
    assert plan.starts == [0]
    assert [plan.stage_at(step) for step in (0, 100)] == [0, 0]
    plan.ends[0] = 6
    assert plan.starts == [0, 6, 9]
    assert names(plan) == "a0 a1 a2 a3 a4 a5 b0 b1 b2 c0 c1 c2 c3 c4 c5"
    at_most = staged([4, 3, None])
    at_most.ends[0] = 2
    assert at_most.starts == [0, 2, 5]


def test_stages_that_wait_need_something_that_watches():
    with pytest.raises(ValueError, match=r"give the trainer the callback .*StagedData"):
        staged([None, None], waits=True).batch(0, 0)
