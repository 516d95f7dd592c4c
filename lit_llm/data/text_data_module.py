"""Texts with a label, whatever they are read from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from lit_llm.batch import Item
from lit_llm.data.batch_config import BatchConfig
from lit_llm.data.cache import fingerprint
from lit_llm.data.corpus_source import CorpusSource
from lit_llm.data.data_module import PackedDataModule
from lit_llm.data.in_force import run_seed
from lit_llm.data.sample import SampleConfig
from lit_llm.data.text_items import Truncation, TruncationCount, text_items
from lit_llm.data.unlabelled import check_source, drawn_texts, unlabelled_texts


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
        unlabelled: texts without a label that are trained on too, for a teacher to say what they
            are (``Distillation``); those that are evaluated on are left out.
    """

    def __init__(
        self,
        truncation: Truncation,
        max_length: int | None,
        batches: BatchConfig,
        cache_dir: str | None,
        sample: SampleConfig = SampleConfig(),
        unlabelled: CorpusSource | None = None,
    ) -> None:
        super().__init__(max_length, batches, cache_dir, sample)
        self.truncation: Truncation = truncation
        self.unlabelled = unlabelled
        if unlabelled is not None:
            check_source(unlabelled)
        if sample.unlabelled is not None and unlabelled is None:
            raise ValueError("data.sample.unlabelled: say where the texts are: data.unlabelled")

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
        """Texts cut or windowed to ``max_length``, labels as class indices.

        Where some texts have no label, ``label_weights`` are the ``weights`` of those that have.
        """
        assert self.max_length is not None
        count = TruncationCount()
        labelled = [example["label"] is not None for example in examples]
        all_are = all(labelled)
        of_any = next(
            (self._encode(e) for e, has in zip(examples, labelled, strict=True) if has), 0
        )
        labels = [
            self._encode(example) if has else of_any
            for example, has in zip(examples, labelled, strict=True)
        ]
        for item in text_items(
            examples, backbone.tokenizer, self.max_length, self.truncation, labels, count=count
        ):
            if not all_are:
                item["label_weights"] = item["weights"] * labelled[item["unit_ids"]]
            yield item
        if count.num_cut or count.num_windowed:
            notices["texts longer than max_length"] = count.num_cut + count.num_windowed
            notices[f"of {count.num_tokens:,} tokens left unread"] = count.num_tokens_lost

    def add_unlabelled(self, key: str) -> str:
        """The texts of ``unlabelled``, drawn by the run's seed.

        Raises:
            ValueError: nobody says what they are; or as ``drawn_texts``.
        """
        assert self.trainer is not None
        if self.unlabelled is None or self.trainer.state.fn != "fit":
            return key
        if "targets" not in self._counted_by().values():
            raise ValueError(
                "data.unlabelled: texts without a label need a teacher: train with "
                "lit_llm.objectives.distillation.Distillation, or leave them out"
            )
        texts, name = unlabelled_texts(self.unlabelled, self.cache_dir)
        seed = run_seed() if self.sample.seed is None else self.sample.seed
        evaluated = [e for split in ("val", "test") for e in self._examples.get(split, ())]
        fields = list(self._examples["train"][0])
        number = self.sample.unlabelled
        more, places, left_out = drawn_texts(texts, number, seed, evaluated, fields)
        self._examples["train"] = [*self._examples["train"], *more]
        self.notices["train"][f"texts without a label, drawn with seed {seed}"] = len(more)
        if left_out:
            self.notices["train"]["texts without a label left out: evaluated on"] = left_out
        return fingerprint([key, name, places])

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
