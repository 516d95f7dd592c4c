"""Several labelled data sets as one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from lit_llm.batch import Item
from lit_llm.data.batch_config import BatchConfig
from lit_llm.data.data_module import PackedDataModule, Split
from lit_llm.data.sample import SampleConfig
from lit_llm.data.tagged_data_module import TaggedDataModule
from lit_llm.data.text_data_module import TextDataModule


class Joined(PackedDataModule):
    """Trains on several data sets of one kind, and evaluates on one of them.

    Examples carry the name of their data set in the field ``dataset``, which ``batches.stages`` can
    ask for; labels are those of all training examples.

    Args:
        datasets: the data modules, all of tagged words or all of labelled texts, by name; items are
            made with the settings they share.
        evaluate: whose development and test examples are used; default the last one's.
        max_length: tokens of the longest item, special tokens included.
        batches: how examples are laid out in batches.
        cache_dir: where tokenised data is kept.
        sample: how many examples of each split are used, of all data sets together.

    Raises:
        ValueError: no data set, different kinds or settings, one that has settings of what is the
            whole's, or a name under ``evaluate`` that there is not.
    """

    def __init__(
        self,
        datasets: dict[str, PackedDataModule],
        evaluate: str | None = None,
        max_length: int | None = None,
        batches: BatchConfig = BatchConfig(),
        cache_dir: str | None = None,
        sample: SampleConfig = SampleConfig(),
    ) -> None:
        super().__init__(max_length, batches, cache_dir, sample)
        if not datasets:
            raise ValueError("data.datasets is empty: name at least one")
        self.datasets = dict(datasets)
        self.evaluate = evaluate or list(datasets)[-1]
        if self.evaluate not in datasets:
            known = ", ".join(datasets)
            raise ValueError(
                f"data.evaluate: no data set is called {evaluate!r}; there are {known}"
            )
        self.first = next(iter(datasets.values()))
        for name, data in datasets.items():
            self._check(f"data.datasets.{name}", data)

    def read(self, split: Split) -> Iterator[Mapping[str, Any]]:
        """Training examples of all data sets, one after the other; else those of one.

        Raises:
            ValueError: the examples of two data sets have different fields.
        """
        fields: list[str] = []
        documents = 0
        for name, data in self._of(split).items():
            last = -1
            for example in data.read(split):
                joined = {**example, "id": f"{name}/{example['id']}", "dataset": name}
                if "document" in example:  # no context crosses from one data set to the next
                    last = max(last, example["document"])
                    joined["document"] = example["document"] + documents
                fields = fields or sorted(joined)
                if sorted(joined) != fields:
                    raise ValueError(
                        f"data.datasets.{name}: examples have {', '.join(sorted(joined))}, those "
                        f"before them {', '.join(fields)}; give them the same"
                    )
                yield joined
            documents += last + 1
            for what, count in data.notices.get(split, {}).items():
                notices = self.notices.setdefault(split, {})
                notices[what] = notices.get(what, 0) + count

    def source(self, split: Split) -> Any:
        """Each data set's name and source."""
        sources = [[name, data.source(split)] for name, data in self._of(split).items()]
        for name, source in sources:
            if source is None and split == "train":
                raise ValueError(f"data.datasets.{name} has no training split")
        return None if sources[0][1] is None else sources

    def find_label_names(self, examples: Iterable[dict[str, Any]]) -> list[str]:
        """The classes of all training examples."""
        return self.first.find_label_names(examples)

    def items(
        self, examples: Sequence[dict[str, Any]], backbone: Any, notices: dict[str, int]
    ) -> Iterator[Item]:
        """As the data sets' own."""
        self.first.max_length, self.first.label_names = self.max_length, self.label_names
        return self.first.items(examples, backbone, notices)

    def item_options(self) -> dict[str, Any]:
        """Those that the data sets share."""
        return self.first.item_options()

    def texts(self, examples: Iterable[dict[str, Any]]) -> Iterator[str]:
        """As the data sets' own."""
        return self.first.texts(examples)

    def units_of(self, example: dict[str, Any]) -> int:
        """As the data sets' own."""
        return self.first.units_of(example)

    def reference_rows(self) -> dict[str, float]:
        """Those of the data set that is evaluated."""
        return self.datasets[self.evaluate].reference_rows()

    def _of(self, split: Split) -> dict[str, PackedDataModule]:
        return self.datasets if split == "train" else {self.evaluate: self.datasets[self.evaluate]}

    def _check(self, key: str, data: PackedDataModule) -> None:
        kinds = {TaggedDataModule: "tagged words", TextDataModule: "labelled texts"}
        kind = next((k for k in kinds if isinstance(data, k)), None)
        if kind is None:
            raise ValueError(
                f"{key}: {type(data).__name__} holds no labelled examples; several corpora are "
                "data.sources of one data module"
            )
        if not isinstance(self.first, kind):
            raise ValueError(f"{key} holds {kinds[kind]}, and the first data set something else")
        if data.item_options() != self.first.item_options():
            raise ValueError(
                f"{key}: {data.item_options()}, and the first data set {self.first.item_options()};"
                " give them the same"
            )
        if getattr(data, "unlabelled", None) is not None:
            raise ValueError(f"{key}.unlabelled: joined data sets take no texts without a label")
        plain = {"max_length": None, "batches": BatchConfig(), "sample": SampleConfig()}
        for name, value in plain.items():
            if getattr(data, name) != value:
                raise ValueError(f"{key}.{name} is a setting of the whole: give it as data.{name}")
