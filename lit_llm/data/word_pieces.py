"""What masking must know of a vocabulary: its special tokens, and which pieces continue a word."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lit_llm.data.subwords import plain_backend

_ROLES = ("bos", "eos", "sep", "pad", "cls", "mask")


def vocabulary_size(tokenizer: Any) -> int:
    """V: one more than the largest id, added tokens included."""
    return 1 + max(plain_backend(tokenizer).get_vocab(with_added_tokens=True).values())


def special_tokens(tokenizer: Any) -> NDArray[np.bool_]:
    """Which ids never stand for text: (V,).

    The unknown token does stand for text, so it is not one of them, unless the tokenizer uses the
    same token in another role too (GPT-2's ``<|endoftext|>``).
    """
    special = np.zeros(vocabulary_size(tokenizer), np.bool_)
    added = plain_backend(tokenizer).get_added_tokens_decoder()
    special[[i for i, token in added.items() if token.special]] = True
    special[tokenizer.all_special_ids] = True
    roles = {getattr(tokenizer, f"{role}_token_id") for role in _ROLES}
    if tokenizer.unk_token_id is not None and tokenizer.unk_token_id not in roles:
        special[tokenizer.unk_token_id] = False
    return special


def continuing_pieces(tokenizer: Any) -> NDArray[np.bool_]:
    """Which ids continue the word of the token before them: (V,).

    Decided by how the tokenizer is built, not by its class:

    - a prefix of pieces inside words (WordPiece's ``##``): the pieces that carry it;
    - byte-level: the pieces that do not begin with white space (``Ġ``, ``Ċ``, ...), so that a comma
      belongs to the word before it;
    - SentencePiece: the pieces that do not begin with its mark for a space (``▁``), and so its
      unknown token;
    - a vocabulary of whole words: none.

    Added tokens are words of their own. A text's first piece may carry no mark of a space, so a
    sentence that was tokenised by itself must be given its space before it is joined to another.

    Raises:
        ValueError: another kind, such as pieces that mark the end of a word.
    """
    backend = plain_backend(tokenizer)
    built = json.loads(backend.to_str())
    marks = _word_start_marks(built)
    inner = built["model"].get("continuing_subword_prefix")
    continues = np.zeros(vocabulary_size(tokenizer), np.bool_)
    for piece, token_id in backend.get_vocab(with_added_tokens=False).items():
        if inner:
            continues[token_id] = piece.startswith(inner)
        elif marks:
            continues[token_id] = not piece.startswith(marks)
    return continues


def _word_start_marks(built: dict[str, Any]) -> tuple[str, ...]:
    """The characters a word's first piece begins with; none if pieces inside words are marked."""
    model = built["model"]
    parts = [*_parts(built["pre_tokenizer"]), *_parts(built["normalizer"])]
    parts += _parts(built["decoder"])
    if model["type"] == "WordLevel":
        return ()
    if not model.get("end_of_word_suffix"):
        if model.get("continuing_subword_prefix"):
            return ()
        if any(part.get("type") == "ByteLevel" for part in parts):
            # GPT-2's bytes as characters: those without a glyph are numbered on from 256.
            return tuple(chr(256 + code) for code in b"\t\n\v\f\r ")
        for part in parts:
            mark = part.get("replacement") if part.get("type") == "Metaspace" else None
            if mark or "▁" in part.values():
                return (mark or "▁",)
    raise ValueError(
        f"cannot tell which pieces of this tokenizer ({model['type']}) continue a word: "
        "set masking.unit to token, or use a WordPiece, byte-level BPE or SentencePiece tokenizer"
    )


def _parts(node: Any) -> Iterator[dict[str, Any]]:
    """All mappings inside a tokenizer's component."""
    if isinstance(node, dict):
        yield node
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for child in children:
        yield from _parts(child)
