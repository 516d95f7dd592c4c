from __future__ import annotations

import math
import time

import pytest

from lit_llm.data.toy.baselines import NaiveBayes, Task, best_possible, toy_rows


@pytest.mark.parametrize("task", ["ner", "reviews"])
def test_rows_leave_room_below_the_best_possible(task: Task) -> None:
    rows = toy_rows(task, "test", 0)
    best = rows.pop("best_possible")
    assert best == best_possible(task) == pytest.approx(0.95, abs=1e-3)
    assert max(rows.values()) < 0.65
    assert list(rows) == ["majority", *(["gazetteer"] if task == "ner" else []), "bag_of_words"]


def test_gazetteer_knows_training_names_and_no_test_name() -> None:
    assert toy_rows("ner", "train")["gazetteer"] > 0.8
    assert toy_rows("ner", "test")["gazetteer"] == 0.0


@pytest.mark.parametrize("task", ["ner", "reviews"])
def test_rows_are_quick(task: Task) -> None:
    start = time.process_time()  # of this process alone: others may be busy
    toy_rows(task)
    assert time.process_time() - start < 2


def test_naive_bayes_gives_hand_computed_labels() -> None:
    # Counts plus one over (a, b): label x has a 3, b 1 of 4; label y has a 1, b 2 of 3.
    # The bag (b): x 2/3 * 1/4 = 1/6, y 1/3 * 2/3 = 2/9, so y. The bag (): the prior, so x.
    model = NaiveBayes([["a"], ["a"], ["b"]], ["x", "x", "y"])
    assert model.predict(["b"]) == "y"
    assert model.predict([]) == "x"
    assert model.predict(["never seen"]) == "x"
    assert math.isclose(math.exp(model._log_prob_CV[0, 0]), 3 / 4)


def test_unknown_task_is_refused() -> None:
    with pytest.raises(ValueError, match="'pos'"):
        toy_rows("pos")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'pos'"):
        best_possible("pos")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'all'"):
        best_possible("reviews", "all")  # type: ignore[arg-type]
