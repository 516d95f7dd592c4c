from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from lit_llm.data.toy.names import invent_words, stream
from lit_llm.data.toy.ner_frames import SMALL_WORDS
from lit_llm.data.toy.world import SPLITS, TYPES, toy_world

DIGEST = """
import hashlib, json
from lit_llm.data.toy.documents import toy_documents
from lit_llm.data.toy.ner import toy_ner
from lit_llm.data.toy.reviews import toy_reviews, toy_unlabelled_reviews
from lit_llm.data.toy.world import SPLITS, toy_world
corpus = [[list(f) for f in toy_world(3).regions[s].facts()] for s in SPLITS]
corpus += [[[d.id, d.text] for d in toy_documents(3)], toy_unlabelled_reviews(3)]
corpus += [make(split, 3) for make in (toy_ner, toy_reviews) for split in SPLITS]
digest = hashlib.sha256(json.dumps(corpus).encode()).hexdigest()
"""


def test_corpus_is_the_same_in_another_process() -> None:
    here: dict[str, str] = {}
    exec(DIGEST, here)
    for hash_seed in ("1", "2"):
        there = subprocess.run(
            [sys.executable, "-c", DIGEST + "print(digest)"],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.getcwd()},
            capture_output=True,
            text=True,
            check=True,
        )
        assert there.stdout.strip() == here["digest"]


def test_another_seed_makes_another_world() -> None:
    names = [set(toy_world(seed).regions["test"].types()) for seed in (0, 1)]
    assert not names[0] & names[1] or len(names[0] & names[1]) < 10


def test_no_word_of_a_name_is_in_two_splits() -> None:
    words = [
        {word for name in region.types() for word in name.split()}
        for region in toy_world(0).regions.values()
    ]
    assert len(words) == 3
    assert sum(map(len, words)) == len(set.union(*words))


@pytest.mark.parametrize("split", SPLITS)
def test_strings_are_shared_by_two_types_at_most(split: str) -> None:
    types = toy_world(0).regions[split].types()
    shared = [pair for pair in types.values() if len(pair) > 1]
    assert {len(pair) for pair in shared} == {2}
    assert {"PER", "ORG"} in map(set, shared)
    assert {"PER", "LOC"} in map(set, shared)
    assert len(shared) > len(types) / 10


@pytest.mark.parametrize("split", SPLITS)
def test_facts_compose_within_their_region(split: str) -> None:
    region = toy_world(0).regions[split]
    names = set(region.types())
    edges: dict[tuple[str, str], str] = {}
    for subject, relation, target in region.facts():
        assert subject in names
        assert target in names or relation == "held_in_year"
        edges[subject, relation] = target
    for film in region.films:  # three hops, each of them a fact of its own
        director = edges[film.name, "directed_by"]
        firm = edges[director, "works_for"]
        assert edges[firm, "based_in"] in region.names("LOC")


def test_spelling_does_not_tell_the_type() -> None:
    # A name's last three letters, learned from one half of all names and tried on the other, do
    # hardly better than the commonest type.
    region = toy_world(0).regions["train"]
    pairs = [(name[-3:], t) for t in TYPES for name in region.names(t)]
    learned, tried = pairs[::2], pairs[1::2]
    endings: dict[str, list[str]] = {}
    for ending, entity_type in learned:
        endings.setdefault(ending, []).append(entity_type)
    right = sum(
        max(sorted(set(seen)), key=seen.count) == entity_type
        for ending, entity_type in tried
        if (seen := endings.get(ending, ["PER"]))
    )
    commonest = sum(entity_type == "PER" for _, entity_type in tried)
    assert right < commonest * 1.1


def test_names_are_no_ordinary_words() -> None:
    ordinary = {
        word for options in SMALL_WORDS.values() for text in options for word in text.split()
    }
    for region in toy_world(0).regions.values():
        assert not {word.lower() for name in region.types() for word in name.split()} & ordinary


def test_invented_words_run_out_with_a_message() -> None:
    class Stuck(random.Random):
        def choice(self, options: Sequence[Any]) -> Any:
            return options[len(options) // 2]

    assert len(invent_words(Stuck(), 1)) == 1
    with pytest.raises(ValueError, match="cannot invent 2"):
        invent_words(Stuck(), 2)


def test_streams_of_different_labels_differ() -> None:
    assert stream(0, "a").random() == stream(0, "a").random()
    assert stream(0, "a").random() != stream(0, "b").random()
    assert stream(0, "a").random() != stream(1, "a").random()
