import random

import pytest

from lit_llm.data.subwords import Subwords
from lit_llm.data.token_items import each_word_once, parse_context, token_items
from lit_llm.data.tokenizers import train_tokenizer

LETTERS = "abcd"
CONTEXTS = ["none", "document_windows", "surround(3)", "surround(20)"]


def random_words(rng, num):
    return ["".join(rng.choices(LETTERS, k=rng.randint(1, 7))) for _ in range(num)]


TEXTS = [" ".join(random_words(random.Random(seed), 6)) for seed in range(40)]


@pytest.fixture(scope="module", params=["wordpiece", "byte_level_bpe"])
def tokenizer(request):
    return train_tokenizer(TEXTS, request.param, 330 if request.param != "wordpiece" else 40)


@pytest.fixture(scope="module")
def wordpiece():
    return train_tokenizer(TEXTS, "wordpiece", 40)


def example(words, document=0, tags=None):
    return {"id": "e", "words": words, "tags": tags or ["O"] * len(words), "document": document}


def random_examples(rng):
    examples = []
    for document in range(rng.randint(1, 4)):
        for _ in range(rng.randint(1, 5)):
            words = random_words(rng, rng.choice([0, 1, 2, 5, 12, 30]))
            examples.append(example([*words], document, rng.choices(["O", "B-X"], k=len(words))))
    return examples


def streams(examples, pieces):
    """Per document its tokens; per word (document, its first token, its end, its sentence)."""
    tokens, words = {}, []
    for number, sentence in enumerate(examples):
        stream = tokens.setdefault(sentence["document"], [])
        for word in sentence["words"]:
            words.append(
                (sentence["document"], len(stream), len(stream) + len(pieces[word]), number)
            )
            stream += pieces[word]
    return tokens, words


@pytest.mark.parametrize("target", ["first", "last"])
@pytest.mark.parametrize("context", CONTEXTS)
def test_random_sentences_keep_every_promise(tokenizer, context, target):
    rng = random.Random(f"{context} {target}")
    label_ids = {"O": 0, "B-X": 1}
    for _ in range(40):
        examples, max_length = random_examples(rng), rng.choice([10, 13, 20, 50])
        subwords = Subwords(tokenizer)
        capacity = subwords.capacity(max_length)
        pieces = subwords.of_words(word for e in examples for word in e["words"])
        cut = slice(capacity) if target == "first" else slice(-capacity, None)
        pieces = {word: ids[cut] for word, ids in pieces.items()}
        tokens, words = streams(examples, pieces)
        items = list(token_items(examples, tokenizer, max_length, context, target, label_ids))
        units = [unit for item in items for unit in item["unit_ids"]]
        assert units == list(range(len(words)))  # each word once, in order
        tags = [label_ids[tag] for e in examples for tag in e["tags"]]
        assert [label for item in items for label in item["labels"]] == tags
        for item in items:
            assert len(item["input_ids"]) <= max_length
            num = len(item["input_ids"]) - len(subwords.suffix)
            assert item["input_ids"][: len(subwords.prefix)] == subwords.prefix
            assert item["input_ids"][num:] == subwords.suffix
            # The item is one stretch of the document of its words, and of no other.
            document, first, end, _ = words[item["unit_ids"][0]]
            side = first if target == "first" else end - 1
            start = side - (item["target_positions"][0] - len(subwords.prefix))
            content = item["input_ids"][len(subwords.prefix) : num]
            assert start >= 0
            assert tokens[document][start : start + len(content)] == content
            for unit, position in zip(item["unit_ids"], item["target_positions"], strict=True):
                other, first, end, _ = words[unit]
                assert other == document
                side = first if target == "first" else end - 1
                assert position == side - start + len(subwords.prefix)
                assert start <= first < end <= start + len(content)  # the word is whole


def item_range(item, words):
    """(start, end) in the document, for a WordPiece item read at first sub-words."""
    start = words[item["unit_ids"][0]][1] - (item["target_positions"][0] - 1)
    return start, start + len(item["input_ids"]) - 2


def test_none_gives_one_plain_item_per_sentence(tokenizer):
    examples = [example(["ab", "c"]), example([]), example(["dd"])]
    items = list(token_items(examples, tokenizer, 30))
    subwords = Subwords(tokenizer)
    pieces = subwords.of_words(["ab", "c", "dd"])
    assert [item["input_ids"] for item in items] == [
        subwords.prefix + pieces["ab"] + pieces["c"] + subwords.suffix,
        subwords.prefix + pieces["dd"] + subwords.suffix,
    ]
    assert all(set(item) == {"input_ids", "target_positions", "unit_ids"} for item in items)


def test_none_needs_no_document(wordpiece):
    (item,) = token_items([{"id": "1", "words": ["a"]}], wordpiece, 9)
    assert item["unit_ids"] == [0]


