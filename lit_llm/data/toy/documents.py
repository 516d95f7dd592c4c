"""Unlabelled stories about the world, whose sentence order follows from events alone."""

from __future__ import annotations

import random
from dataclasses import dataclass

from lit_llm.data.toy.names import pick_other, stream
from lit_llm.data.toy.stories_of_people import ILLNESS, JOURNEY, LIFE, THEFT, Story
from lit_llm.data.toy.stories_of_things import COMPANY, FESTIVAL, FILM, FLOOD, STRIKE
from lit_llm.data.toy.telling import tell_story
from lit_llm.data.toy.world import (
    JOBS,
    SPLITS,
    Event,
    Film,
    Organisation,
    Person,
    Place,
    Region,
    toy_world,
)

_CONNECTIVES = (
    "after afterwards again already also although because before but consequently earlier "
    "eventually finally first hence however initially last later meanwhile moreover next now once "
    "second since so soon still subsequently then thereafter therefore though thus until when "
    "whereupon while yet"
)
CONNECTIVES = frozenset(_CONNECTIVES.split())
"""Words that would give a story's order away; none of them occurs in the documents."""

_Hero = Person | Film | Organisation | Event | Place


@dataclass(frozen=True)
class Document:
    """One story.

    Attributes:
        id: unique, e.g. ``"life-17"``.
        sentences: in their true order, plain English with its punctuation.
    """

    id: str
    sentences: tuple[str, ...]

    @property
    def text(self) -> str:
        """The sentences as one paragraph."""
        return " ".join(self.sentences)


def toy_documents(seed: int = 0) -> list[Document]:
    """Tell every entity's stories, in a shuffled order: about 3,000 documents of 3 to 7 sentences.

    A story is a chain of steps, each the cause of what follows (rain, flood, rescue, repair); a
    document leaves some steps out. Its first mention of the one in focus is a name, the others are
    mostly pronouns. Every dev and test name occurs, with the verbs that show what it is, and so do
    training names; strings shared by two entities occur as both.

    Args:
        seed: the corpus seed; it also fixes the world.
    """
    world = toy_world(seed)
    rng = stream(seed, "documents")
    documents: list[Document] = []
    for split in SPLITS:
        documents += _region_stories(rng, split, world.regions[split])
    rng.shuffle(documents)
    return documents


def _region_stories(rng: random.Random, split: str, region: Region) -> list[Document]:
    """All stories of one region; those of another region's entities are never mixed in."""
    plans: list[tuple[str, Story, int, tuple[_Hero, ...]]] = [
        ("life", LIFE, 2, region.people),
        ("journey", JOURNEY, 1, region.people),
        ("illness", ILLNESS, 1, region.people),
        ("theft", THEFT, 1, region.people),
        ("film", FILM, 4, region.films),
        ("company", COMPANY, 3, region.organisations),
        ("strike", STRIKE, 2, region.organisations),
        ("festival", FESTIVAL, 5, region.events),
        ("flood", FLOOD, 3, region.places),
    ]
    documents: list[Document] = []
    for kind, story, times, heroes in plans:
        if split == "train":  # many entities, of which labelled sentences tell much
            heroes, times = heroes[::3], 1
        for hero in (hero for hero in heroes for _ in range(times)):
            facts = _facts(region, hero)
            words = _small_words(rng, region, set(facts.values())) | facts
            told = tuple(tell_story(rng, story, words))
            documents.append(Document(f"{split}-{kind}-{len(documents)}", told))
    return documents


def _small_words(rng: random.Random, region: Region, taken: set[str]) -> dict[str, str]:
    """Changeable words, and bystanders whom the facts of the story do not name already."""
    return {
        "friend": pick_other(rng, region.names("PER"), taken),
        "place": pick_other(rng, region.names("LOC"), taken),
        "rival": pick_other(rng, region.names("ORG"), taken),
        "org": pick_other(rng, region.names("ORG"), taken),
        "job": rng.choice(JOBS),
        "job2": rng.choice(JOBS),
        "season": rng.choice(("spring", "summer", "autumn", "winter")),
        "day": rng.choice(("Monday", "Tuesday", "Thursday", "Friday", "Sunday")),
        "number": rng.choice(("ten", "twelve", "twenty", "thirty", "forty", "sixty")),
        "pronoun": rng.choice(("he", "she")),
    }


def _facts(region: Region, hero: _Hero) -> dict[str, str]:
    """The world's facts about the one in focus, by the names the stories use."""
    firms = {firm.name: firm for firm in region.organisations}
    match hero:
        case Person():
            firm = firms[hero.employer]
            told = {"person": hero.name, "birthplace": hero.birthplace, "job": hero.job}
            return told | {
                "name": hero.name,
                "pronoun": hero.pronoun,
                "org": firm.name,
                "trade": firm.trade,
                "base": firm.base,
            }
        case Film():
            pronoun = next(p.pronoun for p in region.people if p.name == hero.director)
            told = {"person": hero.director, "director": hero.director, "pronoun": pronoun}
            place = {"place": hero.shot_in, "base": firms[hero.producer].base}
            return (
                told
                | place
                | {
                    "name": hero.name,
                    "kind": "film",
                    "org": hero.producer,
                    "event": hero.shown_at,
                }
            )
        case Organisation():
            told = {"name": hero.name, "kind": hero.trade, "trade": hero.trade}
            return told | {"founder": hero.founder, "base": hero.base}
        case Event():
            told = {"name": hero.name, "kind": "event", "year": str(hero.year)}
            return told | {"org": hero.organiser, "place": hero.place}
        case Place():
            return {"name": hero.name, "kind": "place", "neighbour": hero.neighbour}
