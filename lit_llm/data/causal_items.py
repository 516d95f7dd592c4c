"""Documents -> items for causal language modelling: every token is predicted exactly once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import tee
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lit_llm.batch import Item
from lit_llm.data.subwords import Subwords


def causal_items(
    texts: Iterable[str],
    tokenizer: Any,
    max_length: int,
    *,
    stream: bool = False,
    stride: int | None = None,
) -> Iterator[dict[str, Any]]:
    """Tokenise documents and cut them to items of at most ``max_length`` tokens.

    A document is its start token, its text and its end token: what the tokenizer's own template
    puts around a text, else its ``bos`` (``eos`` where it has none) before and its ``eos`` after.
    So every byte of it is predicted, and its end. An item begins with the token that the one before
    it ended with: each token but a document's first is the target of exactly one item.

    Args:
        texts: one document each; an empty one gives no item.
        tokenizer: a transformers fast tokenizer; not changed.
        max_length: tokens of an item at most, at least 2.
        stream: documents end to end in one stream, cut wherever ``max_length`` falls, so that
            tokens see what stands before them in another document.
        stride: tokens newly predicted in each item, at most ``max_length - 1``, the default; with
            fewer, an item begins with the tokens before them, which are read and not scored again.

    Returns:
        Items ``input_ids``, ``first`` (the first of them whose successor is scored), ``num_bytes``
        (of UTF-8 text: a document's, shared out evenly over its targets).

    Raises:
        ValueError: ``max_length`` or ``stride`` is too small or too large; the tokenizer has
            neither a start nor an end token.
    """
    if max_length < 2:
        raise ValueError(f"max_length = {max_length}: a token and its successor need at least 2")
    stride = max_length - 1 if stride is None else stride
    if not 1 <= stride < max_length:
        raise ValueError(
            f"eval_stride = {stride}: give 1 to max_length - 1 = {max_length - 1}, or null"
        )
    return _items(_documents(texts, tokenizer), max_length, stream, stride)


def served(item: Item) -> Item:
    """A stored item with its targets: the tokens from ``first`` on that have a successor."""
    ids, first = np.asarray(item["input_ids"]), int(item["first"])
    return {
        "input_ids": ids,
        "target_positions": np.arange(first, len(ids) - 1),
        "labels": ids[first + 1 :],
        "num_bytes": item["num_bytes"],
    }


Tokens = tuple[NDArray[np.int32], NDArray[np.int32]]
"""Token ids, and how many bytes of text each stands for; (T,) both."""


def _items(
    documents: Iterable[Tokens], max_length: int, stream: bool, stride: int
) -> Iterator[dict[str, Any]]:
    if stream:
        yield from _cut(_joined(documents), max_length, stride)
    else:
        for document in documents:
            yield from _cut([document], max_length, stride)


def _cut(parts: Iterable[Tokens], max_length: int, stride: int) -> Iterator[dict[str, Any]]:
    """Items of one run of tokens that comes in parts."""
    ids = num_bytes = np.zeros(0, np.int32)
    target = 1  # the next token to be predicted, counted from the item's own start

    def item(ids: NDArray[np.int32]) -> dict[str, Any]:
        scored = num_bytes[target : len(ids)]
        return {"input_ids": ids, "first": target - 1, "num_bytes": int(scored.sum())}

    for part in parts:
        ids, num_bytes = np.concatenate([ids, part[0]]), np.concatenate([num_bytes, part[1]])
        while len(ids) >= max_length:
            yield item(ids[:max_length])
            ids, num_bytes, target = ids[stride:], num_bytes[stride:], max_length - stride
    if target < len(ids):
        yield item(ids)


def _joined(documents: Iterable[Tokens]) -> Iterator[Tokens]:
    """Where a document ends and the next one starts with the same token, one of it is enough."""
    end = None
    for ids, num_bytes in documents:
        again = int(end is not None and ids[0] == end)
        yield ids[again:], num_bytes[again:]
        end = ids[-1]


def _documents(texts: Iterable[str], tokenizer: Any) -> Iterator[Tokens]:
    subwords = Subwords(tokenizer)
    start, end = document_ends(tokenizer, subwords)
    ours, theirs = tee(text for text in texts if text)
    for text, ids in zip(ours, subwords.of_texts(theirs), strict=True):
        whole = np.array([*start, *ids, *end], np.int32)
        reached = np.rint(np.linspace(0, len(text.encode()), len(whole) - len(start) + 1))
        shares = np.diff(reached.astype(np.int32))
        yield whole, np.concatenate([np.zeros(len(start), np.int32), shares])


def document_ends(tokenizer: Any, subwords: Subwords) -> tuple[list[int], list[int]]:
    """The tokens before and after a document.

    Raises:
        ValueError: the tokenizer has no token to start with: its first word could not be predicted.
    """
    first = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    last = tokenizer.eos_token_id
    start = subwords.prefix or ([] if first is None else [first])
    end = subwords.suffix or ([] if last is None else [last])
    if not start:
        raise ValueError(
            "backbone.tokenizer has neither a start nor an end token, so a text's first word could "
            "not be predicted: give it an eos_token, or train one (train:SIZE)"
        )
    return start, end
