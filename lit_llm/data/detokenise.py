"""Separated words and punctuation -> ordinary English text."""

from __future__ import annotations

from collections.abc import Sequence

_MARKS = frozenset(".,?!;:")
_INSIDE_QUOTES = frozenset(".,?!")
_OPENING = {"``": '"', "(": "(", "[": "["}
_CLOSING = {"''": '"', ")": ")", "]": "]"}


def detokenise(words: Sequence[str]) -> str:
    r"""A tokenised English sentence as it would be printed.

    For the Brown Corpus and the Penn Treebank's way of writing quotes: \`\` and '' become ``"``;
    marks and brackets join their word; of a mark that stands twice (Brown's ``? ?``) one is
    kept; a full stop, comma, question or exclamation mark after a closing quote goes inside it, as
    in American printing; the full stop after an abbreviation's is dropped. A ``'`` that stands
    alone opens and closes in turn. Dashes (``--``) keep their blanks.

    Which side of a quote a question mark stood on is not in the data: inside is right for speech,
    which nearly all of them are.

    Args:
        words: as in the data, none empty.
    """
    text = ""
    glued = True  # the next word joins what stands before it
    single_open = False
    for word in _printed_order(words):
        closes_single = word == "'" and single_open
        if word in _MARKS or word in _CLOSING or closes_single or word == "/":
            glued = True
        if not glued:
            text += " "
        if not (word == "." and text.endswith(".")):
            text += _OPENING.get(word) or _CLOSING.get(word) or word
        glued = word in _OPENING or word == "/" or (word == "'" and not single_open)
        single_open ^= word == "'"
    return text


def _printed_order(words: Sequence[str]) -> list[str]:
    """The words without doubled marks, marks moved before the closing quotes they follow."""
    ordered: list[str] = []
    single_open = False
    for index, word in enumerate(words):
        if word in _MARKS and index and words[index - 1] == word:
            continue
        single_open ^= word == "'"
        place = len(ordered)
        if word in _INSIDE_QUOTES:
            while place and (
                ordered[place - 1] == "''" or (ordered[place - 1] == "'" and not single_open)
            ):
                place -= 1
        ordered.insert(place, word)
    return ordered
