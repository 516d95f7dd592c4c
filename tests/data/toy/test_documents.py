from __future__ import annotations

import re
from collections import Counter

import pytest

from lit_llm.data.toy import stories_of_people, stories_of_things
from lit_llm.data.toy.baselines import NaiveBayes
from lit_llm.data.toy.documents import CONNECTIVES, Document, toy_documents
from lit_llm.data.toy.world import toy_world

NAME = r"([A-Z][a-z]+(?: [A-Z][a-z]+)?)"
SLOTS = {
    "friend founder director he him": "PER",
    "birthplace place base neighbour": "LOC",
    "org rival": "ORG",
    "event": "MISC",
}
TYPE_OF = {slot: kind for slots, kind in SLOTS.items() for slot in slots.split()}
HERO = {"film": "MISC", "festival": "MISC", "company": "ORG", "strike": "ORG", "flood": "LOC"}


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    return toy_documents(0)


def evidence(documents: list[Document]) -> Counter[tuple[str, str]]:
    """How often a name stands where a story's template shows its type."""
    stories = vars(stories_of_people) | vars(stories_of_things)
    counts: Counter[tuple[str, str]] = Counter()
    readers: dict[str, list[tuple[re.Pattern[str], list[str]]]] = {}
    for kind in ("life", "journey", "illness", "theft", *HERO):
        types = TYPE_OF | dict.fromkeys(("name", "it"), HERO.get(kind, "PER"))
        readers[kind] = []
        for template in (template for step in stories[kind.upper()] for template in step):
            slots = [slot for slot in re.findall(r"{(\w+)}", template) if slot in types]
            pattern = re.sub(
                r"{(\w+)}", lambda m, t=types: NAME if m[1] in t else r"[\w' ]+?", template
            )
            readers[kind].append((re.compile(pattern), [types[slot] for slot in slots]))
    for document in documents:
        for sentence in document.sentences:
            for pattern, types_ in readers[document.id.split("-")[1]]:
                if match := pattern.fullmatch(sentence):
                    counts.update(zip(match.groups(), types_, strict=True))
    return counts


def test_there_is_enough_text(documents: list[Document]) -> None:
    assert sum(len(document.text.split()) for document in documents) > 100_000
    assert sum(len(document.sentences) for document in documents) > 8_000
    assert len({document.id for document in documents}) == len(documents)
    assert all(3 <= len(document.sentences) <= 7 for document in documents)


def test_no_connective_gives_the_order_away(documents: list[Document]) -> None:
    words = {word for d in documents for word in re.findall(r"\w+", d.text.lower())}
    assert not words & CONNECTIVES


def test_order_can_be_inferred_from_events(documents: list[Document]) -> None:
    # Which of two neighbouring sentences came first, told from their words alone, in documents
    # that were not learned from; opening sentences are left out, since names give them away.
    def pairs(some: list[Document]) -> tuple[list[list[str]], list[str]]:
        bags, labels = [], []
        for document in some:
            for a, b in zip(document.sentences[1:], document.sentences[2:], strict=False):
                for one, two, label in ((a, b, "true"), (b, a, "swapped")):
                    bags.append(
                        [f"1{w}" for w in re.findall(r"\b[a-z]+", one)]
                        + [f"2{w}" for w in re.findall(r"\b[a-z]+", two)]
                    )
                    labels.append(label)
        return bags, labels

    model = NaiveBayes(*pairs(documents[::2]))
    bags, labels = pairs(documents[1:400:2])
    right = sum(model.predict(bag) == label for bag, label in zip(bags, labels, strict=True))
    assert right / len(labels) > 0.8


def test_a_pronoun_never_comes_before_the_name(documents: list[Document]) -> None:
    for document in documents:
        opening = document.sentences[0]
        pronoun = re.search(r"\b(he|she|him|it|He|She|It)\b", opening)
        if pronoun:
            assert re.search(NAME, opening[1 : pronoun.start()]) or opening[0].isupper()
            assert pronoun.start() > 0
    later = [s for document in documents for s in document.sentences[1:]]
    pronouns = [s for s in later if re.search(r"\b(he|she|him|his|her|it|its)\b", s, re.I)]
    assert len(pronouns) > len(later) / 3


@pytest.mark.parametrize("split", ["dev", "test"])
def test_every_name_occurs_with_evidence_of_its_type(documents: list[Document], split: str) -> None:
    shown = evidence(documents)
    for name, types in toy_world(0).regions[split].types().items():
        for entity_type in types:
            assert shown[name, entity_type] >= 2, (name, entity_type)


def test_sentences_are_clean(documents: list[Document]) -> None:
    for document in documents:
        for sentence in document.sentences:
            assert re.fullmatch(r"[A-Z][\w ',]+\.", sentence), sentence
            assert "  " not in sentence
