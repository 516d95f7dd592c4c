"""The tokenizer of a backbone."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerFast

from lit_llm.backbone.loading import quiet_transformers
from lit_llm.backbone.source import has_tokenizer

_TRAIN = re.compile(r"train(?::(?P<kind>[a-z_]+))?(?::(?P<size>[0-9]+))?")
KINDS = ("wordpiece", "bpe", "byte_level_bpe")
"""What data can train; the backbone, below it, imports nothing of it."""
_DEFAULT_VOCAB_SIZE = 8000


def load_tokenizer(directory: Path) -> PreTrainedTokenizerFast:
    """Read a directory's tokenizer, with a padding token.

    A tokenizer without one pads with its end, start or unknown token: filler is never attended
    or scored, so which token it is has no effect.

    Raises:
        ValueError: the directory has none, a damaged one, one that needs code of its own, or only
            a slow one, which knows no character offsets.
    """
    if not has_tokenizer(directory):
        raise ValueError(f"{directory} holds no tokenizer: set backbone.tokenizer")
    try:
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(
                directory, trust_remote_code=False, local_files_only=True
            )
    except Exception as error:  # whatever the files' content makes of the reader
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{directory}: its tokenizer cannot be read: {reason}") from error
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(f"{directory}: {type(tokenizer).__name__} is no fast tokenizer")
    return with_padding(tokenizer)


def with_padding(tokenizer: Any) -> PreTrainedTokenizerFast:
    """The tokenizer, padding with another special token where it has none for it.

    Raises:
        ValueError: it has no special token at all.
    """
    if tokenizer.pad_token is None:
        others = (tokenizer.eos_token, tokenizer.bos_token, tokenizer.unk_token)
        token = next((token for token in others if token is not None), None)
        if token is None:
            raise ValueError("the tokenizer has no special token that could fill a row")
        tokenizer.pad_token = token
    return tokenizer  # type: ignore[no-any-return]


def tokenizer_to_train(spec: str | None, decoder: bool) -> dict[str, Any] | None:
    """What ``train``, ``train:SIZE`` or ``train:KIND:SIZE`` asks for, None for anything else.

    Returns:
        The arguments of ``train_tokenizer``. Unless told, BERT's kind for an encoder and GPT-2's
        for a decoder, 8,000 entries; the special tokens are BERT's or GPT-2's likewise.

    Raises:
        ValueError: it begins with ``train:`` and goes on otherwise.
    """
    if spec != "train" and not (spec or "").startswith("train:"):
        return None
    match = _TRAIN.fullmatch(spec or "")
    if match is None or (match["kind"] and match["kind"] not in KINDS):
        raise ValueError(
            f"backbone.tokenizer = {spec!r}: to train one say train:SIZE or train:KIND:SIZE, such "
            f"as train:bpe:8000; KIND is {', '.join(KINDS)}"
        )
    return {
        "kind": match["kind"] or ("byte_level_bpe" if decoder else "wordpiece"),
        "vocab_size": int(match["size"] or _DEFAULT_VOCAB_SIZE),
        "special_tokens": "gpt2" if decoder else "bert",
    }


def tokenizer_state(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """All that decides how a tokenizer cuts a text, as plain data."""
    state: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    for setting in ("truncation", "padding"):  # of the last call, not of the tokenizer
        state.pop(setting, None)
    return state


def check_fits(tokenizer: PreTrainedTokenizerFast, vocab_size: int, source: str) -> None:
    """Refuse a tokenizer with an id that the model has no embedding for.

    Raises:
        ValueError: says how many entries and embeddings there are.
    """
    entries = 1 + max(tokenizer.get_vocab().values())  # ids may have gaps
    if entries > vocab_size:
        raise ValueError(
            f"backbone.tokenizer has {entries} entries, {source!r} embeds {vocab_size}: leave it "
            "unset to take the model's own, or train a model from scratch (a size such as mini)"
        )


def check_same_vocabulary(tokenizer: PreTrainedTokenizerFast, directory: Path) -> None:
    """Refuse weights whose token ids mean something else.

    Raises:
        ValueError: the directory has a tokenizer, and its vocabulary differs.
    """
    if not has_tokenizer(directory):
        return
    theirs = load_tokenizer(directory).get_vocab()
    ours = tokenizer.get_vocab()
    if ours != theirs:
        different = min(set(ours.items()) ^ set(theirs.items()), key=lambda item: item[1])
        raise ValueError(
            f"init_from: {directory} has another vocabulary (first difference: {different[0]!r} "
            f"at {different[1]}): set backbone.tokenizer to {directory}"
        )
