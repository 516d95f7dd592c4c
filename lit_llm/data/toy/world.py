"""The toy world: people, places, organisations, films and events, and facts that compose."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple, get_args

from lit_llm.data.toy.names import invent_names, stream

Split = Literal["train", "dev", "test"]
EntityType = Literal["PER", "LOC", "ORG", "MISC"]

SPLITS: tuple[Split, ...] = get_args(Split)
TYPES: tuple[EntityType, ...] = get_args(EntityType)

JOBS = ("painter", "nurse", "lawyer", "teacher", "singer", "pianist", "doctor", "farmer", "baker")
TRADES = ("bank", "railway", "newspaper", "brewery", "bakery", "company")

# People, places, organisations, films, events of each split. A training name stands in about two
# labelled sentences: were names few, a model would learn them by heart and not read the rest.
_SIZES: dict[Split, tuple[int, int, int, int, int]] = {
    "train": (600, 360, 360, 240, 140),
    "dev": (40, 24, 24, 18, 12),
    "test": (96, 56, 56, 40, 24),
}
_SHARED_EVERY = 5  # every fifth organisation, place and film bears the name of something else


@dataclass(frozen=True)
class Person:
    """Somebody; ``pronoun`` is he or she."""

    name: str
    pronoun: Literal["he", "she"]
    job: str
    birthplace: str
    employer: str


@dataclass(frozen=True)
class Place:
    """A town; ``neighbour`` is the town one flees to."""

    name: str
    neighbour: str


@dataclass(frozen=True)
class Organisation:
    """A firm with its founder and the place it is based in."""

    name: str
    trade: str
    founder: str
    base: str


@dataclass(frozen=True)
class Film:
    """A film with its director, producing organisation, location and the event that showed it."""

    name: str
    director: str
    producer: str
    shot_in: str
    shown_at: str


@dataclass(frozen=True)
class Event:
    """A festival with its organiser, place and year."""

    name: str
    organiser: str
    place: str
    year: int


class Fact(NamedTuple):
    """One edge of the world's graph, e.g. (film, "directed_by", person)."""

    subject: str
    relation: str
    object: str


@dataclass(frozen=True)
class Region:
    """The part of the world that one split may talk about; its facts never leave it."""

    people: tuple[Person, ...]
    places: tuple[Place, ...]
    organisations: tuple[Organisation, ...]
    films: tuple[Film, ...]
    events: tuple[Event, ...]

    def names(self, entity_type: EntityType) -> tuple[str, ...]:
        """The names of one type; films and events are MISC."""
        kinds: dict[EntityType, tuple[Person | Place | Organisation | Film | Event, ...]] = {
            "PER": self.people,
            "LOC": self.places,
            "ORG": self.organisations,
            "MISC": (*self.films, *self.events),
        }
        return tuple(entity.name for entity in kinds[entity_type])

    def types(self) -> dict[str, tuple[EntityType, ...]]:
        """Each name and its types: two where a string is shared, e.g. a founder and his firm."""
        found: dict[str, tuple[EntityType, ...]] = {}
        for entity_type in TYPES:
            for name in self.names(entity_type):
                found[name] = (*found.get(name, ()), entity_type)
        return found

    def facts(self) -> tuple[Fact, ...]:
        """Every fact as an edge; following edges composes them (film -> director -> birthplace)."""
        facts = [Fact(p.name, "born_in", p.birthplace) for p in self.people]
        facts += [Fact(p.name, "works_for", p.employer) for p in self.people]
        facts += [Fact(p.name, "neighbour_of", p.neighbour) for p in self.places]
        facts += [Fact(o.name, "founded_by", o.founder) for o in self.organisations]
        facts += [Fact(o.name, "based_in", o.base) for o in self.organisations]
        for f in self.films:
            facts += [Fact(f.name, "directed_by", f.director), Fact(f.name, "shot_in", f.shot_in)]
            facts += [Fact(f.name, "produced_by", f.producer), Fact(f.name, "shown_at", f.shown_at)]
        for e in self.events:
            facts += [Fact(e.name, "organised_by", e.organiser), Fact(e.name, "held_in", e.place)]
            facts += [Fact(e.name, "held_in_year", str(e.year))]
        return tuple(facts)


@dataclass(frozen=True)
class World:
    """Three regions without a word of a name in common, one for each split."""

    seed: int
    regions: dict[Split, Region]


@cache
def toy_world(seed: int = 0) -> World:
    """The world of a seed; kept, since every corpus of the seed starts from it.

    Args:
        seed: any integer; another seed gives other names and facts of the same number.
    """
    rng = stream(seed, "world")
    names = invent_names(rng, sum(sum(sizes) for sizes in _SIZES.values()))
    regions: dict[Split, Region] = {}
    for split in SPLITS:
        parts = []
        for size in _SIZES[split]:
            parts.append(names[:size])
            names = names[size:]
        regions[split] = _region(rng, *parts)
    return World(seed, regions)


def _region(
    rng: random.Random,
    people: list[str],
    places: list[str],
    firms: list[str],
    films: list[str],
    events: list[str],
) -> Region:
    """Give shared names out, then draw the facts."""
    donors = [name for name in people if " " not in name]
    places = _share(places, donors)
    firms = _share(firms, donors)
    films = _share(films, donors)
    founder = dict(
        zip(firms, (f if f in people else rng.choice(people) for f in firms), strict=True)
    )
    return Region(
        people=tuple(
            Person(
                n,
                rng.choice(("he", "she")),
                rng.choice(JOBS),
                rng.choice(places),
                rng.choice(firms),
            )
            for n in people
        ),
        places=tuple(Place(n, places[i - 1]) for i, n in enumerate(places)),
        organisations=tuple(
            Organisation(n, rng.choice(TRADES), founder[n], rng.choice(places)) for n in firms
        ),
        films=tuple(
            Film(n, rng.choice(people), rng.choice(firms), rng.choice(places), rng.choice(events))
            for n in films
        ),
        events=tuple(
            Event(n, rng.choice(firms), rng.choice(places), rng.randint(1901, 1999)) for n in events
        ),
    )


def _share(names: list[str], donors: list[str]) -> list[str]:
    """Rename every fifth entity after a donor; a donor is used up, so no string has three types."""
    return [
        donors.pop() if i % _SHARED_EVERY == 0 and donors else name for i, name in enumerate(names)
    ]
