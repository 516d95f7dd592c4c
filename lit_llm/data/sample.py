"""Fewer examples than there are: a random part of each split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lit_llm.data.augmentation import AugmentationConfig

_SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class SampleConfig:
    """How many examples of each split are used, drawn at random without replacement.

    Of one seed, the smaller sample is a part of the larger one.

    Attributes:
        train: training examples; all of them by default.
        val: development examples; labels chosen on count as much as those trained on.
        test: test examples, the same for every seed.
        unlabelled: of ``data.unlabelled``, beside the training examples; all of them by default.
        seed: of all but ``test``; default the run's ``seed_everything``.
        augmentation: changed copies of the training examples; none by default.
    """

    train: int | None = None
    val: int | None = None
    test: int | None = None
    unlabelled: int | None = None
    seed: int | None = None
    augmentation: AugmentationConfig | None = None

    def __post_init__(self) -> None:
        for split in (*_SPLITS, "unlabelled"):
            value = getattr(self, split)
            if value is not None and value < 1:
                raise ValueError(f"sample.{split} must be at least 1, not {value}")

    def draw(self, split: str, total: int, run_seed: int) -> tuple[list[int], int] | None:
        """The positions of the examples used, in file order, and the seed they were drawn with.

        Returns:
            None where the split is used whole.

        Raises:
            ValueError: there are fewer than ``total``.
        """
        number = getattr(self, split)
        if number is None:
            return None
        if number > total:
            raise ValueError(f"sample.{split} = {number:,}, but there are {total:,} examples")
        seed = 0 if split == "test" else run_seed if self.seed is None else self.seed
        order = np.random.default_rng([seed, _SPLITS.index(split)]).permutation(total)
        return sorted(order[:number].tolist()), seed


class Selection(Sequence[dict[str, Any]]):
    """Some rows of a table, in the order given."""

    def __init__(self, rows: Sequence[dict[str, Any]], positions: Sequence[int]) -> None:
        self._rows, self._positions = rows, positions

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, index: Any) -> Any:
        return self._rows[self._positions[index]]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self._rows[position] for position in self._positions)
