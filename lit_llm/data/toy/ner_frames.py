"""Sentence frames of the NER task, a different set for each split.

Capitals are slots for names (``ANY`` takes a name of every type, so such a sentence says nothing of
it), ``<...>`` small words that all splits share. What tells a type (a job before a name, a verb
after it) stands in different sentences in each split: it has to be learned, not the sentences.
"""

from __future__ import annotations

from lit_llm.data.toy.world import JOBS, TRADES, EntityType, Split

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
    "<traded>": ("bought", "sued", "hired", "fined", "dismissed"),
    "<staff>": ("workers", "managers", "clerks", "lawyers"),
    "<papers>": ("shares", "bonds"),
    "<moved>": ("fell", "rose"),
    "<saw>": ("watched", "enjoyed", "missed"),
    "<show>": ("tickets", "posters", "costumes", "rehearsals"),
    "<when>": (
        "on Monday",
        "on Thursday",
        "on Sunday",
        "in March",
        "in August",
        "last winter",
        "last week",
        "two years ago",
        "in the evening",
        "this morning",
    ),
    "<how>": (
        "without a word",
        "to the surprise of many",
        "in spite of the cold",
        "as a witness said",
        "with little success",
        "for the third time",
    ),
}

_TRAIN = """
The <job> PER <did> and left the room <when>
PER , a <job> , <did> for an hour <how>
My <kin> PER plays the violin <when>
PER and PER <did> at the same table
The doctor told PER to rest <when>
PER broke a <body> on the stairs <when>
PER lost both gloves on the way to LOC
The <job> thanked PER for the flowers <how>
PER visited LOC with two children <when>
PER lives in LOC with a <kin> and three cats
Heavy rain fell in LOC <when>
The <things> of LOC were crowded <when>
The road to LOC is closed <how>
Trains between LOC and LOC are late <when>
The <town> of LOC has a new bridge
Farmers near LOC are waiting for rain <how>
The mayor of LOC gave a speech <when>
The <papers> of ORG <moved> by half <when>
The <firm> ORG <traded> sixty <staff> <when>
ORG <traded> a rival <firm> <how>
PER works for ORG as a <job>
The <staff> at ORG went on strike <when>
ORG reported a loss <when> <how>
ORG opened an office in LOC <when>
The <papers> in ORG <moved> <how>
We bought <show> for EVENT <when>
Critics praised FILM <how> <when>
The film FILM was shot in LOC <when>
The director PER made FILM in LOC
The festival EVENT begins in LOC <when>
They <saw> FILM <when> <how>
The audience at EVENT <did> <when>
The actor PER has a small role in FILM
The <staff> of ORG <saw> FILM together <when>
The bus was late and nobody <did> <when>
A <job> and a <kin> met in the <town> <when>
The <firm> <traded> a <job> <how> <when>
The <things> were wet and the <job> <did> <when>
"""

_DEV = """
<when> the <job> PER <did> at breakfast
A <kin> of PER broke a <body> <when>
The <kin> gave PER a bottle of wine <how>
PER <did> on the train to LOC <when>
The old <job> met PER and a <kin> in LOC
Snow covered the <things> of LOC <when>
Many people in the <town> of LOC have no water
The bridge near LOC is closed <when>
<staff> at the <firm> ORG <did> <how>
The loss at ORG was small <when>
ORG has an office near LOC and many <staff>
Investors sold the <papers> of ORG <how>
Children <saw> FILM in a tent <when>
The poster of FILM hangs in LOC
The <show> for the festival EVENT were late <when>
The director of FILM is the <job> PER
The <job> cleaned the windows <when> <how>
A <firm> in the <town> was closed <when>
"""

_TEST = """
<when> a <job> called PER <did> in the street
Flowers from PER reached the <kin> of a <job> <when>
PER <did> <when> and the <job> <did> too
A <kin> of mine saw PER , the <job> , <when>
The broken <body> of PER has healed <how>
The <job> drove PER and two children to LOC
PER moved from LOC to LOC <when>
The cats of PER slept at home in LOC
There was no rain in LOC <when> <how>
The mayor closed the <things> of LOC <when>
Two roads lead to the <town> of LOC
A train to LOC was late <when> <how>
The <kin> of a <job> lives near LOC
<when> the <papers> of the <firm> ORG <moved>
The rival <firm> <traded> ORG <how>
Sixty <staff> left ORG <when> <how>
The <staff> at ORG had no work <when>
A strike at ORG was over <when> <how>
The office of ORG in LOC is closed
PER asked ORG for work as a <job>
The loss reported by ORG was large <how>
<when> critics <saw> FILM in LOC
The <show> for FILM were bought by PER
Half of the audience of FILM <did> <when>
The role in FILM went to the <job> PER
The opening of the festival EVENT was crowded <when>
Children with <show> for EVENT <did> <when>
The new film FILM is long <how>
<when> a <job> <did> in front of a <firm>
The <kin> of the <job> was late <how>
"""

_NEUTRAL = {
    "train": """
Everybody spoke about ANY <when>
Nobody remembers ANY any more
The newspaper printed a page about ANY <when>
ANY was mentioned again <when>
There are many stories about ANY
For most of us ANY is a mystery
""",
    "dev": """
We have heard of ANY <when>
ANY is known to everybody here
A story about ANY was in the newspaper <when>
Not everybody likes ANY or wants to
""",
    "test": """
People were curious about ANY <when>
ANY was in the newspaper <when>
<when> there was much talk of ANY
Everybody here remembers ANY quite well
They mentioned ANY more than once <when>
A page of the newspaper was about ANY
""",
}


def frames(split: Split) -> tuple[tuple[str, ...], ...]:
    """The typed frames of a split (and those without a name), as words with slots."""
    text = {"train": _TRAIN, "dev": _DEV, "test": _TEST}[split]
    return tuple(tuple(line.split()) for line in text.strip().splitlines())


def neutral_frames(split: Split) -> tuple[tuple[str, ...], ...]:
    """The frames of a split that say nothing of the type of the name in them."""
    return tuple(tuple(line.split()) for line in _NEUTRAL[split].strip().splitlines())
