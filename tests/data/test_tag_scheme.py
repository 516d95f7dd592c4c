from __future__ import annotations

import random

import pytest

from lit_llm.data.tag_scheme import (
    TagError,
    check_labels,
    convert_tags,
    detect_scheme,
    entity_types,
    row_location,
    split_tag,
    to_iob2,
    word_location,
)

Entity = tuple[str, int, int]

# One sentence, two adjacent PER entities, then a LOC directly behind.
IOB1 = ["I-PER", "I-PER", "B-PER", "I-LOC", "O", "I-LOC"]
IOB2 = ["B-PER", "I-PER", "B-PER", "B-LOC", "O", "B-LOC"]
BIOES = ["B-PER", "E-PER", "S-PER", "S-LOC", "O", "S-LOC"]
BILOU = ["B-PER", "L-PER", "U-PER", "U-LOC", "O", "U-LOC"]


def example(tags: list[str], line: int = 1) -> dict[str, object]:
    return {"id": f"f.txt:{line}", "words": ["w"] * len(tags), "tags": tags, "document": 0}


def entities_by_conlleval(tags: list[str]) -> set[Entity]:
    """Chunks as conlleval's endOfChunk and startOfChunk find them, for B-, I- and O."""
    found: set[Entity] = set()
    start = None
    previous, kind = "O", ""
    for i, tag in enumerate([*tags, "O"]):
        letter, _, new_kind = tag.partition("-")
        ends = previous != "O" and (letter in "BO" or new_kind != kind)
        begins = letter == "B" or (letter == "I" and (previous == "O" or new_kind != kind))
        if ends and start is not None:
            found.add((kind, start, i))
        start = i if begins else start
        previous, kind = letter, new_kind
    return found


def written(entities: list[Entity], length: int, scheme: str) -> list[str]:
    """Tags of disjoint entities, from each scheme's definition."""
    tags = ["O"] * length
    for kind, start, end in entities:
        for i in range(start, end):
            tags[i] = f"I-{kind}"
        if scheme == "iob2" or any((kind, s, start) in entities for s in range(start)):
            tags[start] = f"B-{kind}"
        if scheme == "bioes":
            tags[start], tags[end - 1] = f"B-{kind}", f"E-{kind}"
            if end == start + 1:
                tags[start] = f"S-{kind}"
    return tags


def random_entities(rng: random.Random, length: int) -> list[Entity]:
    found = []
    at = 0
    while at < length:
        end = min(length, at + rng.randint(1, 3))
        if rng.random() < 0.6:
            found.append((rng.choice(["PER", "LOC"]), at, end))
        at = end
    return found


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [(IOB1, "iob1"), (IOB2, "iob2"), (BIOES, "bioes"), (BILOU, "bioes"), (["O", "O"], "iob2")],
)
def test_detect_scheme_names_each_scheme(tags: list[str], scheme: str) -> None:
    assert detect_scheme([["O"], tags]) == scheme


@pytest.mark.parametrize(
    ("tags", "scheme"), [(IOB1, "iob1"), (IOB2, "iob2"), (BIOES, "bioes"), (BILOU, "bioes")]
)
def test_to_iob2_gives_the_hand_written_tags(tags: list[str], scheme: str) -> None:
    assert to_iob2(tags, scheme) == IOB2


@pytest.mark.parametrize("scheme", ["iob1", "iob2", "bioes"])
def test_to_iob2_keeps_random_entities(scheme: str) -> None:
    rng = random.Random(0)
    for _ in range(300):
        length = rng.randint(1, 9)
        entities = random_entities(rng, length)
        tags = to_iob2(written(entities, length, scheme), scheme)
        assert tags == written(entities, length, "iob2")
        assert entities_by_conlleval(tags) == set(entities)


