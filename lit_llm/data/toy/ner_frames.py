"""Sentence frames of the NER task, a different set for each split.

Capitals are slots for names (``ANY`` takes a name of every type, so such a sentence says nothing of
it), ``<...>`` small words. A frame is one clause or two, joined. Most clauses are shared and only
their combinations are split; some stand in one split alone, so that the words that tell a type (a
job before a name, a verb after it) have to be learned and not the clauses.
"""

from __future__ import annotations

from functools import cache
from itertools import permutations

from lit_llm.data.toy.names import stream
from lit_llm.data.toy.world import JOBS, TRADES, EntityType, Split

Frame = tuple[str, ...]

SLOT_TYPES: dict[str, EntityType] = {
    "PER": "PER",
    "LOC": "LOC",
    "ORG": "ORG",
    "FILM": "MISC",
    "EVENT": "MISC",
}

SMALL_WORDS: dict[str, tuple[str, ...]] = {
    "<job>": (*JOBS, "waiter", "driver", "butcher"),
    "<kin>": ("sister", "brother", "cousin", "neighbour", "nephew", "friend"),
    "<did>": ("smiled", "wept", "apologised", "shrugged", "sighed", "laughed", "coughed", "yawned"),
    "<body>": ("leg", "arm", "wrist", "thumb"),
    "<things>": ("streets", "roofs", "markets", "bridges", "parks", "churches"),
    "<town>": ("town", "village", "port", "city"),
    "<firm>": (*TRADES, "publisher", "shipyard"),
    "<traded>": ("bought", "sued", "fined", "copied"),
    "<staff>": ("workers", "managers", "clerks", "cooks"),
    "<papers>": ("shares", "bonds"),
    "<moved>": ("fell", "rose"),
    "<saw>": ("watched", "enjoyed", "missed"),
    "<show>": ("tickets", "posters", "costumes"),
    "<when>": (
        "on Monday",
        "on Thursday",
        "on Sunday",
        "in March",
        "in August",
        "last winter",
        "last week",
        "two years ago",
        "this morning",
    ),
    "<how>": (
        "without a word",
        "to our surprise",
        "in spite of the cold",
        "as a witness said",
        "for the third time",
    ),
}

_SHARED = """
the <job> PER <did>
PER <did> at breakfast
PER broke a <body>
my <kin> PER played the violin
the doctor told PER to rest
flowers for PER arrived
the cats of PER slept
PER drove to LOC
PER moved to LOC with two children
the <job> PER lived near LOC
PER worked for ORG as a <job>
PER left ORG with a pension
the director PER made FILM
rain fell in LOC
the <things> of LOC were crowded
the road to LOC was closed
the <town> of LOC got a new bridge
farmers near LOC waited for rain
the train from LOC was late
the <papers> of ORG <moved>
the <firm> ORG reported a loss
the <staff> at ORG went on strike
ORG <traded> a rival
ORG opened an office in LOC
a lawyer for ORG <did>
they <saw> FILM twice
critics praised FILM
the film FILM was shot in LOC
the festival EVENT began
<show> for EVENT were sold
the audience of FILM <did>
nobody <did>
a <job> met my <kin>
the <things> were wet
"""
_OWN = {
    "train": "",
    "dev": """
the <kin> of PER broke a <body>
snow fell near LOC
ORG lost sixty <staff>
children <saw> FILM
""",
    "test": """
a <job> called PER <did>
PER and the <job> <did>
there was no rain in LOC
two roads led to LOC
the <staff> left ORG
a rival <traded> ORG
half of the audience <saw> FILM
the opening of the festival EVENT was crowded
""",
}
_NEUTRAL = """
everybody spoke about ANY
nobody remembered ANY
they mentioned ANY
ANY was in the news
there were stories about ANY
people were curious about ANY
ANY was a mystery to us
we talked of ANY
not everybody liked ANY
ANY came up at dinner
"""
_ONE = (
    "{0} <when>",
    "<when> {0}",
    "{0} <how>",
    "we heard that {0} <when>",
    "the newspaper says that {0}",
)
_TWO = ("{0} and {1} <when>", "{0} , but {1}", "<when> {0} and {1}")
_PARTS = {"train": (0.0, 0.6), "dev": (0.6, 0.75), "test": (0.75, 1.0)}
_MOST_SLOTS = 3


@cache
def frames(split: Split) -> tuple[tuple[Frame, ...], tuple[Frame, ...]]:
    """The frames of a split that show the types of their names: of one clause, and of two.

    Some have no name at all. No frame is in two splits.
    """
    shared, own = _lines(_SHARED), _lines(_OWN[split])
    one = [frame.format(clause) for frame in _ONE for clause in shared]
    two = [frame.format(a, b) for frame in _TWO for a, b in permutations(shared, 2)]
    one = _part(one, split) + [frame.format(clause) for frame in _ONE for clause in own]
    two = _part(two, split) + [
        frame.format(*pair)
        for frame in _TWO
        for new in own
        for clause in shared
        for pair in ((new, clause), (clause, new))
    ]
    return _split_words(one), _split_words(two)


@cache
def neutral_frames(split: Split) -> tuple[Frame, ...]:
    """The frames of a split that say nothing of the type of the name in them."""
    every = [frame.format(clause) for frame in _ONE for clause in _lines(_NEUTRAL)]
    return _split_words(_part(every, split))


def _lines(text: str) -> list[str]:
    return text.strip().splitlines()


def _part(every: list[str], split: Split) -> list[str]:
    """The split's share of all combinations, the same for every corpus seed."""
    shuffled = list(every)
    stream(0, "frames").shuffle(shuffled)
    start, end = (round(fraction * len(every)) for fraction in _PARTS[split])
    return shuffled[start:end]


def _split_words(templates: list[str]) -> tuple[Frame, ...]:
    """Templates as words, without those that hold too many names."""
    every = [tuple(template.split()) for template in templates]
    return tuple(f for f in every if sum(word in SLOT_TYPES for word in f) <= _MOST_SLOTS)
