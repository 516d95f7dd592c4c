import json
import math

import numpy as np
import pytest

from lit_llm.data.cache import ArrowTable, write_table
from lit_llm.data.curriculum import Curriculum, CurriculumConfig
from lit_llm.data.difficulty import difficulty, rarity, read_scores
from lit_llm.data.item_fields import example_field
from lit_llm.data.packing import training_plan
from lit_llm.data.rows import epoch_order

N = 1000
SCORES = np.random.default_rng(1).permutation(N)  # example i is the SCORES[i]-th easiest
LENGTHS = np.arange(1, N + 1)


def curriculum(**settings):
    return Curriculum(CurriculumConfig(**settings), SCORES, SCORES + 1)


def ranks(order):
    return SCORES[order]


@pytest.mark.parametrize(
    ("pacing", "competence"),
    [
        # Platanios et al. 2019, equations 7 (linear) and 8 (root), t / T of the way.
        ("linear", lambda t, c0: min(1, t * (1 - c0) + c0)),
        ("root", lambda t, c0: min(1, math.sqrt(t * (1 - c0**2) + c0**2))),
    ],
)
def test_competence_is_that_of_the_paper(pacing, competence):
    found = curriculum(pacing=pacing, start=0.04)
    for t in (0.0, 0.1, 0.5, 0.99, 1.0, 3.0):
        low, high = found.bounds(np.array(t))
        assert low == 0
        assert high == pytest.approx(competence(t, 0.04))


@pytest.mark.parametrize("pacing", ["linear", "root"])
def test_no_example_comes_before_its_time(pacing):
    found = curriculum(pacing=pacing, epochs=2, start=0.1)
    for epoch in (0, 1):
        drawn = ranks(found.order(7, epoch))
        _, high = found.bounds((epoch + np.arange(N) / N) / 2)
        assert (drawn < np.ceil(high * N)).all()
        late = drawn[900:] / (high[900:] * N)
        assert late.mean() == pytest.approx(0.5, abs=0.1)  # uniform below the bound


def test_afterwards_every_epoch_is_a_permutation():
    found = curriculum(epochs=1.5)
    assert (found.order(3, 2) == epoch_order(N, 3, 2)).all()
    second = ranks(found.order(3, 1))
    assert second[500:].max() > 990


def test_baby_steps_add_a_part_and_one_pass_changes_it():
    growing = ranks(curriculum(pacing="baby_steps", buckets=4).order(0, 0))
    single = ranks(curriculum(pacing="one_pass", buckets=4).order(0, 0))
    for part in range(4):
        inside = slice(250 * part, 250 * (part + 1))
        assert growing[inside].min() < 50
        assert 240 * (part + 1) < growing[inside].max() < 250 * (part + 1)
        assert 250 * part <= single[inside].min()
        assert single[inside].max() < 250 * (part + 1)


def test_length_grows_in_tokens():
    # Lengths 1, 4, 9, ... up to 10,000; halfway the limit is (16 + 10,000) / 2.
    lengths = np.arange(1, 101) ** 2
    config = CurriculumConfig(score="length", pacing="tokens", start_tokens=16)
    found = Curriculum(config, lengths, lengths)
    assert found.bounds(np.array(0.0))[1] == 0.04
    assert found.bounds(np.array(0.5))[1] == 0.7  # 70 * 70 = 4,900
    assert found.bounds(np.array(1.0))[1] == 1.0
    short = Curriculum(CurriculumConfig(pacing="tokens", start_tokens=1), [5, 6], [5, 6])
    assert set(short.order(0, 0).tolist()) <= {0, 1}  # nothing is that short: the shortest


def test_hardest_first_turns_the_ranking_round():
    first = ranks(curriculum(hardest_first=True, start=0.1).order(0, 0))[:100]
    assert first.min() > 600


def test_the_order_depends_on_seed_and_epoch_alone():
    found, again = curriculum(epochs=3), curriculum(epochs=3)
    again.order(5, 0)
    assert (found.order(5, 1) == again.order(5, 1)).all()
    assert (found.order(5, 1) != found.order(6, 1)).any()
    assert (found.order(5, 1) != found.order(5, 2)).any()


@pytest.mark.parametrize(
    "mode", [{"examples_per_batch": 8}, {"tokens_per_batch": 128, "row_length": 64}]
)
def test_batches_are_the_same_on_any_number_of_ranks_and_from_anywhere(mode):
    lengths = np.random.default_rng(0).integers(1, 20, 60)
    config = CurriculumConfig(epochs=2)

    def items(index, world_size):
        plan = training_plan(
            lengths,
            seed=1,
            world_size=world_size,
            curriculum=Curriculum(config, lengths, lengths),
            **mode,
        )
        batches = [plan.batch(index, rank) for rank in range(world_size)]
        return sorted(i for batch in batches for i in batch.item_ids)

    for index in (0, 9, 20):
        assert items(index, 1) == items(index, 2)
    plan = training_plan(lengths, seed=1, curriculum=Curriculum(config, lengths, lengths), **mode)
    first = [lengths[i] for i in plan.batch(0, 0).item_ids]
    assert np.mean(first) < lengths.mean() / 2


