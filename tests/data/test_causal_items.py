"""Every token is the target of one item, every byte is counted once."""

import random

import numpy as np
import pytest

from lit_llm.data.causal_items import causal_items, document_ends, served
from lit_llm.data.subwords import Subwords
from lit_llm.data.tokenizers import train_tokenizer

WORDS = [f"wörd{i}" for i in range(40)]
END = 0


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([" ".join(WORDS)] * 3, "byte_level_bpe", 300)


def documents(count, seed=0):
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(1, 60))) for _ in range(count)]


def targets(items):
    """(what stands before, what is to be predicted) of each target, in order."""
    pairs = []
    for item in map(served, items):
        ids, at = item["input_ids"], item["target_positions"]
        assert item["labels"].tolist() == ids[at + 1].tolist()
        pairs += [(tuple(ids[: i + 1].tolist()), int(ids[i + 1])) for i in at]
    return pairs


def whole(text, tokenizer):
    return [END, *tokenizer(text)["input_ids"], END]


@pytest.mark.parametrize(
    ("max_length", "stride"), [(2, None), (7, None), (16, 5), (16, 1), (512, 3)]
)
def test_each_token_is_predicted_once_from_its_own_document(tokenizer, max_length, stride):
    texts = documents(20)
    pairs = targets(causal_items(texts, tokenizer, max_length, stride=stride))
    wanted = []
    for text in texts:
        ids = whole(text, tokenizer)
        for i in range(1, len(ids)):
            wanted.append((ids[:i], ids[i]))
    assert len(pairs) == len(wanted)
    least = max_length - (stride or max_length - 1)  # tokens read before the first scored one
    for (before, target), (context, token) in zip(pairs, wanted, strict=True):
        assert target == token
        assert list(before) == context[-len(before) :]
        assert len(before) >= min(least, len(context))


@pytest.mark.parametrize("stream", [False, True])
def test_every_byte_is_counted(tokenizer, stream):
    texts = documents(30)
    items = list(causal_items(texts, tokenizer, 16, stream=stream))
    assert sum(item["num_bytes"] for item in items) == sum(len(text.encode()) for text in texts)
    assert max(len(item["input_ids"]) for item in items) <= 16


def test_stream_is_one_run_of_full_items(tokenizer):
    texts = documents(20)
    items = list(causal_items(texts, tokenizer, 16, stream=True))
    run = [END]
    for text in texts:
        run += whole(text, tokenizer)[1:]
    assert [target for _, target in targets(items)] == run[1:]
    assert {len(item["input_ids"]) for item in items[:-1]} == {16}


def test_hand_made_document(tokenizer):
    """Five tokens and both ends, cut at four: 0-3, 3-6 in one run, the second from its last."""
    text = next(
        t for t in (" ".join(WORDS[:k]) for k in range(1, 9)) if len(whole(t, tokenizer)) >= 7
    )
    ids = whole(text, tokenizer)
    first, second, *_ = causal_items([text], tokenizer, 4)
    assert first["input_ids"].tolist() == ids[:4]
    assert second["input_ids"].tolist() == ids[3:7]
    assert (first["first"], second["first"]) == (0, 0)


def test_empty_document_gives_no_item(tokenizer):
    assert list(causal_items(["", ""], tokenizer, 8)) == []


def test_template_of_the_tokenizer_comes_first(tokenizer):
    wordpiece = train_tokenizer(["a b c"], vocab_size=40)
    start, end = document_ends(wordpiece, Subwords(wordpiece))
    assert [start, end] == [[wordpiece.cls_token_id], [wordpiece.sep_token_id]]
    assert document_ends(tokenizer, Subwords(tokenizer)) == ([END], [END])


def test_what_makes_no_sense_is_refused(tokenizer):
    with pytest.raises(ValueError, match="max_length = 1: a token and its successor"):
        causal_items(["a"], tokenizer, 1)
    for stride in (0, 8):
        with pytest.raises(ValueError, match=f"stride = {stride}: give 1 to max_length - 1 = 7"):
            causal_items(["a"], tokenizer, 8, stride=stride)


def test_tokenizer_without_ends_is_refused():
    bare = train_tokenizer(["a b c"], "byte_level_bpe", 260)
    bare.bos_token = bare.eos_token = None
    with pytest.raises(ValueError, match="neither a start nor an end token"):
        list(causal_items(["a"], bare, 8))


def test_memory_of_bulk_is_bounded_by_characters(tokenizer):
    taken = []

    def texts():
        for i in range(12):
            taken.append(i)
            yield "a " * 300_000

    next(Subwords(tokenizer).of_texts(texts()))
    assert len(taken) == 2
    assert np.size(taken) < 12


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "byte_level_bpe"])
def test_every_kind_of_tokenizer_frames_documents(kind):
    texts = ["the cat sat.\n\nA dog ran", "a cat, a mat"]
    tokenizer = train_tokenizer(texts * 20, kind, 300, "gpt2")
    end = tokenizer.eos_token_id
    items = list(causal_items(texts, tokenizer, 64))
    for item, text in zip(items, texts, strict=True):
        first, *ids, last = item["input_ids"].tolist()
        assert first == last == end
        assert end not in ids
        assert item["num_bytes"] == len(text.encode())
        if kind != "wordpiece":
            assert tokenizer.decode(ids) == text
