"""Sentences of given words -> items in which every word is scored once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any, Literal, NamedTuple

from lit_llm.data.subwords import Subwords
from lit_llm.data.windows import best_window, context_widths, windows_at_borders

Example = Mapping[str, Any]


def token_items(
    examples: Sequence[Example],
    tokenizer: Any,
    max_length: int,
    context: str = "none",
    target_subword: Literal["first", "last"] = "first",
    label_ids: Mapping[str, int] | None = None,
) -> Iterator[dict[str, Any]]:
    """Tokenise sentences for word-level classification.

    A sentence longer than the limit is split into overlapping windows (half a window apart) at
    word borders; each word is scored in the window where its smaller side of context is largest.
    A single word longer than the limit keeps the sub-words that fit, its target among them.
    A sentence without words makes no item.

    Args:
        examples: one per sentence, in file order: ``words``, ``id`` for messages, ``tags`` where
            ``label_ids`` is given, ``document`` where a context is (consecutive sentences with the
            same value are one document).
        tokenizer: a transformers fast tokenizer; not changed.
        max_length: tokens of an item at most, special ones included.
        context: ``none``, one sentence an item; ``document_windows``, as many whole consecutive
            sentences of a document as fit, all scored; ``surround(k)``, one sentence with up to k
            sub-words of its document on each side, which are not scored (evenly less where
            ``max_length`` has no room; none around a sentence that is itself split).
        target_subword: which sub-word a word is read at: ``last`` for causal backbones, which have
            not seen the word's end before.
        label_ids: class index of each tag; without it items have no ``labels``.

    Returns:
        Items, in file order: ``input_ids``, ``target_positions``, ``labels``, and ``unit_ids``,
        the running number of the word over all examples.

    Raises:
        ValueError: bad ``context``, ``target_subword`` or ``max_length``; words and tags that do
            not pair up or a tag that has no label, with the example's id; a word the tokenizer
            has no token for.

    Source:
        Surround: Schweter and Akbik 2020 (FLERT), section 2, arXiv:2011.06993. Largest smaller
        side: "max context" of Devlin et al.'s question answering, arXiv:1810.04805.
    """
    kind, width = parse_context(context)
    if target_subword not in ("first", "last"):
        raise ValueError(f"target_subword must be first or last, not {target_subword!r}")
    subwords = Subwords(tokenizer)
    capacity = subwords.capacity(max_length)
    words = [word for example in examples for word in example["words"]]
    num_words, pieces = len(words), subwords.of_words(words)
    for word, ids in pieces.items():
        pieces[word] = ids[:capacity] if target_subword == "first" else ids[-capacity:]

    def items() -> Iterator[dict[str, Any]]:
        for document in _documents(examples, pieces, label_ids, split=kind != "none"):
            for span in _spans(document, capacity, kind, width):
                yield _item(document, span, subwords, target_subword)

    return each_word_once(items(), num_words)


def parse_context(context: str) -> tuple[str, int]:
    """``none``, ``document_windows`` or ``surround(k)`` -> (name, k), k 0 but for the last.

    Raises:
        ValueError: it is none of them.
    """
    match = re.fullmatch(r"(none|document_windows)|surround\((\d+)\)", context.replace(" ", ""))
    if match is None:
        raise ValueError(
            f"context must be none, document_windows or surround(k), as surround(64): {context!r}"
        )
    return match[1] or "surround", int(match[2] or 0)


def each_word_once(items: Iterable[dict[str, Any]], num_words: int) -> Iterator[dict[str, Any]]:
    """Pass items on while their ``unit_ids`` are 0, 1, ..., ``num_words`` - 1 in order.

    Raises:
        ValueError: a word is left out, or stands twice.
    """
    expected = 0
    for item in items:
        end = expected + len(item["unit_ids"])
        if item["unit_ids"] != list(range(expected, end)):
            raise ValueError(f"an item scores words {item['unit_ids']}, after {expected} words")
        expected = end
        yield item
    if expected != num_words:
        raise ValueError(f"{expected} words are scored, but there are {num_words}")


@dataclass
class _Document:
    """Sentences end to end; without contexts a single one."""

    first_unit: int
    input_ids: list[int]
    word_borders: list[int]  # in tokens: starts of the W words, and the end
    sentence_borders: list[int]  # in words, likewise
    labels: list[int] | None


class _Span(NamedTuple):
    """An item: tokens ``start`` to ``end`` of a document, scoring words ``first`` to ``stop``."""

    start: int
    end: int
    first: int
    stop: int


def _documents(
    examples: Sequence[Example],
    pieces: Mapping[str, list[int]],
    label_ids: Mapping[str, int] | None,
    split: bool,
) -> Iterator[_Document]:
    unit = 0
    numbered = enumerate(examples)
    for _, group in groupby(numbered, key=lambda pair: pair[1]["document"] if split else pair[0]):
        document = _Document(unit, [], [0], [0], None if label_ids is None else [])
        for _, example in group:
            for word in example["words"]:
                document.input_ids += pieces[word]
                document.word_borders.append(len(document.input_ids))
            document.sentence_borders.append(len(document.word_borders) - 1)
            if document.labels is not None and label_ids is not None:
                document.labels += _labels(example, label_ids)
        unit += len(document.word_borders) - 1
        yield document


def _labels(example: Example, label_ids: Mapping[str, int]) -> list[int]:
    words, tags = example["words"], example["tags"]
    if len(words) != len(tags):
        raise ValueError(f"example {example['id']}: {len(words)} words but {len(tags)} tags")
    try:
        return [label_ids[tag] for tag in tags]
    except KeyError as error:
        raise ValueError(
            f"example {example['id']}: tag {error.args[0]!r} is not among the labels "
            f"{', '.join(label_ids)}"
        ) from None


def _spans(document: _Document, capacity: int, kind: str, width: int) -> Iterator[_Span]:
    borders, num_tokens = document.word_borders, len(document.input_ids)
    window: _Span | None = None  # document_windows: the one being filled
    for first, stop in pairwise(document.sentence_borders):
        if first == stop:
            continue
        start, end = borders[first], borders[stop]
        if window and end - window.start > capacity:
            yield window
            window = None
        if end - start > capacity:
            yield from _split_sentence(borders, first, stop, capacity)
        elif kind == "document_windows":
            begin = window or _Span(start, end, first, stop)
            window = _Span(begin.start, end, begin.first, stop)
        else:
            spare = capacity - (end - start)
            wanted = min(width, start), min(width, num_tokens - end)
            left, right = context_widths(*wanted, spare)
            yield _Span(start - left, end + right, first, stop)
    if window:
        yield window


def _split_sentence(borders: list[int], first: int, stop: int, capacity: int) -> Iterator[_Span]:
    windows = windows_at_borders(borders[first : stop + 1], capacity, max(1, capacity // 2))
    chosen = (
        (best_window(borders[word], borders[word + 1], windows), word)
        for word in range(first, stop)
    )
    for index, group in groupby(chosen, key=lambda pair: pair[0]):
        words = [word for _, word in group]
        start, end = windows[index]
        yield _Span(start, end, words[0], words[-1] + 1)


def _item(document: _Document, span: _Span, subwords: Subwords, target: str) -> dict[str, Any]:
    shift = len(subwords.prefix) - span.start
    borders = document.word_borders
    if target == "first":
        positions = [at + shift for at in borders[span.first : span.stop]]
    else:
        positions = [at - 1 + shift for at in borders[span.first + 1 : span.stop + 1]]
    item: dict[str, Any] = {
        "input_ids": subwords.prefix + document.input_ids[span.start : span.end] + subwords.suffix,
        "target_positions": positions,
        "unit_ids": list(range(document.first_unit + span.first, document.first_unit + span.stop)),
    }
    if document.labels is not None:
        item["labels"] = document.labels[span.first : span.stop]
    return item
