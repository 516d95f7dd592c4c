"""From a story's templates to sentences: name first, then pronoun."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from lit_llm.data.toy.stories_of_people import Story

_AGAIN_BY_NAME_PROB = 0.25
_NOUNS = {"film": ("the film", "it"), "event": ("the festival", "it"), "place": ("the town",)}


@dataclass
class _Focus:
    """How to mention the one in focus: by name first, then mostly by what stands for it."""

    name: str
    forms: dict[str, tuple[str, ...]]
    named: bool = field(default=False)


def tell_story(rng: random.Random, story: Story, words: dict[str, str]) -> list[str]:
    """Choose three to seven steps, always the opening one, and write each of them.

    Args:
        rng: the source of randomness.
        story: steps, each with several templates.
        words: what the braces of the templates stand for. A ``person`` (with a ``pronoun``) and a
            ``name`` (with its ``kind``, e.g. film) are mentioned by name first.

    Returns:
        One sentence for each step, in the order of the story.
    """
    count = rng.randint(3, min(7, len(story)))
    steps = [0, *sorted(rng.sample(range(1, len(story)), count - 1))]
    foci = []
    if "person" in words:
        foci.append(_Focus(words["person"], _pronouns(words["pronoun"])))
    if "kind" in words:
        nouns = _NOUNS.get(words["kind"], (f"the {words['kind']}", "it"))
        foci.append(_Focus(words["name"], {"it": nouns, "its": ("its",)}))
    return [_write(rng, rng.choice(story[step]), words, foci) for step in steps]


def _pronouns(subject: str) -> dict[str, tuple[str, ...]]:
    """The forms of he or she."""
    if subject == "he":
        return {"he": ("he",), "him": ("him",), "his": ("his",)}
    return {"he": ("she",), "him": ("her",), "his": ("her",)}


def _write(rng: random.Random, template: str, words: dict[str, str], foci: list[_Focus]) -> str:
    """Fill one template in."""
    filled = dict(words)
    for focus in foci:
        spoken = any(f"{{{key}}}" in template for key, word in words.items() if word == focus.name)
        mentions = sorted(focus.forms, key=lambda form: template.find(f"{{{form}}}"))
        by_name = not focus.named or rng.random() < _AGAIN_BY_NAME_PROB
        for form in mentions:
            if f"{{{form}}}" not in template:
                continue
            if by_name and not spoken:
                filled[form] = f"{focus.name}'s" if form in ("his", "its") else focus.name
                spoken = focus.named = True
            else:
                starts = template.startswith(f"{{{form}}}")  # "it" reads well as a subject only
                filled[form] = rng.choice(focus.forms[form][: None if starts else 1])
        focus.named = focus.named or spoken
    sentence = template.format(**filled)
    return sentence[0].upper() + sentence[1:]
