"""In which order training examples come when the easy ones come first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lit_llm.data.rows import epoch_order

Score = Literal["length", "rarity", "random", "column", "file"]
Pacing = Literal["root", "linear", "tokens", "baby_steps", "one_pass"]
KEY = "batches.curriculum"


@dataclass(frozen=True)
class CurriculumConfig:
    """Which examples are drawn from at first, and when all of them are.

    The examples are ranked by a difficulty score; each example of the run is drawn at random from
    the part of the ranking that ``pacing`` opens at that point. After ``epochs`` every data epoch
    is a plain permutation again.

    Attributes:
        score: what makes an example difficult. ``length``: its tokens. ``rarity``: minus the sum
            of the log relative frequencies of its tokens in the training split. ``random``: nothing
            (the control). ``column``: the field ``key`` of the examples. ``file``: what ``path``
            says, such as another model's loss.
        pacing: ``root`` and ``linear``: the easiest part c of the ranking, where c grows from
            ``start`` to 1 with the square root, or in proportion; ``tokens``: the examples of at
            most so many tokens, from ``start_tokens`` to the longest in proportion; ``baby_steps``:
            the easiest of ``buckets`` equal parts, then the easiest two, ...; ``one_pass``: one
            part after the other.
        epochs: data epochs until all examples are drawn from.
        start: the part of the ranking at the beginning, in (0, 1].
        start_tokens: of ``tokens``.
        buckets: of ``baby_steps`` and ``one_pass``.
        hardest_first: the ranking is turned round (anti-curriculum).
        path: of ``file``: JSON lines with an example's ``id`` and its score under ``key``.
        key: of ``column`` and ``file``.

    Source:
        ``root``, ``linear``, ``rarity``: Platanios et al. 2019, sections 3.1 and 3.2,
        arXiv:1903.09848; differs: tokens are sub-words, and progress is measured in examples seen,
        not in steps. ``baby_steps``: Spitkovsky et al. 2010; ``one_pass``: Bengio et al. 2009.
    """

    score: Score = "length"
    pacing: Pacing = "root"
    epochs: float = 1.0
    start: float = 0.01
    start_tokens: int = 16
    buckets: int = 5
    hardest_first: bool = False
    path: str | None = None
    key: str = "loss"

    def __post_init__(self) -> None:
        for key, kinds in (("score", Score), ("pacing", Pacing)):
            if getattr(self, key) not in get_args(kinds):
                names = ", ".join(get_args(kinds))
                raise ValueError(f"{KEY}.{key} is one of {names}, not {getattr(self, key)!r}")
        if not self.epochs > 0:
            raise ValueError(f"{KEY}.epochs must be above 0, not {self.epochs}")
        if not 0 < self.start <= 1:
            raise ValueError(f"{KEY}.start must lie in (0, 1], not {self.start}")
        for key in ("start_tokens", "buckets"):
            if getattr(self, key) < 1:
                raise ValueError(f"{KEY}.{key} must be at least 1, not {getattr(self, key)}")
        if (self.score == "file") != (self.path is not None):
            raise ValueError(f"{KEY}.path belongs to score: file, and the score is {self.score}")
        if self.pacing == "tokens" and (self.score != "length" or self.hardest_first):
            raise ValueError(f"{KEY}.pacing: tokens needs score: length, the shortest first")


class Curriculum:
    """The order of the examples in each data epoch, a function of (seed, epoch).

    Args:
        config: ranking and pacing.
        scores: (B,), the difficulty of each example; equal ones keep their order.
        lengths: (B,), tokens of each example.

    Raises:
        ValueError: a score that is not a number.
    """

    def __init__(self, config: CurriculumConfig, scores: ArrayLike, lengths: ArrayLike) -> None:
        self.config = config
        values = np.asarray(scores, np.float64)
        if np.isnan(values).any():
            raise ValueError(f"{KEY}: example {int(np.isnan(values).argmax())} has no score")
        signed = -values if config.hardest_first else values
        self.ranking: NDArray[np.int32] = np.argsort(signed, kind="stable").astype(np.int32)
        self._sorted_lengths = np.asarray(lengths)[self.ranking]

    def order(self, seed: int, epoch: int) -> NDArray[np.int32]:
        """(B,), the examples as they come in a data epoch, from 0; some twice, some not at all."""
        count = len(self.ranking)
        if epoch >= self.config.epochs:
            return epoch_order(count, seed, epoch)
        progress = (epoch + np.arange(count) / count) / self.config.epochs
        low, high = self.bounds(progress)
        first = np.floor(low * count)
        width = np.maximum(np.ceil(high * count - 1e-9) - first, 1.0)
        drawn = np.random.default_rng([seed, epoch]).random(count)
        places = (first + np.floor(drawn * width)).astype(np.int64)
        chosen: NDArray[np.int32] = self.ranking[places]
        return chosen

    def bounds(self, progress: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """From where to where in the ranking is drawn, as parts of it, in [0, 1].

        Args:
            progress: any shape; 0 at the beginning, from 1 on everything is drawn from.
        """
        config, low = self.config, np.zeros_like(progress)
        if config.pacing == "root":
            high = np.sqrt(progress * (1 - config.start**2) + config.start**2)
        elif config.pacing == "linear":
            high = progress * (1 - config.start) + config.start
        elif config.pacing == "tokens":
            longest = float(self._sorted_lengths[-1])
            limit = config.start_tokens + progress * (longest - config.start_tokens)
            high = np.searchsorted(self._sorted_lengths, limit, side="right") / len(self.ranking)
        else:
            step = np.floor(progress * config.buckets)
            high = (step + 1) / config.buckets
            low = step / config.buckets if config.pacing == "one_pass" else low
        over = progress >= 1
        return np.where(over, 0.0, low), np.where(over, 1.0, np.minimum(high, 1.0))
