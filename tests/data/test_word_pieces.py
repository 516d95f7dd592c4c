import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from lit_llm.data.tokenizers import train_tokenizer
from lit_llm.data.word_pieces import continuing_pieces, special_tokens, vocabulary_size

TEXT = "unaffable cats, sat on 42 mats; naïve dogs ran"
TEXTS = [TEXT, "cats and dogs", "the mats ran on"] * 20


def fast(model, **parts):
    backend = Tokenizer(model)
    for name, part in parts.items():
        setattr(backend, name, part)
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")


def unigram(**parts):
    pieces = ["<unk>", "▁", *"abcdefghijklmnopqrstuvwxyz,;42ï", "▁cat", "▁sat", "at", "▁o"]
    return fast(models.Unigram([(piece, -float(len(piece) < 2)) for piece in pieces], 0), **parts)


def groups(tokenizer, text):
    """The text's tokens, a new list where a word begins."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    continues = continuing_pieces(tokenizer)[ids]
    words = []
    for token_id, inside in zip(ids, continues, strict=True):
        if inside and words:
            words[-1].append(token_id)
        else:
            words.append([token_id])
    return words


def test_wordpiece_words_are_those_of_its_own_splitting():
    tokenizer = train_tokenizer(TEXTS, vocab_size=60)
    encoding = tokenizer.backend_tokenizer.encode(TEXT, add_special_tokens=False)
    sizes = np.bincount(encoding.word_ids).tolist()
    assert [len(word) for word in groups(tokenizer, TEXT)] == sizes
    assert max(sizes) > 2


METASPACE = {"pre_tokenizer": pre_tokenizers.Metaspace(), "decoder": decoders.Metaspace()}
REPLACED = {  # as LLaMA's first conversion: the normalizer writes the marks
    "normalizer": normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
    "decoder": decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()]),
}


@pytest.mark.parametrize(
    "tokenizer",
    [
        train_tokenizer(TEXTS, "byte_level_bpe", 300),
        train_tokenizer(TEXTS, "bpe", 60),
        unigram(**METASPACE),
        unigram(pre_tokenizer=pre_tokenizers.Sequence([pre_tokenizers.Metaspace()])),
        unigram(**REPLACED),
    ],
    ids=["byte_level", "bpe", "metaspace", "in_a_sequence", "replaced"],
)
def test_pieces_with_marked_spaces_make_words_between_spaces(tokenizer):
    words = [tokenizer.decode(word) for word in groups(tokenizer, TEXT)]
    assert [word.replace("▁", "").replace(" ", "") for word in words] == TEXT.split()
    assert max(map(len, groups(tokenizer, TEXT))) > 1


def test_byte_level_pieces_begin_a_word_at_any_white_space():
    tokenizer = train_tokenizer(["a\nb\tc"], "byte_level_bpe", 257)
    assert [tokenizer.decode(w) for w in groups(tokenizer, "ab\ncd\tef")] == ["ab", "\ncd", "\tef"]


def test_whole_words_and_added_tokens_never_continue():
    words = fast(models.WordLevel({"<unk>": 0, "##s": 1}, unk_token="<unk>"))
    assert not continuing_pieces(words).any()
    tokenizer = unigram(**METASPACE)
    tokenizer.add_tokens(["covid"])
    assert not continuing_pieces(tokenizer)[tokenizer.convert_tokens_to_ids("covid")]


def test_unknown_characters_belong_to_their_word():
    words = groups(unigram(**METASPACE), "cat☃ ☃☃at sat")
    assert [word.count(0) for word in words] == [1, 1, 0]  # neighbours are one unknown token


def test_unknown_kinds_are_refused():
    clip = models.BPE({"a": 0, "a</w>": 1}, [], end_of_word_suffix="</w>")
    plain = models.BPE({"a": 0, "b": 1}, [])
    for tokenizer in (fast(clip, pre_tokenizer=pre_tokenizers.ByteLevel()), fast(plain)):
        with pytest.raises(ValueError, match=r"\(BPE\) continue a word: set masking.unit to token"):
            continuing_pieces(tokenizer)


def test_special_tokens_are_all_but_the_unknown_one():
    tokenizer = train_tokenizer(TEXTS, vocab_size=60)
    tokenizer.add_tokens([AddedToken("<doc>", special=True), AddedToken("covid")])
    special = tokenizer.convert_ids_to_tokens(np.flatnonzero(special_tokens(tokenizer)).tolist())
    assert sorted(special) == ["<doc>", "[CLS]", "[MASK]", "[PAD]", "[SEP]"]
    assert vocabulary_size(tokenizer) == len(special_tokens(tokenizer)) == len(tokenizer)


def test_unknown_token_with_another_role_is_special():
    tokenizer = train_tokenizer(TEXTS, "byte_level_bpe", 300)
    assert special_tokens(tokenizer)[tokenizer.unk_token_id]
