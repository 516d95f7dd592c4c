import pytest

from lit_llm.data.text_items import TruncationCount, text_items
from lit_llm.data.tokenizers import train_tokenizer

LETTERS = "abcdefghijklmnopqrst"


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([" ".join(LETTERS)], "wordpiece", 60)


def read(tokenizer, num, max_length, truncation, **options):
    """What is kept, as letters, of a text of the first ``num`` letters."""
    examples = [{"text": " ".join(LETTERS[:num])}]
    items = list(text_items(examples, tokenizer, max_length, truncation, **options))
    assert all(len(item["input_ids"]) <= max_length for item in items)
    assert all(item["input_ids"][0] == tokenizer.cls_token_id for item in items)
    assert all(item["input_ids"][-1] == tokenizer.sep_token_id for item in items)
    return [tokenizer.decode(item["input_ids"][1:-1]).replace(" ", "") for item in items]


def test_cuts_hand_values(tokenizer):
    # Ten letters, of which eight fit: 8 * 128 // 510 = 2 from the head, 6 from the tail.
    assert read(tokenizer, 10, 10, "head") == ["abcdefgh"]
    assert read(tokenizer, 10, 10, "tail") == ["cdefghij"]
    assert read(tokenizer, 10, 10, "head_tail") == ["abefghij"]
    assert read(tokenizer, 10, 10, "windows") == ["abcdefgh", "cdefghij"]
    assert read(tokenizer, 10, 6, "windows", stride=3) == ["abcd", "defg", "ghij"]


@pytest.mark.parametrize("truncation", ["head", "tail", "head_tail", "windows"])
def test_text_that_fits_is_kept_whole(tokenizer, truncation):
    assert read(tokenizer, 8, 10, truncation) == ["abcdefgh"]


def test_head_tail_at_512_is_128_and_382(tokenizer):
    text = " ".join(["a"] * 300 + ["b"] * 300)
    (item,) = text_items([{"text": text}], tokenizer, 512, "head_tail")
    a, b = tokenizer.convert_tokens_to_ids(["a", "b"])
    assert item["input_ids"][1:129] == [a] * 128
    assert item["input_ids"][129:-1] == [a] * 82 + [b] * 300


def test_head_equals_transformers_truncation(tokenizer):
    text = " ".join(LETTERS)
    (item,) = text_items([{"text": text}], tokenizer, 9)
    assert item["input_ids"] == tokenizer(text, truncation=True, max_length=9)["input_ids"]


@pytest.mark.parametrize("labels", [[1, 0], [0.5, 2.0], [[1.0, 0.0], [0.0, 1.0]]])
def test_windows_share_unit_label_and_weight(tokenizer, labels):
    examples = [{"text": "a b c d e f"}, {"text": "a"}]
    items = list(text_items(examples, tokenizer, 6, "windows", labels))
    assert [item["unit_ids"] for item in items] == [0, 0, 1]
    assert [item["weights"] for item in items] == [0.5, 0.5, 1.0]
    assert [item["labels"] for item in items] == [labels[0], labels[0], labels[1]]


def test_items_without_labels_have_none(tokenizer):
    (item,) = text_items([{"text": "a"}], tokenizer, 6)
    assert set(item) == {"input_ids", "unit_ids", "weights"}


@pytest.mark.parametrize("truncation", ["head", "tail", "head_tail"])
def test_cuts_are_counted(tokenizer, truncation):
    count = TruncationCount()
    examples = [{"text": " ".join(LETTERS[:num])} for num in (3, 4, 5, 20)]
    list(text_items(examples, tokenizer, 6, truncation, count=count))
    assert count == TruncationCount(4, 2, 0, 4, 32, 17)
    assert str(count) == "2 of 4 texts cut, 17 of 32 tokens lost (53.1 %)"


def test_windows_lose_nothing_and_are_counted(tokenizer):
    count = TruncationCount()
    examples = [{"text": " ".join(LETTERS[:num])} for num in (4, 6)]
    list(text_items(examples, tokenizer, 6, "windows", count=count))
    assert count == TruncationCount(2, 0, 1, 3, 10, 0)
    assert str(count).endswith("0 of 10 tokens lost (0.0 %); 1 long texts read in 2 windows")


def test_text_of_no_token_becomes_the_unknown_token(tokenizer):
    (item,) = text_items([{"text": " \u200b"}], tokenizer, 6)
    assert item["input_ids"][1:-1] == [tokenizer.unk_token_id]


def test_byte_level_tokenizer_without_special_tokens_keeps_its_text():
    tokenizer = train_tokenizer([" ".join(LETTERS)], "byte_level_bpe", 300)
    text = "a b  c"
    (item,) = text_items([{"text": text}], tokenizer, 20)
    assert tokenizer.decode(item["input_ids"]) == text


def test_bad_arguments_are_refused(tokenizer):
    with pytest.raises(ValueError, match="truncation must be head, tail, head_tail, windows: 'x'"):
        text_items([], tokenizer, 9, "x")
    with pytest.raises(ValueError, match="1 examples but 2 labels"):
        text_items([{"text": "a"}], tokenizer, 9, labels=[1, 2])
    with pytest.raises(ValueError, match="stride 8, size 7"):
        text_items([], tokenizer, 9, "windows", stride=8)
    with pytest.raises(ValueError, match="max_length = 2 leaves no room"):
        text_items([], tokenizer, 2)
