"""Tokenizers trained on the spot, for models from scratch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

_CHARACTERS = 1000  # as many as the library keeps unless told otherwise
TokenizerKind = Literal["wordpiece", "byte_level_bpe"]


def train_tokenizer(
    texts: Iterable[str], kind: TokenizerKind = "wordpiece", vocab_size: int = 8000
) -> PreTrainedTokenizerFast:
    """A tokenizer learned from texts by the ``tokenizers`` library.

    Args:
        texts: raw text, read once or twice; held in memory if it can be read only once.
        kind: ``wordpiece`` (cased, BERT's special tokens and template) or ``byte_level_bpe``
            (GPT-2's, with ``<|endoftext|>`` for every special role and no template).
        vocab_size: entries at most, special tokens included.

    Raises:
        ValueError: another kind, or no text at all.
    """
    if kind == "wordpiece":
        return _wordpiece(texts, vocab_size)
    if kind == "byte_level_bpe":
        return _byte_level_bpe(texts, vocab_size)
    raise ValueError(f"a tokenizer is wordpiece or byte_level_bpe, not {kind!r}")


def _wordpiece(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """The same vocabulary for the same texts, which the library's trainer alone does not give.

    It numbers a text's characters in the order of a hash table, and ties between pairs are broken
    by those numbers. So they are handed to it in sorted order, as if they were special tokens.
    """
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    texts = list(texts) if isinstance(texts, Iterator) else texts
    learner = _bert_tokenizer(models.WordPiece(unk_token="[UNK]"))
    alphabet, pieces = _alphabet(learner, texts)
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        special_tokens=[*special, *pieces],
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    _train(learner, texts, trainer)
    tokenizer = _bert_tokenizer(models.WordPiece(learner.get_vocab(), unk_token="[UNK]"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def _bert_tokenizer(model: models.WordPiece) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def _alphabet(tokenizer: Tokenizer, texts: Iterable[str]) -> tuple[list[str], list[str]]:
    """The most frequent characters, sorted, and the pieces of one character they make."""
    words = Counter(
        word
        for text in texts
        for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(
            tokenizer.normalizer.normalize_str(text)
        )
    )
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            counts[character] += count
    ranked = sorted(counts, key=lambda character: (-counts[character], character))
    kept = sorted(ranked[:_CHARACTERS])
    first = {word[0] for word in words}
    later = {character for word in words for character in word[1:]}
    pieces = [c for c in kept if c in first] + [f"##{c}" for c in kept if c in later]
    return kept, pieces


def _byte_level_bpe(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    end = "<|endoftext|>"
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[end],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    _train(tokenizer, texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=end, unk_token=end, bos_token=end, eos_token=end
    )


def _train(tokenizer: Any, texts: Iterable[str], trainer: Any) -> None:
    seen = 0

    def counted() -> Iterable[str]:
        nonlocal seen
        for text in texts:
            seen += 1
            yield text

    tokenizer.train_from_iterator(counted(), trainer)
    if not seen:
        raise ValueError("there is no text to train a tokenizer on")
