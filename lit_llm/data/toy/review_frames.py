"""Sentence frames and polarity words of the review task.

``{same}`` takes a word of the review's own polarity, ``{flip}`` one of the other. A frame is fair
to both labels: nothing but its polarity words, and how it turns them, decides.
"""

from __future__ import annotations

from lit_llm.data.toy.world import Split

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
    ("plain", 0.38),
    ("negated", 0.22),
    ("contrast", 0.18),
    ("negated_concession", 0.1),
    ("negated_verdict", 0.12),
)

VERDICTS: dict[Split, dict[str, tuple[str, ...]]] = {
    "train": {
        "plain": (
            "The {a} was {same}.",
            "I found the {a} {same} and told my sister.",
            "For me the {a} of {film} was {same}.",
            "It has a {same} {a}.",
        ),
        "negated": (
            "The {a} was not {flip}.",
            "Nobody could call the {a} {flip}.",
            "The {a} was never {flip} in two hours.",
            "There is nothing {flip} in the {a} of {film}.",
        ),
        "contrast": (
            "Although the {a} was {flip}, the {b} was {same}.",
            "The {a} was {flip}, but in the end the {b} was {same}.",
            "Despite the {flip} {a}, I call {film} {same}.",
        ),
        "negated_concession": (
            "Although the {a} was not {same}, the {b} was {same}.",
            "The {a} was never {same}, but the {b} of {film} was {same}.",
        ),
        "negated_verdict": (
            "Although the {a} was {flip}, the {b} was not {flip}.",
            "The {a} was {flip}, but nobody could call the {b} {flip}.",
        ),
    },
    "dev": {
        "plain": (
            "We thought that the {a} was {same}.",
            "{film} has a really {same} {a}.",
        ),
        "negated": (
            "The {a} of {film} was never {flip}.",
            "Nobody found the {a} {flip}.",
        ),
        "contrast": (
            "I call the {b} {same}, although the {a} was {flip}.",
            "In the end the {b} was {same}, despite the {flip} {a}.",
        ),
        "negated_concession": ("The {b} of {film} was {same}, although the {a} was not {same}.",),
        "negated_verdict": ("The {b} was not {flip}, although I found the {a} {flip}.",),
    },
    "test": {
        "plain": (
            "The {a} in {film} is {same}, I think.",
            "My sister found the {a} {same}.",
            "What I saw was a {same} {a}.",
        ),
        "negated": (
            "In two hours the {a} was not {flip} at all.",
            "I never found the {a} of {film} {flip}.",
            "Nobody told me that the {a} was {flip}, and it was not.",
        ),
        "contrast": (
            "The {b} of {film} was {same}, although I found the {a} {flip}.",
            "Despite a {flip} {a}, the {b} was {same}.",
            "My sister found the {a} {flip}, but for me the {b} was {same}.",
        ),
        "negated_concession": (
            "Although nobody found the {a} {same}, the {b} of {film} was {same}.",
            "The {a} was not {same} for two hours, but the {b} was {same}.",
        ),
        "negated_verdict": (
            "The {b} was never {flip}, although the {a} of {film} was {flip}.",
            "I found the {a} {flip}, but the {b} was not {flip} at all.",
        ),
    },
}

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


def polarity_words(split: Split) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The negative and the positive words that belong to one split alone."""
    test_words = slice(_DEV_WORDS.stop, None)
    part = {"train": _TRAIN_WORDS, "dev": _DEV_WORDS, "test": test_words}[split]
    return NEGATIVE[part], POSITIVE[part]