def test_document_windows_are_whole_sentences_filled_to_the_limit(wordpiece):
    examples = [example(["a"] * n, d) for n, d in [(3, 0), (4, 0), (2, 0), (9, 0), (1, 0), (1, 1)]]
    items = list(token_items(examples, wordpiece, 10, "document_windows"))
    # Eight fit: 3 + 4, then 2, which 9 does not join; 9 is split; 1 and the next document's 1.
    assert [len(item["input_ids"]) - 2 for item in items] == [7, 2, 8, 8, 1, 1]
    assert [len(item["unit_ids"]) for item in items][:2] == [7, 2]
    assert [len(item["unit_ids"]) for item in items][4:] == [1, 1]


def test_surround_takes_k_subwords_of_the_same_document(wordpiece):
    sentences = [["a", "b"], ["c", "d"], ["a"], ["b", "b"]]
    examples = [
        example(words, document) for words, document in zip(sentences, [0, 0, 0, 1], strict=True)
    ]
    pieces = Subwords(wordpiece).of_words("abcd")
    expected = ["abcda", "abcda", "bcda"[-4:], "bb"]
    items = list(token_items(examples, wordpiece, 30, "surround(3)"))
    assert [item["input_ids"][1:-1] for item in items] == [
        [i for letter in text for i in pieces[letter]] for text in expected
    ]
    assert [item["target_positions"] for item in items] == [[1, 2], [3, 4], [4], [1, 2]]


def test_surround_narrows_evenly_where_there_is_no_room(wordpiece):
    examples = [example(["a"] * 9), example(["b"] * 4), example(["c"] * 9)]
    items = list(token_items(examples, wordpiece, 12, "surround(5)"))
    a, b, c = (Subwords(wordpiece).of_words("abc")[letter][0] for letter in "abc")
    assert items[1]["input_ids"][1:-1] == [a] * 3 + [b] * 4 + [c] * 3
    assert items[0]["input_ids"][1:-1] == [a] * 9 + [b]  # nothing before it: all room goes behind
    assert items[2]["input_ids"][1:-1] == [b] + [c] * 9


def test_long_sentence_is_read_where_the_smaller_side_is_largest(wordpiece):
    rng = random.Random(3)
    for _ in range(20):
        examples = [example(random_words(rng, 40))]
        pieces = Subwords(wordpiece).of_words(examples[0]["words"])
        _, words = streams(examples, pieces)
        items = list(token_items(examples, wordpiece, 22))
        ranges = [item_range(item, words) for item in items]
        assert len(items) > 2
        for item, (start, end) in zip(items, ranges, strict=True):
            for unit in item["unit_ids"]:
                _, first, stop, _ = words[unit]
                here = min(first - start, end - stop)
                assert here == max(min(first - a, b - stop) for a, b in ranges)


@pytest.mark.parametrize(("target", "position"), [("first", 1), ("last", 6)])
def test_word_longer_than_the_limit_keeps_its_target(wordpiece, target, position):
    word = "abcd" * 10
    whole = Subwords(wordpiece).of_words([word])[word]
    items = list(token_items([example(["a", word, "b"])], wordpiece, 8, "none", target))
    long = items[1]
    assert len(whole) > 6
    assert long["unit_ids"] == [1]
    assert long["target_positions"] == [position]
    assert long["input_ids"][1:-1] == (whole[:6] if target == "first" else whole[-6:])


def test_word_without_subwords_is_still_scored(wordpiece):
    (item,) = token_items([example(["a", "\u200b", "b"], 0, ["O", "B-X", "O"])], wordpiece, 9)
    assert item["unit_ids"] == [0, 1, 2]
    assert item["input_ids"][item["target_positions"][1]] == wordpiece.unk_token_id


def test_chinese_characters_are_words(wordpiece):
    words = list("王小明在北京。")
    (item,) = token_items([example(words)], wordpiece, 9)
    assert len(item["unit_ids"]) == 7


def test_context_is_read_or_refused():
    assert parse_context("surround(64)") == ("surround", 64)
    assert parse_context("document_windows") == ("document_windows", 0)
    for wrong in ("surround", "surround(-1)", "document", ""):
        with pytest.raises(ValueError, match="context must be none, document_windows or surround"):
            parse_context(wrong)


def test_bad_examples_are_refused_by_name(wordpiece):
    with pytest.raises(ValueError, match="example e: tag 'B-Y' is not among the labels O, B-X"):
        list(token_items([example(["a"], 0, ["B-Y"])], wordpiece, 9, label_ids={"O": 0, "B-X": 1}))
    with pytest.raises(ValueError, match="example e: 2 words but 1 tags"):
        list(token_items([example(["a", "b"], 0, ["O"])], wordpiece, 9, label_ids={"O": 0}))
    with pytest.raises(ValueError, match="target_subword must be first or last, not 'mean'"):
        token_items([], wordpiece, 9, target_subword="mean")


def test_lost_or_doubled_word_is_noticed():
    assert len(list(each_word_once([{"unit_ids": [0, 1]}, {"unit_ids": [2]}], 3))) == 2
    with pytest.raises(ValueError, match=r"scores words \[1\], after 2 words"):
        list(each_word_once([{"unit_ids": [0, 1]}, {"unit_ids": [1]}], 2))
    with pytest.raises(ValueError, match="2 words are scored, but there are 3"):
        list(each_word_once([{"unit_ids": [0, 1]}], 3))
