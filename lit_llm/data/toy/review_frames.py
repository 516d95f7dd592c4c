"""Sentence frames and polarity words of the review task.

``{same}`` takes a word of the review's own polarity, ``{flip}`` one of the other. A frame is fair
to both labels: nothing but its polarity words, and how it turns them, decides.
"""

from __future__ import annotations

from lit_llm.data.toy.names import stream
from lit_llm.data.toy.world import SPLITS, Split

_POSITIVE = """
charming brilliant touching clever graceful delightful gripping witty tender lively polished superb
moving poetic warm thrilling heartfelt radiant sharp splendid sincere vivid stirring memorable
fresh magical rich daring lovely subtle flawless playful gentle dazzling joyful wise
"""
_NEGATIVE = """
dull clumsy tedious boring lifeless shallow jumbled dreary stale feeble sloppy tiresome
hollow grating bland messy pompous lazy dismal weak silly crude forced painful
flat sluggish ghastly wooden noisy stiff hopeless confused trite vulgar cheap careless
"""
POSITIVE = tuple(_POSITIVE.split())
NEGATIVE = tuple(_NEGATIVE.split())

# Where the words of each list are used: the labelled training text knows a third of them.
_TRAIN_WORDS, _DEV_WORDS = slice(0, 12), slice(12, 18)

ASPECTS = (
    "cast",
    "story",
    "soundtrack",
    "ending",
    "script",
    "plot",
    "hero",
    "love scene",
    "chase scene",
    "title song",
)

# Chance of each kind of decisive sentence; together they leave a bag of words little to hold.
KINDS = (
    ("plain", 0.5),
    ("negated", 0.24),
    ("contrast", 0.14),
    ("negated_concession", 0.05),
    ("negated_verdict", 0.07),
)

AFFIRMED = (
    "the {a} was {w}",
    "the {a} seemed {w}",
    "the {a} of {film} was {w}",
    "I found the {a} {w}",
    "my {kin} found the {a} {w}",
    "{film} has a {w} {a}",
    "it was a {w} film",
    "we thought the {a} was {w}",
)
NEGATED = (
    "the {a} was not {w}",
    "the {a} was never {w}",
    "the {a} of {film} was not {w}",
    "I never found the {a} {w}",
    "nobody found the {a} {w}",
    "{film} has no {w} {a}",
    "it was not a {w} film",
    "nobody thought the {a} was {w}",
)
SINGLE = ("{d}", "all in all {d}", "to be fair, {d}", "{d}, I must say", "{d}, that is all")
CONTRASTED = ("although {c}, {d}", "{d}, although {c}", "{c}, but {d}", "{c}, yet in the end {d}")

OPENINGS: dict[Split, tuple[str, ...]] = {
    "train": (
        "I saw {film} with my {kin} {when}.",
        "We watched {film} in {place} {when}.",
        "{person} made {film} in two years.",
    ),
    "dev": (
        "{film} is the new film by {person}.",
        "My {kin} and I went to see {film} {when}.",
    ),
    "test": (
        "In {place} they showed {film} {when}.",
        "{person} plays a farmer in {film}.",
        "My {kin} bought the tickets for {film} {when}.",
    ),
}

# Unlabelled reviews keep to one opinion, so words that keep company share a polarity.
LINKS = (
    "The {a} was {same} and {same}.",
    "A {same} {a} and a {same} {b} make up {film}.",
    "I remember a {same}, {same} evening in {place}.",
    "Everything about {film} is {same}, {same} and {same}.",
    "{person} gave us a {same} film with a {same} {a}.",
    "It was {same}, it was {same}, and the {a} was {same} too.",
    "Some call the {a} {flip}, but to my {kin} it was {same} and {same}.",
    "I expected a {flip} {a} and got a {same} one.",
)
LINK_OPENINGS = (
    "{film} ran in {place} {when}.",
    "I took my {kin} to {film} {when}.",
    "{film} by {person} was on {when}.",
)


def verdicts(split: Split) -> dict[str, tuple[str, ...]]:
    """The decisive sentences of a split by their kind; no sentence is in two splits.

    Clauses and the ways to join them are shared. What is split is their combinations, so that a
    method has to put known parts together.
    """
    same, flip = (tuple(c.replace("{w}", w) for c in AFFIRMED) for w in ("{same}", "{flip}"))
    not_same, not_flip = (tuple(c.replace("{w}", w) for c in NEGATED) for w in ("{same}", "{flip}"))
    pairs = {
        "plain": ((), same),
        "negated": ((), not_flip),
        "contrast": (flip, same),
        "negated_concession": (not_same, same),
        "negated_verdict": (flip, not_flip),
    }
    return {kind: _combine(kind, split, *pairs[kind]) for kind, _ in KINDS}


def _combine(
    kind: str, split: Split, conceded: tuple[str, ...], decisive: tuple[str, ...]
) -> tuple[str, ...]:
    """Every sentence of the clauses, and of these the split's own share."""
    if conceded:
        every = [
            frame.replace("{c}", c.replace("{a}", "{b}")).replace("{d}", d)
            for frame in CONTRASTED
            for c in conceded
            for d in decisive
        ]
    else:
        every = [frame.replace("{d}", d) for frame in SINGLE for d in decisive]
    stream(0, "verdicts", kind).shuffle(every)
    ends = [0, round(0.6 * len(every)), round(0.75 * len(every)), len(every)]
    part = SPLITS.index(split)
    return tuple(every[ends[part] : ends[part + 1]])


def polarity_words(split: Split) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The negative and the positive words that belong to one split alone."""
    test_words = slice(_DEV_WORDS.stop, None)
    part = {"train": _TRAIN_WORDS, "dev": _DEV_WORDS, "test": test_words}[split]
    return NEGATIVE[part], POSITIVE[part]
