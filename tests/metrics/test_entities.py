from __future__ import annotations

import warnings

import pytest
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import IOB2, Tokens

from lit_llm.metrics.entities import entities
from tests.references.tag_sequences import pairs


@pytest.mark.parametrize(
    ("tags", "conlleval", "strict"),
    [
        ([], [], []),
        (["O", "O"], [], []),
        (["B-PER", "I-PER", "O", "B-LOC"], [("PER", 0, 2), ("LOC", 3, 4)], None),
        (["B-PER", "B-PER"], [("PER", 0, 1), ("PER", 1, 2)], None),
        (["I-PER", "I-PER"], [("PER", 0, 2)], []),
        (["O", "I-PER", "B-PER"], [("PER", 1, 2), ("PER", 2, 3)], [("PER", 2, 3)]),
        (["B-PER", "I-LOC", "I-LOC"], [("PER", 0, 1), ("LOC", 1, 3)], [("PER", 0, 1)]),
        (
            ["B-PER", "I-LOC", "I-PER"],
            [("PER", 0, 1), ("LOC", 1, 2), ("PER", 2, 3)],
            [("PER", 0, 1)],
        ),
        (["B-geo-loc", "I-geo-loc"], [("geo-loc", 0, 2)], None),
    ],
)
def test_entities_by_hand(
    tags: list[str],
    conlleval: list[tuple[str, int, int]],
    strict: list[tuple[str, int, int]] | None,
) -> None:
    assert entities(tags) == conlleval
    assert entities(tags, strict=True) == (conlleval if strict is None else strict)


def test_entities_equal_seqeval_on_random_sequences() -> None:
    warnings.simplefilter("ignore")
    for _, tags in pairs(1000, seed=1):
        assert entities(tags) == [(name, start, end + 1) for name, start, end in get_entities(tags)]
        expected = [(e.tag, e.start, e.end) for e in Tokens(tags, IOB2).entities]
        assert entities(tags, strict=True) == expected


@pytest.mark.parametrize("tag", ["", "B", "B-", "PER", "E-PER", "b-PER", "o", "-PER", "O-PER"])
def test_malformed_tag_is_refused_with_its_place(tag: str) -> None:
    with pytest.raises(ValueError, match=f"tag '{tag}' of word 1 must be"):
        entities(["O", tag])
