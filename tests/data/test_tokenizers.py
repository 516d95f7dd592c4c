import pytest

from lit_llm.backbone.tokenizer import load_tokenizer
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


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "byte_level_bpe"])
def test_the_same_texts_give_the_same_vocabulary(kind):
    size = {"byte_level_bpe": 280}.get(kind, 80)
    texts = [f"{a}{b} {b}{c}{a}" for a in "xyzäß" for b in "abcde" for c in "klmno王"]
    first, *others = (train_tokenizer(texts, kind, size).get_vocab() for _ in range(4))
    assert all(other == first for other in others)


PROSE = [
    'The cat, they said, sat on the mat. "A dog!" he cried.',
    "It's (nearly) naïve to ask: the dogs ran 42 miles a day.",
] * 20
KINDS = ["wordpiece", "bpe", "byte_level_bpe"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_berts_special_tokens_and_template(kind):
    tokenizer = train_tokenizer(PROSE, kind, 400, "bert")
    ids = tokenizer("cat", "dog")
    tokens = tokenizer.convert_ids_to_tokens(ids["input_ids"])
    separators = [i for i, token in enumerate(tokens) if token == "[SEP]"]
    assert tokens[0] == "[CLS]"
    assert len(separators) == 2
    assert separators[1] == len(tokens) - 1
    assert tokenizer.mask_token_id == 4
    types = tokenizer.backend_tokenizer.encode("cat", "dog").type_ids
    assert types == [0] * (separators[0] + 1) + [1] * (len(tokens) - separators[0] - 1)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_gpt2s_special_tokens_and_no_template(kind):
    tokenizer = train_tokenizer(PROSE, kind, 400, "gpt2")
    assert tokenizer.eos_token == tokenizer.bos_token == "<|endoftext|>"
    ids = tokenizer("cat")["input_ids"]
    assert ids == tokenizer("cat", add_special_tokens=False)["input_ids"]
    unknown = "<|endoftext|>" if kind == "byte_level_bpe" else "<unk>"
    assert tokenizer.unk_token == unknown


@pytest.mark.parametrize("kind", ["bpe", "byte_level_bpe"])
def test_bpe_gives_running_text_back_after_saving(kind, tmp_path):
    train_tokenizer(PROSE, kind, 400, "gpt2").save_pretrained(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    for text in (*PROSE[:2], "The  cat\n\n(the dog)\tsat.", "mat , dog ."):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_bpe_loses_a_leading_blank_and_unknown_characters():
    tokenizer = train_tokenizer(PROSE, "bpe", 400, "gpt2")
    ids = tokenizer(" the ☃☃ cat")["input_ids"]
    assert tokenizer.decode(ids) == "the <unk><unk> cat"


def test_bpe_merges_the_most_frequent_pair_first():
    # ▁ab is "▁a" then "b": a-b stands three times, ▁-a twice; b-a and c-b are rarer.
    tokenizer = train_tokenizer(["ab ab cab"], "bpe", 9, "gpt2")
    alphabet = ["\t", "\n", "a", "b", "c", "▁"]
    expected = ["<|endoftext|>", "<unk>", *alphabet, "ab"]
    assert tokenizer.convert_ids_to_tokens(range(9)) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_a_vocabulary_without_room_for_characters_is_refused(kind):
    with pytest.raises(ValueError, match=rf"a {kind} vocabulary of 8 entries .* at least \d+"):
        train_tokenizer(PROSE, kind, 8)
