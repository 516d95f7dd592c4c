import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from lit_llm.data.subwords import Subwords
from lit_llm.data.tokenizers import train_tokenizer

TEXTS = ["the cat sat on the mat", "a cat and a hat", "that mat is flat", "1 2 A B"] * 3
WORDS = ["the", "cat", "hatcat", "a", "flat", "B2"]


def metaspace(scheme):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    trainer = trainers.BpeTrainer(vocab_size=80, special_tokens=["<unk>"], show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


@pytest.mark.parametrize("kind", ["wordpiece", "first", "always"])
def test_words_are_tokenised_as_transformers_does(kind):
    tokenizer = train_tokenizer(TEXTS, vocab_size=60) if kind == "wordpiece" else metaspace(kind)
    subwords = Subwords(tokenizer)
    pieces = subwords.of_words(WORDS)
    ours = subwords.prefix + [i for word in WORDS for i in pieces[word]] + subwords.suffix
    assert ours == tokenizer(WORDS, is_split_into_words=True)["input_ids"]


@pytest.mark.parametrize("kind", ["byte_level", "never"])
def test_word_that_needs_a_space_is_tokenised_as_inside_text(kind):
    byte_level = kind == "byte_level"
    tokenizer = train_tokenizer(TEXTS, "byte_level_bpe", 300) if byte_level else metaspace(kind)
    pieces = Subwords(tokenizer).of_words(WORDS)
    running = tokenizer(" " + " ".join(WORDS))["input_ids"]
    assert [i for word in WORDS for i in pieces[word]] == running
    assert pieces["cat"] != tokenizer("cat")["input_ids"]


def test_byte_level_words_equal_add_prefix_space():
    tokenizer = train_tokenizer(TEXTS, "byte_level_bpe", 300)
    before = tokenizer.backend_tokenizer.to_str()
    pieces = Subwords(tokenizer).of_words(WORDS)
    assert tokenizer.backend_tokenizer.to_str() == before
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    encoding = tokenizer.backend_tokenizer.encode(WORDS, is_pretokenized=True)
    assert [i for word in WORDS for i in pieces[word]] == encoding.ids
    assert Subwords(tokenizer).of_words(WORDS) == pieces


def test_published_truncation_and_padding_are_off_and_the_tokenizer_unchanged():
    tokenizer = train_tokenizer(TEXTS, vocab_size=60)
    full = tokenizer(TEXTS[0])["input_ids"]
    tokenizer.backend_tokenizer.enable_truncation(4)
    tokenizer.backend_tokenizer.enable_padding(length=9)
    before = tokenizer.backend_tokenizer.to_str()
    subwords = Subwords(tokenizer)
    assert [subwords.prefix + ids + subwords.suffix for ids in subwords.of_texts(TEXTS[:1])] == [
        full
    ]
    assert tokenizer.backend_tokenizer.to_str() == before


def test_template_and_capacity_follow_the_tokenizer():
    subwords = Subwords(train_tokenizer(TEXTS, vocab_size=60))
    assert (subwords.prefix, subwords.suffix) == ([2], [3])
    assert subwords.capacity(3) == 1
    with pytest.raises(ValueError, match=r"max_length = 2 leaves no room .* at least 3"):
        subwords.capacity(2)
    plain = Subwords(train_tokenizer(TEXTS, "byte_level_bpe", 300))
    assert (plain.prefix, plain.suffix, plain.capacity(1)) == ([], [], 1)


def test_word_without_subwords_becomes_the_unknown_token():
    tokenizer = train_tokenizer(TEXTS, vocab_size=60)
    pieces = Subwords(tokenizer).of_words(["cat", "\u200b", "\x00"])
    assert pieces["\u200b"] == pieces["\x00"] == [tokenizer.unk_token_id]


def test_word_without_subwords_is_refused_where_nothing_can_stand_for_it():
    tokenizer = train_tokenizer(TEXTS, vocab_size=60)
    tokenizer.unk_token = None
    with pytest.raises(ValueError, match=r"maps '\\x00' to nothing and has no unknown token"):
        Subwords(tokenizer).of_words(["\x00"])


def test_slow_tokenizer_is_refused():
    with pytest.raises(ValueError, match="object is not a fast tokenizer"):
        Subwords(object())
