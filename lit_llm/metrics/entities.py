"""Entities of a tag sequence, by the rules of conlleval or by strict IOB2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Entity(NamedTuple):
    """Words ``start`` to ``end`` - 1 of a sentence, counted from 0, named ``type``."""

    type: str
    start: int
    end: int


def entities(tags: Sequence[str], strict: bool = False) -> list[Entity]:
    """The entities of one sentence, in order; they never overlap.

    The two rules agree on clean IOB2, where every entity starts with ``B-``. A model's output may
    be anything, and they differ in what an ``I-`` that continues nothing (after ``O``, at the
    start, or after another type) means:

    - conlleval (default): it starts an entity, as ``B-`` would;
    - strict: it belongs to none, and every ``I-`` that continues it is lost with it.

    Args:
        tags: one per word: ``O``, ``B-<type>`` or ``I-<type>``; a type may itself hold hyphens.
        strict: only ``B-`` starts an entity.

    Raises:
        ValueError: a tag is none of the three (the message has the tag and the word's number).

    Source:
        conlleval: Tjong Kim Sang and De Meulder 2003, section 2, and the script of that shared
        task; equal to seqeval 1.2.2 in its default mode. Strict: equal to seqeval's
        ``mode="strict", scheme=IOB2``.
    """
    found: list[Entity] = []
    type_, start = "", -1  # the last tag's type, and where its entity starts; -1 when in none
    for i, tag in enumerate(tags):
        prefix, _, tag_type = tag.partition("-")
        if tag != "O" and (prefix not in ("B", "I") or not tag_type):
            raise ValueError(f"tag {tag!r} of word {i} must be O, B-<type> or I-<type>")
        if prefix == "I" and tag_type == type_:
            continue
        if start >= 0:
            found.append(Entity(type_, start, i))
        opens = prefix == "B" or (prefix == "I" and not strict)
        type_, start = tag_type, i if opens else -1
    if start >= 0:
        found.append(Entity(type_, start, len(tags)))
    return found
