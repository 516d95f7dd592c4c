"""A fast tokenizer's bare sub-words, in bulk: no truncation, no padding, no special tokens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tokenizers import Tokenizer

_BULK, _BULK_CHARACTERS = 1000, 1_000_000


class Subwords:
    """What items are made of: sub-word ids, and the special tokens that stand around them.

    Some tokenizers are published with truncation and padding to 128 tokens switched on; both are
    off here, on a copy, so the caller's tokenizer stays as it is. Token types of one sequence are
    all 0 in the models we run, so items carry none.

    Args:
        tokenizer: a transformers fast tokenizer.

    Attributes:
        prefix: ids the tokenizer's own template puts first ([CLS], <s>); may be empty.
        suffix: ids it puts last ([SEP], </s>); may be empty.

    Raises:
        ValueError: the tokenizer is not a fast one, or its template cannot be read.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._backend = plain_backend(tokenizer)
        self._tokenizer = tokenizer
        self.prefix, self.suffix = self._template()
        self._space = any(self._word_needs_space(probe) for probe in "aA1")

    def capacity(self, max_length: int) -> int:
        """Sub-words that fit in an item of ``max_length`` tokens beside the special ones.

        Raises:
            ValueError: none fits.
        """
        capacity = max_length - len(self.prefix) - len(self.suffix)
        if capacity < 1:
            raise ValueError(
                f"max_length = {max_length} leaves no room for a token beside the special ones: "
                f"give at least {max_length - capacity + 1}"
            )
        return capacity

    @property
    def joiner(self) -> str:
        """What must stand before a text for its sub-words to be those it has after other text.

        A blank where a word's first piece holds the blank before it (byte-level BPE), else nothing.
        """
        for probe in "aA1":
            alone, spaced, running = (
                self._backend.encode(text, add_special_tokens=False).ids
                for text in (probe, f" {probe}", f"{probe} {probe}")
            )
            if running == alone + spaced != alone + alone:
                return " "
        return ""

    def of_words(self, words: Iterable[str]) -> dict[str, list[int]]:
        """The sub-words of each distinct word, as inside running text.

        A byte-level tokenizer that knows a word start by the space before it is given that space:
        what ``add_prefix_space`` does, without a second tokenizer. A word that maps to nothing (a
        zero-width or control character) becomes the unknown token, so that it can be scored.

        Raises:
            ValueError: such a word, and the tokenizer has no unknown or end token to put there.
        """
        pieces: dict[str, list[int]] = {}
        for some in _chunks(dict.fromkeys(words)):
            for word, ids in zip(some, self._word_ids(some), strict=True):
                pieces[word] = ids or [self.unknown_id(word)]
        return pieces

    def of_texts(self, texts: Iterable[str]) -> Iterator[list[int]]:
        """The sub-words of each text, in order; none for a text without any."""
        for some in _chunks(texts):
            encodings = self._backend.encode_batch_fast(some, add_special_tokens=False)
            yield from (encoding.ids for encoding in encodings)

    def unknown_id(self, text: str) -> int:
        """The id that stands for ``text``, which the tokenizer maps to nothing.

        Raises:
            ValueError: the tokenizer has neither an unknown nor an end token.
        """
        for token_id in (self._tokenizer.unk_token_id, self._tokenizer.eos_token_id):
            if token_id is not None:
                return int(token_id)
        raise ValueError(f"the tokenizer maps {text!r} to nothing and has no unknown token for it")

    def _word_ids(self, words: Iterable[str]) -> list[list[int]]:
        space = " " if self._space else ""
        encodings = self._backend.encode_batch_fast(
            [[space + word] for word in words], is_pretokenized=True, add_special_tokens=False
        )
        return [encoding.ids for encoding in encodings]

    def _word_needs_space(self, probe: str) -> bool:
        """Whether only a space in front makes a given word what it is inside running text."""
        self._space = False
        alone, spaced = self._word_ids([probe, " " + probe])
        running = self._backend.encode(f"{probe} {probe}", add_special_tokens=False).ids
        if running == alone + alone or spaced == alone:
            return False
        return bool(spaced) and running[-len(spaced) :] == spaced

    def _template(self) -> tuple[list[int], list[int]]:
        for probe in ("a", "A", "1", self._tokenizer.unk_token, self._tokenizer.eos_token):
            bare = probe and self._backend.encode(probe, add_special_tokens=False).ids
            if bare:
                ids = self._backend.encode(probe).ids
                for start in range(len(ids) - len(bare) + 1):
                    if ids[start : start + len(bare)] == bare:
                        return ids[:start], ids[start + len(bare) :]
        raise ValueError(
            "the tokenizer knows none of 'a', 'A', '1' and has no unknown token: train it on text"
        )


def plain_backend(tokenizer: Any) -> Tokenizer:
    """A fast tokenizer's ``tokenizers`` object without truncation and padding.

    It is a copy where either is switched on, so the caller's tokenizer stays as it is.

    Raises:
        ValueError: the tokenizer is not a fast one.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        raise ValueError(
            f"{type(tokenizer).__name__} is not a fast tokenizer: give a directory or hub id "
            "that has a tokenizer.json"
        )
    if backend.truncation or backend.padding:
        backend = Tokenizer.from_str(backend.to_str())
        backend.encode_special_tokens = tokenizer.split_special_tokens
        backend.no_truncation()
        backend.no_padding()
    return backend


def _chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    """A thousand texts or a million characters: an Encoding takes much more memory than its ids."""
    chunk: list[str] = []
    size = 0
    for text in texts:
        chunk.append(text)
        size += len(text)
        if len(chunk) == _BULK or size > _BULK_CHARACTERS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
