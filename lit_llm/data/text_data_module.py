"""Texts with a label, whatever they are read from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from lit_llm.batch import Item
from lit_llm.data.batch_config import BatchConfig
from lit_llm.data.data_module import PackedDataModule
from lit_llm.data.sample import SampleConfig
from lit_llm.data.text_items import Truncation, TruncationCount, text_items


class TextDataModule(PackedDataModule):
    """Examples ``{"id", "text", "label"}``; a unit is a text.

    A label is a string (one class), a list of strings (several) or a number (regression).

    Args:
        truncation: what is read of a text longer than ``max_length``: its ``head``, its ``tail``,
            both (``head_tail``, Sun et al. 2019, section 5.3.1, arXiv:1905.05583), or all of it in
            overlapping ``windows`` that are averaged to one prediction.
        max_length: tokens of the longest item, special tokens included.
        batches: how examples are laid out in batches.
        cache_dir: where tokenised data is kept.
        sample: how many examples of each split are used.
    """

    def __init__(
        self,
        truncation: Truncation,
        max_length: int | None,
        batches: BatchConfig,
        cache_dir: str | None,
        sample: SampleConfig = SampleConfig(),
    ) -> None:
        super().__init__(max_length, batches, cache_dir, sample)
        self.truncation: Truncation = truncation

    def find_label_names(self, examples: Iterable[dict[str, Any]]) -> list[str]:
        """The classes of the training split, sorted; ``["value"]`` where labels are numbers."""
        names: set[str] = set()
        for example in examples:
            label = example["label"]
            if isinstance(label, float):
                return ["value"]
            names.update([label] if isinstance(label, str) else label)
        return sorted(names)

    def items(
        self, examples: Sequence[dict[str, Any]], backbone: Any, notices: dict[str, int]
    ) -> Iterator[Item]:
        """Texts cut or windowed to ``max_length``, labels as class indices."""
        assert self.max_length is not None
        count = TruncationCount()
        labels = [self._encode(example) for example in examples]
        yield from text_items(
            examples, backbone.tokenizer, self.max_length, self.truncation, labels, count=count
        )
        if count.num_cut or count.num_windowed:
            notices["texts longer than max_length"] = count.num_cut + count.num_windowed
            notices[f"of {count.num_tokens:,} tokens left unread"] = count.num_tokens_lost

    def item_options(self) -> dict[str, Any]:
        """The truncation."""
        return {"truncation": self.truncation}

    def texts(self, examples: Iterable[dict[str, Any]]) -> Iterator[str]:
        """The texts."""
        return (example["text"] for example in examples)

    def _encode(self, example: dict[str, Any]) -> int | float | list[float]:
        """A label as the loss wants it.

        Raises:
            ValueError: a label that the training split does not have; names the example.
        """
        label = example["label"]
        if isinstance(label, float):
            return label
        labels = [label] if isinstance(label, str) else label
        unknown = [name for name in labels if name not in self.label_names]
        if unknown:
            raise ValueError(
                f"{example['id']}: label {unknown[0]!r} is not one of {self.label_names}"
            )
        if isinstance(label, str):
            return self.label_names.index(label)
        return [float(name in label) for name in self.label_names]