def test_to_iob2_from_iob1_reads_any_bi_tags_as_conlleval() -> None:
    rng = random.Random(1)
    for _ in range(300):
        tags = rng.choices(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"], k=7)
        converted = to_iob2(tags, "iob1")
        assert entities_by_conlleval(converted) == entities_by_conlleval(tags)
        assert to_iob2(converted, "iob2") == converted


def test_detect_scheme_mixture_names_the_rarer_start() -> None:
    mostly_iob2 = [["B-PER", "O", "B-LOC"], ["O", "I-PER"]]
    with pytest.raises(TagError, match=r"I-PER without a start.*write B-PER, or pass scheme"):
        detect_scheme(mostly_iob2)
    mostly_iob1 = [["I-PER", "O", "I-LOC"], ["O", "B-PER"]]
    with pytest.raises(TagError, match=r"B-PER follows no PER entity.*or pass scheme") as caught:
        detect_scheme(mostly_iob1)
    assert (caught.value.sentence, caught.value.index) == (1, 1)


def test_detect_scheme_takes_one_stray_start_in_a_hundred() -> None:
    # CoNLL-2003's own train file: 2 in 34,993.
    assert detect_scheme([["I-PER"]] * 100 + [["B-PER"]]) == "iob1"
    with pytest.raises(TagError, match="follows no PER"):
        detect_scheme([["I-PER"]] * 99 + [["B-PER"]])


@pytest.mark.parametrize(
    ("tags", "scheme", "index", "message"),
    [
        (["B-PER", "I-LOC"], "iob2", 1, "I-LOC without a start.*write B-LOC"),
        (["S-PER"], "iob2", 0, "S-PER is no IOB2 tag; pass scheme='bioes'"),
        (["E-PER"], "iob1", 0, "E-PER is no IOB1 tag"),
        (["O", "E-PER"], "bioes", 1, "E-PER without a start"),
        (["B-PER", "I-LOC"], "bioes", 1, "I-LOC without a start"),
        (["B-PER", "O"], "bioes", 1, "O follows a PER entity that has no end"),
        (["B-PER", "B-PER"], "bioes", 1, "B-PER follows a PER entity that has no end"),
        (["O", "B-PER"], "bioes", 1, "has no end .* when its sentence ends"),
        (["o"], "iob1", 0, "unknown tag 'o'"),
    ],
)
def test_to_iob2_refuses_what_the_scheme_does_not_allow(
    tags: list[str], scheme: str, index: int, message: str
) -> None:
    with pytest.raises(TagError, match=message) as caught:
        to_iob2(tags, scheme)
    assert caught.value.index == index


def test_unknown_scheme_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown scheme 'auto'; use one of iob1"):
        to_iob2([], "auto")
    with pytest.raises(ValueError, match="unknown scheme 'iob'; use one of auto"):
        convert_tags([], "iob")


def test_split_tag_cuts_at_the_first_hyphen() -> None:
    assert split_tag("B-job-title") == ("B", "job-title")
    assert split_tag("O") == ("O", "")
    for tag in ("B-", "B", "PER", "b-PER", "0", "", "X-PER", "B_PER"):
        with pytest.raises(ValueError, match="unknown tag"):
            split_tag(tag)


def test_convert_tags_finds_the_scheme_over_all_splits() -> None:
    # Alone, the second split would be IOB1; with the first, its I- start is an error.
    first = [example(["B-PER"], line) for line in range(5)]
    second = [example(["O", "I-PER"], 7)]
    with pytest.raises(ValueError, match=r"f.txt:8: I-PER without a start"):
        convert_tags([first, second])
    assert convert_tags([first, second], "iob1") == "iob1"
    assert second[0]["tags"] == ["O", "B-PER"]


def test_convert_tags_names_the_line_in_a_fixed_scheme() -> None:
    with pytest.raises(ValueError, match=r"^f.txt:12: I-PER without a start"):
        convert_tags([[example(["O", "O", "I-PER"], 10)]], "iob2")


def test_check_labels_names_line_and_known_types() -> None:
    train = [example(["B-PER", "I-PER", "B-LOC"])]
    assert entity_types(train) == ["LOC", "PER"]
    check_labels(train, entity_types(train))
    with pytest.raises(ValueError, match=r"f.txt:6: the type of B-ORG .* which has LOC, PER"):
        check_labels([example(["O", "B-ORG"], 5)], entity_types(train))


def test_locations_are_lines_for_text_and_rows_for_tables() -> None:
    assert word_location("eng.train:12", 2) == "eng.train:14"
    assert word_location("dev.jsonl#3", 0) == "dev.jsonl:3, word 1"
    assert word_location("dev.parquet#3", 4) == "dev.parquet row 3, word 5"
    assert row_location("imdb[train]#3") == "imdb[train] row 3"
