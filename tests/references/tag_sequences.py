"""Random tag sequences: clean IOB2 gold, predictions as dirty as a tagger without constraints."""

from __future__ import annotations

import random

TYPES = ["LOC", "MISC", "ORG", "PER"]
TAGS = ["O", *(f"{prefix}-{name}" for name in TYPES for prefix in "BI")]


def clean(rng: random.Random, length: int) -> list[str]:
    """IOB2: every entity starts with B-, every I- continues one."""
    tags: list[str] = []
    while len(tags) < length:
        if rng.random() < 0.5:
            tags.append("O")
        else:
            name = rng.choice(TYPES)
            tags += [f"B-{name}", *[f"I-{name}"] * rng.choice([0, 0, 1, 2])]
    return tags[:length]


def dirty(rng: random.Random, gold: list[str]) -> list[str]:
    """The gold with tags exchanged for any others: dangling I-, switched types, split entities."""
    noise = rng.choice([0.0, 0.2, 0.5, 1.0])
    return [rng.choice(TAGS) if rng.random() < noise else tag for tag in gold]


def pairs(count: int, seed: int) -> list[tuple[list[str], list[str]]]:
    """(gold, prediction); some empty, some all O, some with dirty gold too."""
    rng = random.Random(seed)
    found = []
    for _ in range(count):
        length = rng.choice([0, 1, 2, 5, 9, 20])
        kind = rng.random()
        gold = ["O"] * length if kind < 0.1 else clean(rng, length)
        if kind > 0.8:
            gold = dirty(rng, gold)
        found.append((gold, ["O"] * length if rng.random() < 0.1 else dirty(rng, gold)))
    return found
