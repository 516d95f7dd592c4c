from __future__ import annotations

import re
from collections import defaultdict
from itertools import chain, groupby, pairwise

import pytest

from lit_llm.data.toy.baselines import best_possible
from lit_llm.data.toy.ner import NOISE_FRACTION, ner_noise, toy_ner
from lit_llm.data.toy.ner_frames import SLOT_TYPES, SMALL_WORDS, frames, neutral_frames
from lit_llm.data.toy.world import SPLITS, Split, toy_world


def entities(words: list[str], tags: list[str]) -> list[tuple[str, str]]:
    """Names and their types, in order."""
    found: list[tuple[str, str]] = []
    for word, tag in zip(words, tags, strict=True):
        if tag[0] == "B":
            found.append((word, tag[2:]))
        elif tag[0] == "I":
            found[-1] = (f"{found[-1][0]} {word}", tag[2:])
    return found


SMALL = {text: key for key, texts in SMALL_WORDS.items() for text in texts}
SMALL_PATTERN = re.compile(rf"(?<!<)\b({'|'.join(sorted(SMALL, key=len, reverse=True))})\b")


class PerfectReader:
    """Knows the frames of a split and what the unlabelled documents say of each name."""

    def __init__(self, split: Split) -> None:
        self.types = toy_world(0).regions[split].types()
        self.names = {word for name in self.types for word in name.split()}
        self.slots: dict[str, set[tuple[str, ...]]] = defaultdict(set)
        for frame in (*chain(*frames(split)), *neutral_frames(split)):
            slots = tuple(SLOT_TYPES.get(w, "ANY") for w in frame if w in SLOT_TYPES or w == "ANY")
            shape = " ".join("NAME" if w in SLOT_TYPES or w == "ANY" else w for w in frame)
            self.slots[SMALL_PATTERN.sub(lambda m: SMALL[m[1]], shape)].add(slots)

    def read(self, words: list[str], before: dict[str, str]) -> list[tuple[str, str]]:
        """Names and types; ``before`` holds those of the sentence before."""
        runs = [(n, list(r)) for n, r in groupby(words[:-1], key=lambda word: word in self.names)]
        names = [" ".join(run) for is_name, run in runs if is_name]
        shape = " ".join("NAME" if is_name else " ".join(run) for is_name, run in runs)
        shape = shape if runs[0][0] else shape[0].lower() + shape[1:]
        (slots,) = self.slots[SMALL_PATTERN.sub(lambda m: SMALL[m[1]], shape)]
        found = []
        for name, slot in zip(names, slots, strict=True):
            entity_type = before.get(name, slot) if slot == "ANY" else slot
            if entity_type == "ANY":
                (entity_type,) = self.types[name]  # neither here nor there: one type in the world
            found.append((name, entity_type))
        return found


@pytest.mark.parametrize("split", SPLITS)
def test_perfect_reader_scores_exactly_the_best_possible(split: Split) -> None:
    reader, before, document = PerfectReader(split), {}, -1
    right = total = 0
    for example in toy_ner(split, 0):
        if example["document"] != document:
            before, document = {}, example["document"]
        gold = entities(example["words"], example["tags"])
        found = reader.read(example["words"], before)
        assert [name for name, _ in found] == [name for name, _ in gold]  # spans bear no noise
        right += sum(a == b for a, b in zip(found, gold, strict=True))
        total += len(gold)
        before = dict(found)
    assert right / total == best_possible("ner", split, 0)


def test_noise_is_an_exact_share() -> None:
    for split in SPLITS:
        wrong, total = ner_noise(split, 0)
        assert wrong == round(NOISE_FRACTION * total)


@pytest.mark.parametrize(("split", "count"), [("train", 3000), ("dev", 1000), ("test", 2400)])
def test_examples_are_well_formed(split: Split, count: int) -> None:
    examples = toy_ner(split, 0)
    assert len(examples) == count
    assert len({example["id"] for example in examples}) == count
    documents = [example["document"] for example in examples]
    assert all(b - a in (0, 1) for a, b in pairwise(documents))
    for example in examples:
        assert len(example["words"]) == len(example["tags"])
        assert all(word and not word.isspace() for word in example["words"])
        for before, tag in pairwise(["O", *example["tags"]]):
            assert re.fullmatch(r"O|[BI]-(PER|LOC|ORG|MISC)", tag)
            assert tag[0] != "I" or before[2:] == tag[2:]  # IOB2: I- only goes on
    lengths = [len(example["words"]) for example in examples]
    assert 8 < sum(lengths) / count < 14


def test_frames_are_disjoint_across_splits() -> None:
    every = [f for s in SPLITS for f in (*chain(*frames(s)), *neutral_frames(s))]
    assert len(set(every)) == len(every)


def test_names_are_disjoint_across_splits() -> None:
    words: dict[str, set[str]] = defaultdict(set)
    for split in SPLITS:
        for example in toy_ner(split, 0):
            tagged = zip(example["words"], example["tags"], strict=True)
            words[split] |= {word for word, tag in tagged if tag != "O"}
    assert not words["train"] & words["test"]
    assert not words["train"] & words["dev"]
    assert not words["dev"] & words["test"]
    training_text = {word for example in toy_ner("train", 0) for word in example["words"]}
    assert not training_text & words["test"]


def test_shared_strings_bear_both_types_and_some_need_the_sentence_before() -> None:
    types = toy_world(0).regions["test"].types()
    reader = PerfectReader("test")
    seen: dict[str, set[str]] = defaultdict(set)
    needy, document, before = 0, -1, {}
    for example in toy_ner("test", 0):
        before = before if example["document"] == document else {}
        document = example["document"]
        found = reader.read(example["words"], before)
        neutral = reader.read(example["words"], dict.fromkeys(types, "before")) != found
        needy += sum(neutral and len(types[name]) == 2 for name, _ in found)
        for name, entity_type in found:
            seen[name].add(entity_type)
        before = dict(found)
    assert needy > 100
    assert sum(len(both) == 2 for both in seen.values()) > 20


def test_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match="'validation'"):
        toy_ner("validation", 0)  # type: ignore[arg-type]
