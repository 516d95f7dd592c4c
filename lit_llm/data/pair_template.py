"""Where a tokenizer's own template puts the special tokens around two texts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lit_llm.data.subwords import plain_backend


class PairTemplate:
    """Joins two sequences as the tokenizer does: [CLS] A [SEP] B [SEP], <s> A </s></s> B </s>.

    Token types are the template's too: 0 and 1 for BERT, all 0 for RoBERTa.

    Args:
        tokenizer: a transformers fast tokenizer; not changed.

    Attributes:
        num_special: special tokens of a pair.

    Raises:
        ValueError: the tokenizer is not a fast one, puts nothing between two texts, or its template
            cannot be read.
    """

    def __init__(self, tokenizer: Any) -> None:
        backend = plain_backend(tokenizer)
        for probe in ("a", "A", "1", tokenizer.unk_token, tokenizer.eos_token):
            if probe and backend.encode(probe, add_special_tokens=False).ids:
                break
        else:
            raise ValueError(
                "the tokenizer knows none of 'a', 'A', '1' and has no unknown token: train it on "
                "text"
            )
        encoding = backend.encode(probe, probe)
        sides = np.array([-1 if side is None else side for side in encoding.sequence_ids])
        a, b = np.flatnonzero(sides == 0), np.flatnonzero(sides == 1)
        if not len(a) or not len(b) or b[0] - a[-1] < 2:
            raise ValueError(
                "the template of backbone.tokenizer puts no separator between two texts: sentence "
                "pairs need one, such as BERT's [CLS] A [SEP] B [SEP]; use another tokenizer, "
                "train one (train:SIZE), or set model.sentence_objective to none"
            )
        ids, types = np.array(encoding.ids), np.array(encoding.type_ids)
        outside = (slice(0, a[0]), slice(a[-1] + 1, b[0]), slice(b[-1] + 1, None))
        self._ids = [ids[part] for part in outside]
        self._types = [types[part] for part in outside]
        self._type_of_a, self._type_of_b = types[a[0]], types[b[0]]
        self.num_special = sum(len(part) for part in self._ids)

    def capacity(self, max_length: int) -> int:
        """Tokens of both segments that fit in an item of ``max_length`` tokens.

        Raises:
            ValueError: not even two fit.
        """
        capacity = max_length - self.num_special
        if capacity < 2:
            raise ValueError(
                f"max_length = {max_length} leaves no room for two segments beside the special "
                f"tokens: give at least {self.num_special + 2}"
            )
        return capacity

    def join(self, a: ArrayLike, b: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(input_ids, token_type_ids), each (len(a) + len(b) + num_special,), int64."""
        a, b = np.asarray(a, np.int64), np.asarray(b, np.int64)
        prefix, middle, suffix = self._ids
        input_ids = np.concatenate([prefix, a, middle, b, suffix])
        types = np.repeat([self._type_of_a, self._type_of_b], [len(a), len(b)])
        before, between, after = self._types
        types_of_a, types_of_b = types[: len(a)], types[len(a) :]
        return input_ids, np.concatenate([before, types_of_a, between, types_of_b, after])
