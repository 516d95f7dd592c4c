"""Seeded randomness, and invented names whose spelling does not tell their type."""

from __future__ import annotations

import random
from collections.abc import Container, Sequence

_ONSETS = ("b d f g h k l m n p r s t v z br dr gl kr pl tr", "b d f g h k l m n p r s t v z")
_VOWELS = "aeiou"
_CODAS = ("", "", "", "", "l", "m", "n", "r", "s")


def stream(seed: int, *labels: str) -> random.Random:
    """An independent random stream for one purpose.

    Args:
        seed: the corpus seed.
        labels: what the stream is for, e.g. ``("ner", "train")``. Streams with different labels
            are unrelated, so adding one never changes another.
    """
    return random.Random("/".join((str(seed), *labels)))  # seeded by a hash of the text itself


def invent_words(rng: random.Random, count: int) -> list[str]:
    """Invent different capitalised words of two or three syllables, at least five letters long.

    No two words differ only in the letters that follow a shared beginning of the whole shorter
    word, so one name is never a piece of another.

    Args:
        rng: the source of randomness.
        count: how many words.

    Raises:
        ValueError: the grammar cannot make that many words.
    """
    words: dict[str, None] = {}  # a set that keeps its order
    beginnings: set[str] = set()
    for _ in range(count * 50):
        if len(words) == count:
            return list(words)
        syllables = rng.choice((2, 3, 3))
        word = "".join(
            rng.choice(_ONSETS[min(place, 1)].split()) + rng.choice(_VOWELS) + rng.choice(_CODAS)
            for place in range(syllables)
        ).capitalize()
        prefixes = {word[:end] for end in range(5, len(word) + 1)}
        if len(word) < 5 or len(word) > 9 or word in beginnings or prefixes & words.keys():
            continue
        words[word] = None
        beginnings |= prefixes
    raise ValueError(f"the syllable grammar cannot invent {count} different words: ask for fewer")


def invent_names(rng: random.Random, count: int) -> list[str]:
    """Invent names of one word (four in five) or two words, no word used twice.

    Args:
        rng: the source of randomness.
        count: how many names.
    """
    words = iter(invent_words(rng, 2 * count))
    return [
        next(words) if rng.random() < 0.8 else f"{next(words)} {next(words)}" for _ in range(count)
    ]


def pick_other(rng: random.Random, options: Sequence[str], taken: Container[str]) -> str:
    """Draw an option that is not taken; some option must be free."""
    while (option := rng.choice(options)) in taken:
        pass
    return option
