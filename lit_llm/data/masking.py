"""Dynamic masking of tokenised items: what a masked language model is asked, and where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lit_llm.data.masked_units import Words, choose_spans, choose_tokens, choose_words
from lit_llm.data.word_pieces import continuing_pieces, special_tokens, vocabulary_size

MaskedUnit = Literal["token", "whole_word", "span"]


@dataclass(frozen=True)
class MaskingConfig:
    """Which tokens are scored, and what stands in their place.

    Attributes:
        rate: fraction of the maskable tokens that are scored, in [0, 1].
        mask_fraction: of the scored tokens, those replaced by the mask token.
        random_fraction: of the scored tokens, those replaced by a random token; the rest stays as
            it is. The two are probabilities, drawn for each token, or for each span.
        unit: what is masked together: single tokens, whole words, or spans of words.
        span_prob: parameter of the geometric distribution of a span's length in words.
        span_max_words: the longest span; the distribution is cut off there (mean 3.8 words).
        variants: how many fixed ways of masking each training item has, one of which is drawn each
            time; default it is masked anew each time. 1 is static masking.

    Source:
        Devlin et al. 2019, section 3.1 and appendix A.1, arXiv:1810.04805; Joshi et al. 2020,
        section 3.1, arXiv:1907.10529 (spans); a few maskings of each text, drawn beforehand: Liu
        et al. 2019, section 4.1, arXiv:1907.11692 (ten, in BERT's data).
    """

    rate: float = 0.15
    mask_fraction: float = 0.8
    random_fraction: float = 0.1
    unit: MaskedUnit = "token"
    span_prob: float = 0.2
    span_max_words: int = 10
    variants: int | None = None

    def __post_init__(self) -> None:
        for key in ("rate", "mask_fraction", "random_fraction", "span_prob"):
            if not 0 <= getattr(self, key) <= 1:
                raise ValueError(f"masking.{key} must lie in [0, 1], not {getattr(self, key)}")
        if self.mask_fraction + self.random_fraction > 1 + 1e-9:  # 0.7 + 0.2 + 0.1 is above 1
            raise ValueError(
                "masking.mask_fraction and masking.random_fraction are more than 1 together: "
                f"{self.mask_fraction} + {self.random_fraction}"
            )
        if self.unit not in get_args(MaskedUnit):
            units = ", ".join(get_args(MaskedUnit))
            raise ValueError(f"masking.unit must be one of {units}, not {self.unit!r}")
        if self.span_prob == 0:
            raise ValueError("masking.span_prob must be above 0: spans would never end")
        if self.span_max_words < 1:
            raise ValueError(
                f"masking.span_max_words must be at least 1, not {self.span_max_words}"
            )
        if self.variants is not None and self.variants < 1:
            raise ValueError(f"masking.variants must be at least 1, not {self.variants}")


class Masking:
    """Masks items, as a pure function of (seed, key, item): the same in any process.

    Special tokens are never masked, an unknown word is (BERT does so too). How many tokens of an
    item are scored follows from how many could be, exactly and for every unit, so that losses can
    be divided by counts that are known before anything is masked.

    Args:
        config: what is masked, and how.
        tokenizer: a transformers fast tokenizer; only numbers are kept of it.
        seed: of all draws.

    Raises:
        ValueError: the tokenizer is not a fast one, has no mask token or nothing but special
            tokens; words are masked and the tokenizer does not say where they begin.

    Source:
        Devlin et al. 2019, section 3.1, arXiv:1810.04805; whole words: the BERT repository's README
        of 2019-05-31; a fresh mask each time: Liu et al. 2019, section 4.1, arXiv:1907.11692.
        Differs: the rate is of the maskable tokens (BERT: special ones counted in) and reached
        exactly, where BERT stops at the last whole word that fits; there is no upper limit besides;
        random replacements are never special tokens. For the units see ``masked_units``.
    """

    def __init__(self, config: MaskingConfig, tokenizer: Any, seed: int) -> None:
        self._special = special_tokens(tokenizer)
        if tokenizer.mask_token_id is None:
            raise ValueError(
                "backbone.tokenizer has no mask token, so nothing can be masked: use an encoder's "
                "tokenizer, or train one for an encoder (train:SIZE)"
            )
        self.config, self.seed = config, seed
        self._mask_id = tokenizer.mask_token_id
        replaceable = np.zeros(vocabulary_size(tokenizer), np.bool_)
        replaceable[list(tokenizer.get_vocab().values())] = True
        replaceable[self._special] = False
        if tokenizer.unk_token_id is not None:
            replaceable[tokenizer.unk_token_id] = False
        self._replacements = np.flatnonzero(replaceable)
        if not len(self._replacements):
            raise ValueError(
                "the tokenizer's vocabulary holds nothing but special tokens: train it on text "
                "with words, or give another as backbone.tokenizer"
            )
        self._continues = None if config.unit == "token" else continuing_pieces(tokenizer)

    def __call__(self, item: Mapping[str, Any], *key: int) -> dict[str, Any]:
        """The item as the model sees it, with what it is asked.

        Args:
            item: ``input_ids`` (L,), special tokens included; other entries are handed on.
            key: numbers that tell this draw from all others, none negative: the place in the
                training stream, the item. Always give equally many: (1,) and (1, 0) draw the same.

        Returns:
            The item with masked ``input_ids``, and with ``target_positions`` (M,), int64,
            ascending, from the item's own start, and ``labels`` (M,), the ids that stood there.

        Raises:
            ValueError: the item has ``labels`` or ``target_positions`` already; a negative key.
        """
        if "labels" in item or "target_positions" in item:
            raise ValueError("the item has labels or target_positions already")
        original = np.asarray(item["input_ids"])
        maskable = np.flatnonzero(~self._special[original])
        count = self.num_targets(len(maskable))
        masked = original.copy()
        positions = maskable[:0]
        if count:
            rng = np.random.default_rng([self.seed, *key])
            chosen, draws = self._choose(rng, original, maskable, count)
            positions = maskable[chosen]
            self._replace(rng, masked, positions, draws)
        return {
            **item,
            "input_ids": masked,
            "target_positions": positions,
            "labels": original[positions],
        }

    def variant(self, *key: int) -> int:
        """Which of the configuration's ``variants`` is served: from 0, a function of (seed, key).

        Each is as likely as the others. ``masking(item, variant, item_id)`` is the item then.
        """
        assert self.config.variants is not None
        # The 1 keeps the draw apart from what is masked with the same key.
        return int(np.random.default_rng([self.seed, *key, 1]).integers(self.config.variants))

    def num_maskable(self, input_ids: ArrayLike) -> int:
        """How many of an item's tokens are not special."""
        return int(np.count_nonzero(~self._special[np.asarray(input_ids)]))

    def num_targets(self, num_maskable: int) -> int:
        """M: how many tokens of an item are scored, from how many could be.

        The rate's share, rounded (half to even), but at least one; 0 where nothing is maskable.
        """
        return int(self.num_targets_of(num_maskable))

    def num_targets_of(self, num_maskable: ArrayLike) -> NDArray[np.int64]:
        """``num_targets`` of many items at once: (B,) -> (B,), int64."""
        maskable = np.asarray(num_maskable, np.int64)
        at_least = np.minimum(maskable, 1 if self.config.rate else 0)
        rounded = np.rint(self.config.rate * maskable).astype(np.int64)
        targets: NDArray[np.int64] = np.maximum(rounded, at_least)
        return targets

    def _choose(
        self,
        rng: np.random.Generator,
        original: NDArray[Any],
        maskable: NDArray[np.int64],
        count: int,
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Indices into ``maskable``, ascending, and for each the number that decides its fate."""
        if self._continues is None:
            return choose_tokens(rng, len(maskable), count), rng.random(count)
        words = Words(maskable, self._continues[original[maskable]])
        if self.config.unit == "whole_word":
            return choose_words(rng, words, count), rng.random(count)
        chosen, spans = choose_spans(
            rng, words, count, self.config.span_prob, self.config.span_max_words
        )
        return chosen, rng.random(count)[spans]

    def _replace(
        self,
        rng: np.random.Generator,
        masked: NDArray[Any],
        positions: NDArray[np.int64],
        draws: NDArray[np.float64],
    ) -> None:
        """80 % the mask token, 10 % a random one, or what the configuration says."""
        mask, random = self.config.mask_fraction, self.config.random_fraction
        masked[positions[draws < mask]] = self._mask_id
        others = positions[(draws >= mask) & (draws < mask + random)]
        masked[others] = rng.choice(self._replacements, len(others))
