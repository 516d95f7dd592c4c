from __future__ import annotations

import io
import random
import warnings
from typing import Any

import pytest
import torch
from seqeval.metrics.sequence_labeling import precision_recall_fscore_support as default_oracle
from seqeval.metrics.v1 import precision_recall_fscore_support as strict_oracle
from seqeval.scheme import IOB2

from lit_llm.metrics.entities import entities
from lit_llm.metrics.entity_f1 import EntityF1
from lit_llm.metrics.entity_f1_strict import EntityF1Strict
from tests.references.tag_sequences import TYPES, pairs

BOTH = pytest.mark.parametrize("strict", [False, True], ids=["conlleval", "strict"])
Sequences = list[list[str]]


def metric(strict: bool) -> EntityF1 | EntityF1Strict:
    return EntityF1Strict(TYPES) if strict else EntityF1(TYPES)


def oracle(gold: Sequences, predicted: Sequences, strict: bool) -> dict[str, Any]:
    """Seqeval's figures under our names; 0.0 where it has no entity to average over."""
    suffix = "_strict" if strict else ""
    seen = {e.type for tags in gold + predicted for e in entities(tags, strict)}
    names = ("precision", "recall", "f1", "support")
    scores: dict[str, Any] = {"per_type": {name: dict.fromkeys(names, 0.0) for name in TYPES}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for average, key in (("micro", ""), ("macro", "macro_"), (None, "")):
            if not seen:
                values: Any = (0.0, 0.0, 0.0, 0) if average else ([], [], [], [])
            elif strict:
                values = strict_oracle(gold, predicted, average=average, scheme=IOB2)
            else:
                values = default_oracle(gold, predicted, average=average)
            if average:
                for name, value in zip(names[:3], values[:3], strict=True):
                    scores[f"entity_{key}{name}{suffix}"] = float(value)
            else:
                for name, *row in zip(sorted(seen), *values, strict=True):
                    scores["per_type"][name] = dict(zip(names, map(float, row), strict=True))
    return scores


def assert_equal(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if name == "per_type":
            assert found[name].keys() == value.keys()
            for type_name, row in value.items():
                assert found[name][type_name] == pytest.approx(row, abs=1e-12)
        else:
            assert found[name] == pytest.approx(value, abs=1e-12), name


@BOTH
def test_each_of_1000_random_sequences_equals_the_oracle(strict: bool) -> None:
    scorer = metric(strict)
    for gold, predicted in pairs(1000, seed=0):
        scorer.reset()
        scorer.update([gold], [predicted])
        assert_equal(scorer.compute(), oracle([gold], [predicted], strict))


@BOTH
def test_all_random_sequences_together_equal_the_oracle(strict: bool) -> None:
    sequences = pairs(1000, seed=0)
    gold, predicted = [g for g, _ in sequences], [p for _, p in sequences]
    scorer = metric(strict)
    scorer.update(gold, predicted)
    assert_equal(scorer.compute(), oracle(gold, predicted, strict))
    assert 0.1 < max(scorer.compute()[f"entity_f1{'_strict' if strict else ''}"], 0) < 0.9


@BOTH
def test_ranks_and_updates_sum_to_one_process(strict: bool) -> None:
    sequences = pairs(60, seed=2)
    whole = metric(strict)
    whole.update([g for g, _ in sequences], [p for _, p in sequences])
    ranks = [metric(strict) for _ in range(3)]  # the third never gets an example
    for i, (gold, predicted) in enumerate(sequences):
        ranks[i % 2].update([gold], [predicted])
    ranks[1].update([], [])
    ranks[0].merge_state(ranks[1])
    ranks[0].counts += ranks[2].counts
    assert ranks[0].compute() == whole.compute()


@BOTH
def test_order_of_sentences_does_not_change_the_scores(strict: bool) -> None:
    sequences = pairs(30, seed=3)
    scores = []
    for _ in range(2):
        scorer = metric(strict)
        scorer.update([g for g, _ in sequences], [p for _, p in sequences])
        scores.append(scorer.compute())
        random.Random(0).shuffle(sequences)
    assert scores[0] == scores[1]


def test_missing_start_tag_is_forgiven_by_conlleval_only() -> None:
    # Gold: PER 0-2, LOC 3-4. Predicted: an I- without a start, then the LOC.
    # conlleval: 2 of 2 right. strict: 1 found, 1 right, of 2: P 1, R 1/2, F1 2/3; macro (0 + 1)/2.
    gold, predicted = [["B-PER", "I-PER", "O", "B-LOC"]], [["I-PER", "I-PER", "O", "B-LOC"]]
    scorers = metric(False), metric(True)
    for scorer in scorers:
        scorer.update(gold, predicted)
    lenient, strict = scorers[0].compute(), scorers[1].compute()
    assert (lenient["entity_f1"], lenient["entity_macro_f1"]) == (1.0, 1.0)
    assert (strict["entity_precision_strict"], strict["entity_recall_strict"]) == (1.0, 0.5)
    assert strict["entity_f1_strict"] == pytest.approx(2 / 3)
    assert strict["entity_macro_f1_strict"] == 0.5
    expected = {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}
    assert strict["per_type"]["PER"] == expected


@BOTH
def test_no_entity_at_all_scores_zero(strict: bool) -> None:
    scorer = metric(strict)
    scorer.update([["O"], []], [["O"], []])
    scores = scorer.compute()
    assert all(scores[name] == 0.0 for name in scores if name != "per_type")


@BOTH
def test_state_is_plain_data(strict: bool) -> None:
    scorer = metric(strict)
    scorer.persistent(True)
    scorer.update([["B-PER"]], [["B-PER"]])
    file = io.BytesIO()
    torch.save(scorer.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    assert state["counts"].dtype == torch.int64
    assert state["counts"].tolist() == [[0, 0, 0, 1]] * 3


@BOTH
def test_wrong_input_is_refused_with_its_sentence(strict: bool) -> None:
    scorer = metric(strict)
    with pytest.raises(ValueError, match="gold has 1 sentences and the prediction 0"):
        scorer.update([["O"]], [])
    with pytest.raises(ValueError, match="sentence 1 has 2 gold tags and 1 predicted"):
        scorer.update([["O"], ["O", "O"]], [["O"], ["O"]])
    with pytest.raises(ValueError, match="prediction of sentence 1: tag 'X' of word 0"):
        scorer.update([["O"], ["O"]], [["O"], ["X"]])
    with pytest.raises(ValueError, match="gold of sentence 0: entity type 'DATE'"):
        scorer.update([["B-DATE"]], [["O"]])
    assert scorer.counts.sum() == 0
    with pytest.raises(ValueError, match="at least one entity type"):
        type(scorer)([])
    with pytest.raises(ValueError, match="at least one entity type"):
        type(scorer)("PER")
    with pytest.raises(ValueError, match="'PER' stands twice"):
        type(scorer)(["PER", "LOC", "PER"])
