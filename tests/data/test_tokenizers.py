import pytest

from lit_llm.data.tokenizers import train_tokenizer

TEXTS = ["the cat sat on the mat", "a cat and a dog", "北京 is a city"] * 20


def test_wordpiece_frames_a_text_as_bert_does():
    tokenizer = train_tokenizer(TEXTS, "wordpiece", 200)
    tokens = tokenizer.convert_ids_to_tokens(tokenizer("the cat")["input_ids"])
    assert tokens == ["[CLS]", "the", "cat", "[SEP]"]
    assert tokenizer.pad_token == "[PAD]"
    assert tokenizer.mask_token == "[MASK]"


def test_byte_level_bpe_gives_back_any_text():
    tokenizer = train_tokenizer(TEXTS, "byte_level_bpe", 400)
    text = "naïve 北京 🙂"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_vocabulary_stays_within_its_size():
    assert len(train_tokenizer(TEXTS, "wordpiece", 60)) <= 60


def test_unknown_kind_and_missing_text_are_refused():
    with pytest.raises(ValueError, match="not 'unigram'"):
        train_tokenizer(TEXTS, "unigram")
    with pytest.raises(ValueError, match="no text"):
        train_tokenizer([], "wordpiece", 60)


@pytest.mark.parametrize("kind", ["wordpiece", "byte_level_bpe"])
def test_the_same_texts_give_the_same_vocabulary(kind):
    texts = [f"{a}{b} {b}{c}{a}" for a in "xyzäß" for b in "abcde" for c in "klmno王"]
    first, *others = (train_tokenizer(texts, kind, 80).get_vocab() for _ in range(4))
    assert all(other == first for other in others)
