from __future__ import annotations

import warnings

import pytest
from sklearn.metrics import accuracy_score, classification_report, precision_recall_fscore_support

from lit_llm.metrics.tag_report import TagReport
from tests.references.tag_sequences import TAGS, TYPES, pairs


def assert_equals_sklearn(gold: list[list[str]], predicted: list[list[str]]) -> None:
    metric = TagReport(TYPES)
    metric.update(gold, predicted)
    report = metric.compute()
    expected, found = [t for tags in gold for t in tags], [t for tags in predicted for t in tags]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        oracle = classification_report(expected, found, output_dict=True, zero_division=0)
        *micro, _ = precision_recall_fscore_support(
            expected, found, labels=metric.tags[:-1], average="micro", zero_division=0
        )
    for tag in TAGS:
        default = {"precision": 0.0, "recall": 0.0, "f1-score": 0.0, "support": 0.0}
        _assert_row(report["tags"][tag], oracle.get(tag, default))
    _assert_row(report["averages"]["macro"], oracle["macro avg"])
    _assert_row(report["averages"]["weighted"], oracle["weighted avg"])
    without_o = dict(zip(("precision", "recall", "f1-score"), micro, strict=True))
    support = sum(tag != "O" for tag in expected)
    _assert_row(report["averages"]["micro_without_o"], without_o | {"support": support})
    accuracy = accuracy_score(expected, found)
    for name in ("precision", "recall", "f1"):
        assert report["averages"]["micro_with_o"][name] == pytest.approx(accuracy)
    assert report["averages"]["micro_with_o"]["support"] == len(expected)


def _assert_row(row: dict[str, float], oracle: dict[str, float]) -> None:
    for name, other in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score")):
        assert row[name] == pytest.approx(oracle[other], abs=1e-12)
    assert row["support"] == oracle["support"]


def test_report_equals_sklearn_on_random_sequences() -> None:
    sequences = pairs(300, seed=0)
    assert_equals_sklearn([g for g, _ in sequences], [p for _, p in sequences])
    for gold, predicted in sequences[:40]:  # few tags occur: averages leave the others out
        if gold:
            assert_equals_sklearn([gold], [predicted])


def test_three_words_have_their_hand_value() -> None:
    # O right, B-PER right, I-PER taken for O: O has P 1/2, R 1, F1 2/3; I-PER 0; B-PER 1.
    metric = TagReport(["PER"])
    metric.update([["O", "B-PER", "I-PER"]], [["O", "B-PER", "O"]])
    report = metric.compute()
    assert list(report["tags"]) == ["B-PER", "I-PER", "O"]
    row = {"precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "support": 1}
    assert report["tags"]["O"] == row
    averages = {name: row["f1"] for name, row in report["averages"].items()}
    assert averages == {
        "micro_with_o": pytest.approx(2 / 3),
        "micro_without_o": pytest.approx(2 / 3),  # 1 right, 1 predicted, 2 gold
        "macro": pytest.approx(5 / 9),
        "weighted": pytest.approx(5 / 9),
    }


def test_ranks_and_updates_sum_to_one_process() -> None:
    sequences = pairs(60, seed=1)
    whole, first, second = TagReport(TYPES), TagReport(TYPES), TagReport(TYPES)
    whole.update([g for g, _ in sequences], [p for _, p in sequences])
    for i, (gold, predicted) in enumerate(sequences):
        (first, second)[i % 2].update([gold], [predicted])
    second.update([], [])
    first.merge_state(second)
    assert first.compute() == whole.compute()


def test_wrong_input_is_refused() -> None:
    metric = TagReport(TYPES)
    with pytest.raises(ValueError, match="sentence 0 has 1 gold tags and 2 predicted"):
        metric.update([["O"]], [["O", "O"]])
    with pytest.raises(ValueError, match="tag 'B-DATE' is not among"):
        metric.update([["O"]], [["B-DATE"]])
    with pytest.raises(ValueError, match="stands twice"):
        TagReport(["PER", "PER"])
