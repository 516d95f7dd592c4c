"""Entity tags: which scheme a set of files is written in, and all of them to IOB2."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from itertools import chain
from sys import intern
from typing import Any, NamedTuple

Example = dict[str, Any]
"""One sentence: ``id`` (str), ``words`` and ``tags`` (lists of str), ``document`` (int).

The id is ``FILE:LINE`` (line of its first word) in column files, whose words stand on consecutive
lines, and ``FILE#NUMBER`` in tables: the row of a parquet file or hub data set, the line of a CSV,
TSV or JSONL file. Numbers count from 1.
"""

STRAY_STARTS = 100
SCHEMES = ("auto", "iob1", "iob2", "bioes")

_ENDS = {"L": "E", "U": "S"}  # BILOU's letters to BIOES'
_BY_LINE = (".csv", ".tsv", ".jsonl", ".json")


class TagError(ValueError):
    """A tag that does not fit, at token ``index`` of sentence ``sentence`` (both from 0)."""

    def __init__(self, reason: str, index: int, sentence: int = 0) -> None:
        super().__init__(reason)
        self.index = index
        self.sentence = sentence


class _Start(NamedTuple):
    sentence: int
    token: int
    tag: str


def split_tag(tag: str) -> tuple[str, str]:
    """``B-PER`` to ("B", "PER"), ``O`` to ("O", ""); the type may hold hyphens itself.

    Raises:
        ValueError: the tag is neither ``O`` nor one of B, I, E, S, L, U, a hyphen and a type.
    """
    if tag == "O":
        return "O", ""
    if len(tag) > 2 and tag[1] == "-" and tag[0] in "BIESLU":
        return tag[0], tag[2:]
    raise ValueError(
        f"unknown tag {tag!r}; a tag is O or a prefix (B, I, E, S, L or U), a hyphen and a type,"
        " like B-PER"
    )


def detect_scheme(sentences: Iterable[Sequence[str]]) -> str:
    """The scheme that all sentences together are written in.

    - E, S, L or U anywhere: ``bioes`` (BIOES, IOBES and BILOU differ in letters only).
    - else, if no ``I-`` starts an entity: ``iob2`` (also when every tag is O).
    - else, if every ``B-`` directly follows an entity of its own type, but for at most one in
      ``STRAY_STARTS`` of the starts with ``I-``: ``iob1``. (CoNLL-2003's own train file has two
      such strays, lines 152428 and 175436; a ``B-`` is a start in every scheme, so reading them
      is safe. An ``I-`` without a start in an IOB2 set is not: a word may have been lost.)
    - else the set is a mixture, and refused.

    An ``I-`` starts an entity when the tag before it is O, of another type, or absent.

    Raises:
        TagError: an unknown tag, or a mixture; then the error names the first start written in
            the rarer way (on a tie, the first ``I-``).
    """
    inside_starts: list[_Start] = []
    free_starts: list[_Start] = []
    ends = False
    for number, tags in enumerate(sentences):
        before = ""
        for index, tag in enumerate(tags):
            prefix, kind = _split(tag, index, number)
            if prefix not in "OBI":
                ends = True
            elif prefix != "O" and kind != before:
                (inside_starts if prefix == "I" else free_starts).append(_Start(number, index, tag))
            before = kind
    if ends:
        return "bioes"
    if not inside_starts:
        return "iob2"
    if len(free_starts) * STRAY_STARTS <= len(inside_starts):
        return "iob1"
    raise _mixture(inside_starts, free_starts)


def to_iob2(tags: Sequence[str], scheme: str) -> list[str]:
    """One sentence's tags in IOB2, the entities unchanged.

    ``iob1`` reads as conlleval does: ``B-`` always starts an entity, ``I-`` does when it does not
    continue one of its type. ``iob2`` and ``bioes`` must be well formed.

    Args:
        tags: of one sentence, in order; empty is allowed.
        scheme: ``iob1``, ``iob2`` or ``bioes``.

    Raises:
        TagError: an unknown tag, or one the scheme does not allow where it stands.
        ValueError: unknown scheme.

    Source:
        Tjong Kim Sang and Veenstra 1999, "Representing text chunks", for IOB1 and IOB2; Ratinov
        and Roth 2009 for BILOU; the shared task's conlleval for what an entity is.
    """
    if scheme not in SCHEMES[1:]:
        raise ValueError(f"unknown scheme {scheme!r}; use one of {', '.join(SCHEMES[1:])}")
    if scheme == "bioes":
        return _bioes_to_iob2(tags)
    converted = []
    before = ""
    for index, tag in enumerate(tags):
        prefix, kind = _split(tag, index)
        if prefix not in "OBI":
            raise TagError(f"{tag} is no {scheme.upper()} tag; pass scheme='bioes'", index)
        if scheme == "iob2" and prefix == "I" and kind != before:
            raise TagError(
                f"{tag} without a start: no {kind} tag stands before it; write B-{kind}, or pass"
                " scheme='iob1' to let I- start an entity",
                index,
            )
        starts = prefix == "B" or kind != before
        converted.append(intern(f"{'B' if starts else 'I'}-{kind}") if kind else "O")
        before = kind
    return converted


def convert_tags(splits: Iterable[list[Example]], scheme: str = "auto") -> str:
    """Rewrite the tags of all examples to IOB2, in place; the scheme is found over all splits.

    Returns:
        The scheme they were in.

    Raises:
        ValueError: as ``detect_scheme`` and ``to_iob2``, with the word's file and line.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"unknown scheme {scheme!r}; use one of {', '.join(SCHEMES)}")
    examples = list(chain.from_iterable(splits))
    if scheme == "auto":
        try:
            scheme = detect_scheme(example["tags"] for example in examples)
        except TagError as error:
            raise _located(error, examples[error.sentence]) from None
    for example in examples:
        try:
            example["tags"] = to_iob2(example["tags"], scheme)
        except TagError as error:
            raise _located(error, example) from None
    return scheme


