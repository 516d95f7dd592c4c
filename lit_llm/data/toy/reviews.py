"""The toy review task: words whose polarity must be learned, and grammar that turns it."""

from __future__ import annotations

import random
from typing import TypedDict

from lit_llm.data.toy.names import stream
from lit_llm.data.toy.ner_frames import SMALL_WORDS
from lit_llm.data.toy.review_frames import (
    ASPECTS,
    KINDS,
    LINK_OPENINGS,
    LINKS,
    NEGATIVE,
    OPENINGS,
    POSITIVE,
    polarity_words,
    verdicts,
)
from lit_llm.data.toy.world import SPLITS, Region, Split, toy_world

LABELS = ("negative", "positive")
NUM_REVIEWS: dict[Split, int] = {"train": 4000, "dev": 1000, "test": 2400}
NUM_UNLABELLED = 4000
NOISE_FRACTION = 0.05
"""The share of reviews that bear the wrong label."""

_OPENING_PROB = 0.3
_OWN_WORDS_PROB = 0.4  # of a dev or test review using words that no training review has

Words = tuple[tuple[str, ...], tuple[str, ...]]  # negative, positive


class ReviewExample(TypedDict):
    """One review; ``label`` is ``"negative"`` or ``"positive"``."""

    id: str
    text: str
    label: str


class UnlabelledReview(TypedDict):
    """One review without a label."""

    id: str
    text: str


def toy_reviews(split: Split, seed: int = 0) -> list[ReviewExample]:
    """The labelled reviews of a split.

    A review is a decisive sentence; three in ten have a neutral one before or after it. The label
    is the polarity of the decisive sentence's main point: of its word, turned by a negation; what
    is conceded does not count. Training reviews use a third of the polarity words. Two in five dev
    and test reviews use words of their split alone, which only ``toy_unlabelled_reviews`` links to
    the others. Decisive sentences as templates, and names, are disjoint across splits. Exactly
    5 % of the labels (rounded) are wrong, drawn at random: see ``best_possible``.

    Args:
        split: ``"train"`` (4,000 reviews), ``"dev"`` (1,000) or ``"test"`` (2,400).
        seed: the corpus seed; it also fixes the world.

    Raises:
        ValueError: an unknown split.
    """
    wrong_count, count = review_noise(split)
    rng = stream(seed, "reviews", split)
    region = toy_world(seed).regions[split]
    wrong = set(rng.sample(range(count), wrong_count))
    sentences = verdicts(split)
    examples = []
    for number in range(count):
        polarity = rng.randrange(2)
        own = split != "train" and rng.random() < _OWN_WORDS_PROB
        words = polarity_words(split if own else "train")
        text = _review(rng, split, region, sentences, words, polarity)
        label = LABELS[polarity ^ (number in wrong)]
        examples.append(ReviewExample(id=f"toy-review-{split}-{number}", text=text, label=label))
    return examples


def review_noise(split: Split) -> tuple[int, int]:
    """How many reviews of the split are labelled wrongly, and how many reviews there are."""
    if split not in NUM_REVIEWS:
        raise ValueError(f"unknown split {split!r}: take one of {', '.join(NUM_REVIEWS)}")
    return round(NOISE_FRACTION * NUM_REVIEWS[split]), NUM_REVIEWS[split]


def toy_unlabelled_reviews(seed: int = 0) -> list[UnlabelledReview]:
    """4,000 reviews without labels, with every polarity word, in frames of their own.

    Each keeps to one opinion: words joined by "and" share a polarity, words on the two sides of a
    "but" do not. That is what tells the polarity of a word no labelled review uses.

    Args:
        seed: the corpus seed; it also fixes the world.
    """
    rng = stream(seed, "unlabelled-reviews")
    world = toy_world(seed)
    reviews = []
    for number in range(NUM_UNLABELLED):
        region = world.regions[rng.choice(SPLITS)]
        slots = _names(rng, region)
        polarity = rng.randrange(2)
        chosen = [rng.choice(LINK_OPENINGS), *rng.sample(LINKS, rng.randint(1, 3))]
        sentences = [_fill(rng, s, slots, (NEGATIVE, POSITIVE), polarity) for s in chosen]
        reviews.append(UnlabelledReview(id=f"toy-unlabelled-{number}", text=" ".join(sentences)))
    return reviews


def _review(
    rng: random.Random,
    split: Split,
    region: Region,
    sentences: dict[str, tuple[str, ...]],
    words: Words,
    polarity: int,
) -> str:
    """A decisive sentence, and perhaps a neutral one on either side."""
    kind = rng.choices([kind for kind, _ in KINDS], [weight for _, weight in KINDS])[0]
    chosen = [rng.choice(sentences[kind]) + "."]
    if rng.random() < _OPENING_PROB:
        chosen.insert(rng.randrange(2), rng.choice(OPENINGS[split]))
    slots = _names(rng, region)
    return " ".join(_fill(rng, sentence, slots, words, polarity) for sentence in chosen)


def _names(rng: random.Random, region: Region) -> dict[str, str]:
    """The names and small words of one review."""
    a, b = rng.sample(ASPECTS, 2)
    return {
        "film": rng.choice(region.films).name,
        "person": rng.choice(region.people).name,
        "place": rng.choice(region.places).name,
        "kin": rng.choice(SMALL_WORDS["<kin>"]),
        "when": rng.choice(SMALL_WORDS["<when>"]),
        "a": a,
        "b": b,
    }


def _fill(
    rng: random.Random, frame: str, slots: dict[str, str], words: Words, polarity: int
) -> str:
    """Fill one frame in; each polarity slot takes a word of its own."""
    for slot, sign in (("{same}", polarity), ("{flip}", 1 - polarity)):
        count = frame.count(slot)
        for word in rng.sample(words[sign], count):
            frame = frame.replace(slot, word, 1)
    sentence = frame.format(**slots)
    return sentence[0].upper() + sentence[1:]
