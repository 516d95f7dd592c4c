"""Tokenizers trained on the spot, for models from scratch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, get_args

from tokenizers import (
    Regex,
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
TokenizerKind = Literal["wordpiece", "bpe", "byte_level_bpe"]
SpecialTokens = Literal["bert", "gpt2"]
_BERT = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
_END, _UNKNOWN = "<|endoftext|>", "<unk>"


def train_tokenizer(
    texts: Iterable[str],
    kind: TokenizerKind = "wordpiece",
    vocab_size: int = 8000,
    special_tokens: SpecialTokens | None = None,
) -> PreTrainedTokenizerFast:
    """A tokenizer learned from texts by the ``tokenizers`` library, cased.

    - ``wordpiece``: BERT's. A word is split at punctuation; which white space stood between two
      words is lost, and a word with a character it does not know is one unknown token.
    - ``bpe``: pieces of characters, a space marked by ``▁`` at the word it precedes, punctuation
      apart. Decoding gives the text back but for a blank at its beginning, ``▁`` itself (a blank)
      and characters beyond the 1,000 most frequent: each is an unknown token.
    - ``byte_level_bpe``: GPT-2's. Decoding gives any text back; nothing is unknown.

    The same texts give the same vocabulary in every process.

    Args:
        texts: raw text, read once or twice; held in memory if it can be read only once.
        kind: how text is cut.
        vocab_size: entries at most, special tokens included.
        special_tokens: ``bert``: [CLS] A [SEP] B [SEP], token types 0 and 1, and [MASK]; ``gpt2``:
            ``<|endoftext|>`` for every role, no template, and ``<unk>`` where something may be
            unknown. Default: ``gpt2`` for ``byte_level_bpe``, else ``bert``.

    Raises:
        ValueError: another kind, no text at all, or a ``vocab_size`` that special tokens and
            single characters exceed.
    """
    if kind not in get_args(TokenizerKind):
        raise ValueError(f"a tokenizer is {' or '.join(get_args(TokenizerKind))}, not {kind!r}")
    if special_tokens is None:
        special_tokens = "gpt2" if kind == "byte_level_bpe" else "bert"
    roles = _roles(kind, special_tokens)
    texts = list(texts) if isinstance(texts, Iterator) else texts
    trained = {"wordpiece": _wordpiece, "bpe": _bpe, "byte_level_bpe": _byte_level_bpe}[kind]
    tokenizer = trained(texts, vocab_size, list(dict.fromkeys(roles.values())))
    if (size := tokenizer.get_vocab_size()) > vocab_size:
        raise ValueError(
            f"a {kind} vocabulary of {vocab_size} entries has no room for special tokens and the "
            f"single {'bytes' if kind == 'byte_level_bpe' else 'characters'} of the text: give at "
            f"least {size}"
        )
    if special_tokens == "bert":
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
        )
    named = {f"{role}_token": token for role, token in roles.items()}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)


def _roles(kind: TokenizerKind, special_tokens: SpecialTokens) -> dict[str, str]:
    """The special tokens by role, in the order of their ids."""
    if special_tokens == "bert":
        return dict(_BERT)
    unknown = _END if kind == "byte_level_bpe" else _UNKNOWN
    return {"pad": _END, "bos": _END, "eos": _END, "unk": unknown}


def _wordpiece(texts: Iterable[str], vocab_size: int, special: list[str]) -> Tokenizer:
    """The same vocabulary for the same texts, which the library's trainer alone does not give.

    It numbers a text's characters in the order of a hash table, and ties between pairs are broken
    by those numbers. So they are handed to it in sorted order, as if they were special tokens.
    """
    unknown = special[1]
    learner = _bert_tokenizer(models.WordPiece(unk_token=unknown))
    alphabet, first, later = _alphabet(learner, texts)
    pieces = [c for c in alphabet if c in first] + [f"##{c}" for c in alphabet if c in later]
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        special_tokens=[*special, *pieces],
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    _train(learner, texts, trainer)
    return _bert_tokenizer(models.WordPiece(learner.get_vocab(), unk_token=unknown))


def _bpe(texts: Iterable[str], vocab_size: int, special: list[str]) -> Tokenizer:
    """SentencePiece's form of BPE; line ends and tabs, which running text may have, are known."""
    tokenizer = Tokenizer(models.BPE(unk_token=special[1]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme="always"),
            pre_tokenizers.Split(Regex(r"[\n\t]"), "isolated"),
            pre_tokenizers.Punctuation("isolated"),
        ]
    )
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    alphabet, _, _ = _alphabet(tokenizer, texts)
    alphabet = sorted({*alphabet, "▁", "\n", "\t"})
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special,
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    _train(tokenizer, texts, trainer)
    return tokenizer


def _bert_tokenizer(model: models.WordPiece) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def _alphabet(tokenizer: Tokenizer, texts: Iterable[str]) -> tuple[list[str], set[str], set[str]]:
    """The most frequent characters, sorted; those that begin a word; those inside one."""
    normalizer = tokenizer.normalizer
    words = Counter(
        word
        for text in texts
        for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(
            normalizer.normalize_str(text) if normalizer else text
        )
    )
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            counts[character] += count
    ranked = sorted(counts, key=lambda character: (-counts[character], character))
    first = {word[0] for word in words}
    later = {character for word in words for character in word[1:]}
    return sorted(ranked[:_CHARACTERS]), first, later


def _byte_level_bpe(texts: Iterable[str], vocab_size: int, special: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    _train(tokenizer, texts, trainer)
    return tokenizer


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


class Texts:
    """Examples' texts, made anew each time they are gone through.

    Args:
        texts: of examples, their texts.
        examples: which can be gone through again and again.
    """

    def __init__(
        self, texts: Callable[[Iterable[Any]], Iterator[str]], examples: Iterable[Any]
    ) -> None:
        self._texts, self._examples = texts, examples

    def __iter__(self) -> Iterator[str]:
        return self._texts(self._examples)