def entity_types(examples: Iterable[Example]) -> list[str]:
    """The types that occur in the examples' tags, sorted."""
    tags = set(chain.from_iterable(example["tags"] for example in examples))
    return sorted({split_tag(tag)[1] for tag in tags} - {""})


def check_labels(examples: Iterable[Example], types: Collection[str]) -> None:
    """Refuse examples with an entity type that the training data does not have.

    Raises:
        ValueError: names the file and line of the first such tag, and the known types.
    """
    for example in examples:
        for index, tag in enumerate(example["tags"]):
            kind = split_tag(tag)[1]
            if kind and kind not in types:
                raise ValueError(
                    f"{word_location(example['id'], index)}: the type of {tag} is not in the"
                    f" training data, which has {', '.join(sorted(types)) or 'none'}; correct the"
                    " tag, or add the type to the training data"
                )


def word_location(example_id: str, index: int) -> str:
    """Where word ``index`` (from 0) of an example stands, for people: ``eng.train:14``."""
    if match := re.fullmatch(r"(.*):(\d+)", example_id, re.DOTALL):
        return f"{match[1]}:{int(match[2]) + index}"
    return f"{row_location(example_id)}, word {index + 1}"


def row_location(example_id: str) -> str:
    """Where a table's example stands, for people: ``dev.jsonl:3``, ``train.parquet row 7``."""
    name, _, number = example_id.rpartition("#")
    return f"{name}:{number}" if name.lower().endswith(_BY_LINE) else f"{name} row {number}"


def _split(tag: str, index: int, sentence: int = 0) -> tuple[str, str]:
    try:
        return split_tag(tag)
    except ValueError as error:
        raise TagError(str(error), index, sentence) from None


def _located(error: TagError, example: Example) -> ValueError:
    return ValueError(f"{word_location(example['id'], error.index)}: {error}")


def _mixture(inside_starts: list[_Start], free_starts: list[_Start]) -> TagError:
    """The error for a set in which some entities start with I- and others with a free B-."""
    remedy = "or pass scheme='iob1' to read the tags as conlleval does"
    if len(inside_starts) <= len(free_starts):
        start = inside_starts[0]
        kind = split_tag(start.tag)[1]
        reason = (
            f"{start.tag} without a start: {len(free_starts)} entities start with B-, but"
            f" {len(inside_starts)} with I-; write B-{kind}, {remedy}"
        )
    else:
        start = free_starts[0]
        kind = split_tag(start.tag)[1]
        reason = (
            f"{start.tag} follows no {kind} entity: {len(inside_starts)} entities start with I-"
            f" (IOB1), but {len(free_starts)} with B-; write I-{kind}, {remedy}"
        )
    return TagError(reason, start.token, start.sentence)


def _bioes_to_iob2(tags: Sequence[str]) -> list[str]:
    converted = []
    opened = ""  # type of the entity that still waits for its E-
    for index, tag in enumerate(tags):
        prefix, kind = _split(tag, index)
        prefix = _ENDS.get(prefix, prefix)
        if prefix in "IE" and kind != opened:
            raise TagError(
                f"{tag} without a start: no B-{kind} is open before it; correct it", index
            )
        if prefix in "OBS" and opened:
            raise TagError(
                f"{tag} follows a {opened} entity that has no end (E- or L-); correct the tags, or"
                " pass scheme='iob2' if these are IOB2 tags",
                index,
            )
        opened = kind if prefix in "BI" else ""
        letter = "B" if prefix in "BS" else "I"
        converted.append(intern(f"{letter}-{kind}") if kind else "O")
    if opened:
        raise TagError(
            f"the {opened} entity has no end (E- or L-) when its sentence ends; correct the tags",
            len(tags) - 1,
        )
    return converted
