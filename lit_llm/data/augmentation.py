"""More training examples than there are: changed copies whose label stays right."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

Operation = Literal["swap", "delete", "punctuation", "mentions", "words_of_a_tag"]
KEY = "sample.augmentation"
_FOR_TEXTS: tuple[Operation, ...] = ("swap", "delete", "punctuation")
_FOR_SENTENCES: tuple[Operation, ...] = ("mentions", "words_of_a_tag")
_MARKS = (".", ";", "?", ":", "!", ",")

Example = dict[str, Any]
Generator = np.random.Generator


@dataclass(frozen=True)
class AugmentationConfig:
    """How many changed copies of each training example there are, and what is changed in them.

    Each copy is made by one of ``operations``, drawn at random. Development and test examples are
    left alone.

    Attributes:
        copies: of each training example, beside it; at least 1.
        operations: of a text: ``swap`` exchanges two words, ``delete`` leaves words out,
            ``punctuation`` puts marks between words. Of tagged words: ``mentions`` puts another
            mention of the same type in an entity's place, ``words_of_a_tag`` another word that has
            the same tag somewhere in the training split. Default: all that fit.
        strength: the part of the words, or of the mentions, that is changed, at least one; in
            (0, 1].

    Source:
        ``swap``, ``delete``: Wei and Zou 2019 (EDA), section 2, arXiv:1901.11196. ``punctuation``:
        Karimi et al. 2021 (AEDA), arXiv:2108.13230. ``mentions``, ``words_of_a_tag``: Dai and
        Adel 2020, section 3, arXiv:2010.11683.
    """

    copies: int = 1
    operations: list[Operation] = field(default_factory=list)
    strength: float = 0.1

    def __post_init__(self) -> None:
        if self.copies < 1:
            raise ValueError(f"{KEY}.copies must be at least 1, not {self.copies}")
        if not 0 < self.strength <= 1:
            raise ValueError(f"{KEY}.strength must lie in (0, 1], not {self.strength}")
        for operation in self.operations:
            if operation not in get_args(Operation):
                names = ", ".join(get_args(Operation))
                raise ValueError(f"{KEY}.operations: {operation!r} is none of {names}")


def augmented(
    config: AugmentationConfig, examples: Sequence[Mapping[str, Any]], seed: int
) -> list[Example]:
    """Each example, followed by its changed copies; a copy's ``id`` ends with ``+1``, ``+2``, ...

    A copy is a function of (seed, place of the example, number of the copy).

    Args:
        config: what is changed, and how often.
        examples: with ``words`` and ``tags`` (IOB2), or with ``text``.
        seed: of the random numbers.

    Raises:
        ValueError: an operation that is not for such examples; examples of neither kind.
    """
    operations = _operations(config, examples)
    found: list[Example] = []
    for place, example in enumerate(examples):
        found.append(dict(example))
        for copy in range(1, config.copies + 1):
            generator = np.random.default_rng([seed, place, copy])
            change = operations[int(generator.integers(len(operations)))]
            found.append({**example, **change(example, generator), "id": f"{example['id']}+{copy}"})
    return found


Change = Callable[[Mapping[str, Any], Generator], Example]


def _operations(config: AugmentationConfig, examples: Sequence[Mapping[str, Any]]) -> list[Change]:
    first = examples[0] if examples else {}
    if "tags" in first:
        kind, able = "tagged words", _FOR_SENTENCES
    elif "text" in first and "label" in first:
        kind, able = "labelled texts", _FOR_TEXTS
    else:
        raise ValueError(f"{KEY}: there are neither tagged words nor labelled texts to change")
    chosen = config.operations or list(able)
    unfit = [name for name in chosen if name not in able]
    if unfit:
        raise ValueError(
            f"{KEY}.operations: {unfit[0]} is not for {kind}; there are {', '.join(able)}"
        )
    if kind == "labelled texts":
        return [_of_text(name, config.strength) for name in chosen]
    known = _Vocabulary(examples)
    makers = {"mentions": known.other_mentions, "words_of_a_tag": known.other_words}
    return [_of_sentence(makers[name], config.strength) for name in chosen]


def _of_text(operation: str, strength: float) -> Change:
    def change(example: Mapping[str, Any], generator: Generator) -> Example:
        words = example["text"].split()
        number = max(1, round(strength * len(words)))
        if operation == "swap" and len(words) > 1:
            for _ in range(number):
                one, other = generator.choice(len(words), 2, replace=False)
                words[one], words[other] = words[other], words[one]
        elif operation == "delete" and len(words) > 1:
            gone = set(generator.choice(len(words), min(number, len(words) - 1), replace=False))
            words = [word for place, word in enumerate(words) if place not in gone]
        elif operation == "punctuation":
            for place in sorted(generator.integers(len(words) + 1, size=number), reverse=True):
                words.insert(place, _MARKS[int(generator.integers(len(_MARKS)))])
        return {"text": " ".join(words)}

    return change


Replace = Callable[[list[str], list[str], float, Generator], tuple[list[str], list[str]]]


def _of_sentence(replace: Replace, strength: float) -> Change:
    def change(example: Mapping[str, Any], generator: Generator) -> Example:
        words, tags = replace(list(example["words"]), list(example["tags"]), strength, generator)
        return {"words": words, "tags": tags}

    return change


class _Vocabulary:
    """The words and mentions that the training sentences hold, by tag and by type."""

    def __init__(self, examples: Sequence[Mapping[str, Any]]) -> None:
        self.words: dict[str, list[str]] = {}
        self.mentions: dict[str, list[list[str]]] = {}
        for example in examples:
            for word, tag in zip(example["words"], example["tags"], strict=True):
                self.words.setdefault(tag, []).append(word)
            for start, end in spans(example["tags"]):
                kind = example["tags"][start][2:]
                self.mentions.setdefault(kind, []).append(list(example["words"][start:end]))

    def other_words(
        self, words: list[str], tags: list[str], strength: float, generator: Generator
    ) -> tuple[list[str], list[str]]:
        number = max(1, round(strength * len(words)))
        for place in generator.choice(len(words), min(number, len(words)), replace=False):
            same = self.words[tags[place]]
            words[place] = same[int(generator.integers(len(same)))]
        return words, tags

    def other_mentions(
        self, words: list[str], tags: list[str], strength: float, generator: Generator
    ) -> tuple[list[str], list[str]]:
        found = spans(tags)
        if not found:
            return words, tags
        number = max(1, round(strength * len(found)))
        for which in sorted(generator.choice(len(found), number, replace=False), reverse=True):
            start, end = found[which]
            kind = tags[start][2:]
            same = self.mentions[kind]
            mention = same[int(generator.integers(len(same)))]
            words[start:end] = mention
            tags[start:end] = [f"B-{kind}", *[f"I-{kind}"] * (len(mention) - 1)]
        return words, tags


def spans(tags: Sequence[str]) -> list[tuple[int, int]]:
    """Where each entity of IOB2 tags begins and ends, in words, end exclusive."""
    found: list[tuple[int, int]] = []
    for place, tag in enumerate(tags):
        if tag.startswith("B-"):
            found.append((place, place + 1))
        elif tag.startswith("I-") and found and found[-1][1] == place:
            found[-1] = (found[-1][0], place + 1)
    return found
