"""What a bag of words says about two segments: do they follow each other?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


class SegmentBags:
    """Naive Bayes over which tokens stand in the first segment, the second, and both.

    The order of words inside a segment is not seen. A sentence objective that a model solves no
    better than this has taught it topics or first words, not order.

    Args:
        vocabulary_size: V.

    Source:
        McCallum and Nigam 1998, "A comparison of event models for naive Bayes" (multinomial, here
        over distinct tokens, with a smoothing of 1).
    """

    def __init__(self, vocabulary_size: int) -> None:
        self.vocabulary_size = vocabulary_size
        self._counts = np.ones((2, 3 * vocabulary_size))
        self._labels = np.ones(2)

    def learn(self, items: Iterable[Mapping[str, Any]]) -> SegmentBags:
        """Count items of which ``sentence_labels`` are known."""
        for item in items:
            label = int(item["sentence_labels"])
            self._counts[label, self._features(item)] += 1
            self._labels[label] += 1
        return self

    def predict(self, item: Mapping[str, Any]) -> int:
        """The more likely label, 0 or 1."""
        features = self._features(item)
        totals = self._counts.sum(1)
        scores = np.log(self._labels) + np.log(self._counts[:, features]).sum(1)
        scores -= len(features) * np.log(totals)
        return int(scores.argmax())

    def _features(self, item: Mapping[str, Any]) -> NDArray[np.int64]:
        ids, types = np.asarray(item["input_ids"]), np.asarray(item["token_type_ids"])
        first, second = (np.unique(ids[types == side]) for side in (0, 1))
        both = np.intersect1d(first, second, assume_unique=True)
        size = self.vocabulary_size
        return np.concatenate([first, second + size, both + 2 * size]).astype(np.int64)