@pytest.mark.parametrize(
    "config", [CurriculumConfig(epochs=3), CurriculumConfig(hardest_first=True)]
)
def test_an_epoch_is_as_long_as_without_a_curriculum(config):
    lengths = np.random.default_rng(0).integers(1, 60, 500)

    def batches(curriculum):
        mode = {"tokens_per_batch": 512, "row_length": 64}
        return len(training_plan(lengths, seed=1, curriculum=curriculum, **mode))

    assert batches(Curriculum(config, lengths, lengths)) == batches(None)


def test_weights_and_a_curriculum_exclude_each_other():
    with pytest.raises(ValueError, match="sources with weights"):
        training_plan(
            [1, 2],
            seed=0,
            examples_per_batch=1,
            weights=np.ones(2),
            curriculum=Curriculum(CurriculumConfig(), [1, 2], [1, 2]),
        )


def test_rarity_is_the_sum_of_surprises():
    # Token 0 stands four times of six, 1 and 2 once: -log(4/6), -log(1/6).
    found = rarity(np.array([0, 0, 1, 0, 0, 2]), np.array([2, 3, 1]))
    common, rare = -math.log(4 / 6), -math.log(1 / 6)
    assert found == pytest.approx([2 * common, rare + 2 * common, rare])


@pytest.fixture
def items(tmp_path):
    """Three items of two examples, "a" with three words in two windows and "b" with one."""
    rows = [
        {"input_ids": [4, 5], "unit_ids": [0, 1]},
        {"input_ids": [4], "unit_ids": [2]},
        {"input_ids": [6, 6, 6], "unit_ids": [3]},
    ]
    write_table(tmp_path / "items.arrow", rows)
    return ArrowTable(tmp_path / "items.arrow")


EXAMPLES = [
    {"id": "a", "grade": "2.5"},
    {"id": "without words", "grade": ""},
    {"id": "b", "grade": "-1"},
]
NUMBER_OF_WORDS = {"a": 3, "without words": 0, "b": 1}


def score(items, seed=0, examples=EXAMPLES, **settings):
    def field_of(name, key):
        return example_field(items, examples, lambda e: NUMBER_OF_WORDS[e["id"]], name, key)

    return difficulty(CurriculumConfig(**settings), items, field_of, seed).tolist()


def test_scores_of_items(items, tmp_path):
    assert score(items, score="length") == [2, 1, 3]
    surprise = {4: math.log(6 / 2), 5: math.log(6), 6: math.log(6 / 3)}
    expected = [surprise[4] + surprise[5], surprise[4], 3 * surprise[6]]
    assert score(items, score="rarity") == pytest.approx(expected)
    assert len(set(score(items, score="random"))) == 3
    assert score(items, score="random") != score(items, score="random", seed=1)
    path = tmp_path / "losses.jsonl"
    path.write_text(
        "".join(json.dumps({"id": i, "loss": x}) + "\n" for i, x in (("b", 1), ("a", 2.5)))
    )
    assert score(items, score="file", path=str(path)) == [2.5, 2.5, 1]
    assert score(items, score="column", key="grade") == [2.5, 2.5, -1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"id": "a", "loss": 1}\n', "no score of 1 training examples, such as 'b'"),
        ('{"id": "a", "loss": 1}\n{"id": "b"}\n', r"losses.jsonl, line 2: .*under 'loss'"),
        ('{"id": "a", "loss": "high"}\n', "line 1: .*a number"),
        ("a\t1\n", "line 1"),
        ('{"id": "a", "loss": NaN}\n{"id": "b", "loss": 1}\n', "example 0 has no score"),
    ],
)
def test_a_column_that_is_missing_or_no_number_is_refused(items, tmp_path, content, message):
    path = tmp_path / "losses.jsonl"
    path.write_text(content)
    config = CurriculumConfig(score="file", path=str(path))
    with pytest.raises(ValueError, match=message):
        Curriculum(config, score(items, score="file", path=str(path)), items.lengths)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("loss", r"curriculum.key: examples have no 'loss'; there are 'id', 'grade'"),
        ("id", "the column 'id' has 'a' where a number was expected"),
    ],
)
def test_a_column_of_the_data_that_is_missing_or_no_number_is_refused(items, key, message):
    with pytest.raises(ValueError, match=message):
        score(items, score="column", key=key)


def test_a_corpus_has_no_examples_to_rank_by_a_file(tmp_path):
    write_table(tmp_path / "items.arrow", [{"input_ids": [4, 5]}])
    corpus = ArrowTable(tmp_path / "items.arrow")
    with pytest.raises(ValueError, match="labelled examples, and a corpus has none"):
        score(corpus, score="file", path=str(tmp_path / "losses.jsonl"))


def test_the_key_of_a_score_can_be_named(tmp_path):
    path = tmp_path / "scores.jsonl"
    path.write_text('{"id": "a", "grade": 3}\n')
    assert read_scores(path, "grade") == {"a": 3.0}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"score": "taste"}, "score is one of length, .* not 'taste'"),
        ({"pacing": "fast"}, "pacing is one of root, .* not 'fast'"),
        ({"epochs": 0}, "epochs must be above 0, not 0"),
        ({"start": 0}, r"start must lie in \(0, 1\], not 0"),
        ({"buckets": 0}, "buckets must be at least 1, not 0"),
        ({"score": "file"}, "path belongs to score: file, and the score is file"),
        ({"path": "x"}, "path belongs to score: file, and the score is length"),
        ({"score": "rarity", "pacing": "tokens"}, "tokens needs score: length"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        CurriculumConfig(**settings)
