"""Texts -> items for classification, with every cut counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from lit_llm.data.subwords import Subwords
from lit_llm.data.windows import overlapping_windows

Truncation = Literal["head", "tail", "head_tail", "windows"]
Label = int | float | Sequence[float]


@dataclass
class TruncationCount:
    """What a limit on the length cost; ``text_items`` adds to it as its items are taken.

    Attributes:
        num_texts: texts seen.
        num_cut: of these, texts that lost tokens.
        num_windowed: of these, texts that became several windows (and lost nothing).
        num_items: items made.
        num_tokens: tokens of all texts, without special ones.
        num_tokens_lost: of these, tokens that are in no item.
    """

    num_texts: int = 0
    num_cut: int = 0
    num_windowed: int = 0
    num_items: int = 0
    num_tokens: int = 0
    num_tokens_lost: int = 0

    def __str__(self) -> str:
        """One line to print."""
        lost = 100 * self.num_tokens_lost / max(self.num_tokens, 1)
        line = (
            f"{self.num_cut:,} of {self.num_texts:,} texts cut, "
            f"{self.num_tokens_lost:,} of {self.num_tokens:,} tokens lost ({lost:.1f} %)"
        )
        if self.num_windowed:
            extra = self.num_items - (self.num_texts - self.num_windowed)
            line += f"; {self.num_windowed:,} long texts read in {extra:,} windows"
        return line


def text_items(
    examples: Sequence[Mapping[str, Any]],
    tokenizer: Any,
    max_length: int,
    truncation: Truncation = "head",
    labels: Sequence[Label] | None = None,
    stride: int | None = None,
    count: TruncationCount | None = None,
) -> Iterator[dict[str, Any]]:
    """Tokenise texts for text-level classification.

    A text that the tokenizer maps to nothing becomes the unknown token, so it is still predicted.

    Args:
        examples: ``text`` of each, in file order.
        tokenizer: a transformers fast tokenizer; not changed.
        max_length: tokens of an item at most, special ones included.
        truncation: what is kept of a longer text. ``head``: its first tokens; ``tail``: its last;
            ``head_tail``: the first 128/510 of the limit (without special tokens, rounded down)
            and the last tokens for the rest, 128 + 382 at 512; ``windows``: everything, as k
            overlapping windows of weight 1/k.
        labels: one per example, already numbers: int for a class, float for regression, a list of
            floats for multi-label; None for items without labels.
        stride: tokens from one window's start to the next; default half a window.
        count: receives what was cut.

    Returns:
        Items, in file order, windows of a text in a row: ``input_ids``, ``unit_ids`` (the text's
        place in ``examples``), ``weights`` (1/k, 1.0 for one item a text) and ``labels``.

    Raises:
        ValueError: bad ``truncation``, ``stride`` or ``max_length``; another number of labels than
            examples.

    Source:
        Sun et al. 2019, section 5.3.1, arXiv:1905.05583 (head, tail, head + tail).
    """
    if truncation not in get_args(Truncation):
        raise ValueError(f"truncation must be {', '.join(get_args(Truncation))}: {truncation!r}")
    if labels is not None and len(labels) != len(examples):
        raise ValueError(f"{len(examples)} examples but {len(labels)} labels")
    subwords = Subwords(tokenizer)
    capacity = subwords.capacity(max_length)
    stride = max(1, capacity // 2) if stride is None else stride
    overlapping_windows(0, capacity, stride)  # refuses a bad stride before the first long text
    tally = TruncationCount() if count is None else count
    texts = (example["text"] for example in examples)

    def items() -> Iterator[dict[str, Any]]:
        for unit, ids in enumerate(subwords.of_texts(texts)):
            parts = _parts(ids, capacity, truncation, stride)
            _add(tally, len(ids), parts, truncation)
            for part in parts:
                part = part or [subwords.unknown_id(examples[unit]["text"])]
                item: dict[str, Any] = {
                    "input_ids": subwords.prefix + part + subwords.suffix,
                    "unit_ids": unit,
                    "weights": 1 / len(parts),
                }
                if labels is not None:
                    item["labels"] = labels[unit]
                yield item

    return items()


def _parts(ids: list[int], capacity: int, truncation: Truncation, stride: int) -> list[list[int]]:
    if len(ids) <= capacity:
        return [ids]
    if truncation == "windows":
        return [ids[a:b] for a, b in overlapping_windows(len(ids), capacity, stride)]
    head = {"head": capacity, "tail": 0, "head_tail": capacity * 128 // 510}[truncation]
    return [ids[:head] + ids[len(ids) - (capacity - head) :]]


def _add(tally: TruncationCount, num: int, parts: list[list[int]], truncation: Truncation) -> None:
    lost = 0 if truncation == "windows" else num - len(parts[0])
    tally.num_texts += 1
    tally.num_cut += lost > 0
    tally.num_windowed += len(parts) > 1
    tally.num_items += len(parts)
    tally.num_tokens += num
    tally.num_tokens_lost += lost
