import random
from collections import Counter
from itertools import chain

import numpy as np
import pytest
from scipy.stats import binomtest

from lit_llm.batch import PackedBatch
from lit_llm.data.masking import Masking, MaskingConfig
from lit_llm.data.sentence_pairs import SentencePairs
from lit_llm.data.sentence_runs import equal_pieces, truncate_pair
from lit_llm.data.tokenizers import train_tokenizer
from tests.references.sentence_pairs import (
    is_truncation,
    pieces,
    run_end,
    truncated_lengths,
    truncation_law,
)

TOKENIZER = train_tokenizer(["a b"], vocab_size=30)
CLS, SEP = TOKENIZER.cls_token_id, TOKENIZER.sep_token_id
ALPHA = 1e-6


def corpus(seed, num_documents=12, longest=12, most=15):
    """Documents whose every token is another number, so that it tells where it comes from."""
    rng, token = random.Random(seed), iter(range(100, 10**9))
    lengths = [
        [rng.randint(0, longest) for _ in range(rng.choice([0, 1, 2, rng.randint(0, most)]))]
        for _ in range(num_documents)
    ]
    return [[[next(token) for _ in range(n)] for n in document] for document in lengths]


def pairs_of(documents, objective, max_length=20, sources=None, **settings):
    sources = sources or {"one": range(len(documents))}
    settings = {"short_prob": 0.0, **settings}
    return SentencePairs(
        documents, sources, TOKENIZER, max_length=max_length, objective=objective, **settings
    )


def segments(item):
    """A, B and the label of an item; checks the special tokens and token types around them."""
    ids = item["input_ids"].tolist()
    ends = [i for i, token in enumerate(ids) if token == SEP]
    assert ids[0] == CLS
    assert ends[-1] == len(ids) - 1
    if len(ends) == 1:
        assert set(item) == {"input_ids", "source_ids"}
        return ids[1:-1], [], 0
    middle, end = ends
    types = item["token_type_ids"].tolist()
    assert types == [0] * (middle + 1) + [1] * (end - middle)
    return ids[1:middle], ids[middle + 1 : end], item["sentence_labels"]


def joined(sentences):
    return list(chain.from_iterable(sentences))


def replay(document, items, objective, capacity, full_sentences):
    """Follow a document by the rules; what was tossed (cuts, labels) is read off its items."""
    longest = capacity if objective == "none" else capacity // 2
    sentences, start = pieces(document, longest), 0
    for a, b, label in items:
        pair = objective != "none"
        end = run_end(sentences, start, capacity, capacity, pair, full_sentences)
        run = sentences[start:end]
        if objective == "nsp" and label:  # A alone, as far as it came
            cut = next(k for k in range(1, len(run) + 1) if joined(run[:k]) == a)
            start += cut
            continue
        if pair and len(run) == 1:
            run = pieces(run, (len(run[0]) + 1) // 2)
        cuts = range(1, len(run)) if pair else [len(run)]
        wholes = [(joined(run[:k]), joined(run[k:])) for k in cuts]
        if label:
            wholes = [(after, before) for before, after in wholes]
        assert any(is_truncation((a, b), whole, capacity) for whole in wholes)
        start = end
    if objective == "sop" and start < len(sentences):  # a last token cannot be two segments
        assert [len(sentence) for sentence in sentences[start:]] == [1]
        start += 1
    assert start == len(sentences)


RULES = [("none", False), ("none", True), ("sop", False), ("sop", True), ("nsp", True)]


# Not NSP without full sentences: where A is cut to fit a random B, its end cannot be read off.
@pytest.mark.parametrize(("objective", "full_sentences"), RULES)
@pytest.mark.parametrize("max_length", [7, 12, 20, 60])
def test_items_follow_the_rules(objective, max_length, full_sentences):
    for seed in range(15):
        documents = corpus(seed)
        pairs = pairs_of(documents, objective, max_length, full_sentences=full_sentences)
        for number, document in enumerate(documents):
            items = [segments(item) for item in pairs.of_document("one", number)]
            capacity = max_length - (2 if objective == "none" else 3)
            replay(document, items, objective, capacity, full_sentences)


@pytest.mark.parametrize("full_sentences", [False, True])
@pytest.mark.parametrize("short_prob", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("objective", ["none", "sop", "nsp"])
def test_every_token_is_in_one_item_or_counted_as_lost(objective, short_prob, full_sentences):
    for seed in range(15):
        documents = corpus(seed)
        settings = {"short_prob": short_prob, "full_sentences": full_sentences}
        pairs = pairs_of(documents, objective, seed=seed, **settings)
        items = list(pairs)
        assert all(0 < len(item["input_ids"]) <= 20 for item in items)
        own = Counter()
        for item in items:
            a, b, label = segments(item)
            own.update(a if objective == "nsp" and label else a + b)
        tokens = [token for document in documents for token in joined(document)]
        assert set(own) <= set(tokens)
        assert max(own.values()) == 1
        count = pairs.count
        assert count.num_tokens == len(tokens)
        assert count.num_tokens_lost == len(tokens) - len(own)
        assert count.num_items == len(items)
        assert count.num_documents == len(documents)
        assert count.num_empty_documents == sum(not joined(document) for document in documents)
        if full_sentences and objective != "sop":
            assert count.num_tokens_lost == 0


def test_random_b_is_a_run_of_another_document_of_the_same_source():
    documents = corpus(0, num_documents=40)
    sources = {"one": range(0, 15), "two": range(15, 40)}
    document_of = {token: i for i, d in enumerate(documents) for token in joined(d)}
    starts = {sentence[0] for d in documents for sentence in d if sentence}
    for full_sentences in (False, True):
        pairs = pairs_of(documents, "nsp", sources=sources, full_sentences=full_sentences)
        for source, numbers in sources.items():
            for number in numbers:
                for item in pairs.of_document(source, number):
                    a, b, label = segments(item)
                    other = document_of[b[0]]
                    tokens = joined(documents[other])
                    assert b == tokens[tokens.index(b[0]) :][: len(b)]
                    assert {document_of[token] for token in a} == {number}
                    assert (other != number) == label
                    assert other in numbers
                    assert label == 0 or not full_sentences or b[0] in starts
                    assert item["source_ids"] == list(sources).index(source)


def long_documents(num_documents=60, sentences=60):
    token = iter(range(100, 10**9))
    return [
        [[next(token) for _ in range(4)] for _ in range(sentences)] for _ in range(num_documents)
    ]


@pytest.mark.parametrize("short_prob", [0.0, 1.0])
@pytest.mark.parametrize("objective", ["nsp", "sop"])
def test_half_of_the_labels_are_one(objective, short_prob):
    # 60 documents of 60 equal sentences, so that pairs whose label is forced (a last sentence that
    # is left alone, at most one of a document) hardly weigh, also with runs of two sentences.
    pairs = pairs_of(long_documents(), objective, 23, short_prob=short_prob)
    labels = [item["sentence_labels"] for item in pairs]
    num_forced = 60 if objective == "nsp" else 0
    assert len(labels) > 700
    assert binomtest(sum(labels), len(labels), 0.5, alternative="less").pvalue > ALPHA
    ones, total = sum(labels) - num_forced, len(labels) - num_forced
    assert binomtest(ones, total, 0.5, alternative="greater").pvalue > ALPHA
    assert pairs.count.num_negatives == sum(labels)
    assert pairs.count.num_halved <= 60


def test_every_place_of_every_other_document_is_as_likely():
    documents = [[[10 * i + j] for j in range(2)] for i in range(10, 16)]
    found = Counter()
    for seed in range(1500):
        for item in pairs_of(documents, "nsp", seed=seed).of_document("one", 2):
            _, b, label = segments(item)
            if label:
                found[b[0]] += 1
    assert set(found) == {token for d in documents for (token,) in d} - {120, 121}
    assert all(binomtest(n, found.total(), 1 / 10).pvalue > ALPHA for n in found.values())


def test_a_run_is_cut_after_any_of_its_sentences():
    # Runs of five sentences of four tokens: A has one to four of them.
    items = pairs_of(long_documents(), "sop", 23)
    found = Counter(len(a) // 4 for a, _, label in map(segments, items) if not label)
    assert set(found) == {1, 2, 3, 4}
    assert all(binomtest(n, found.total(), 1 / 4).pvalue > ALPHA for n in found.values())


@pytest.mark.parametrize("short_prob", [0.1, 1.0])
def test_one_item_in_ten_aims_at_a_uniform_shorter_target(short_prob):
    # Sentences of one token, so an item is as long as its target; 18 beside special tokens.
    documents = [[[100 + i] for i in range(50_000)]]
    *items, _ = pairs_of(documents, "none", short_prob=short_prob)  # the last is what is left
    lengths = Counter(len(item["input_ids"]) - 2 for item in items)
    law = dict.fromkeys(range(2, 19), short_prob / 17)
    law[18] += 1 - short_prob
    assert set(lengths) == set(law)
    for length, chance in law.items():
        assert binomtest(lengths[length], len(items), chance).pvalue > ALPHA


def test_long_sentences_are_split_and_counted():
    # Capacity 5 - 2 = 3 for a single segment: 8 tokens are three pieces of 2, 3 and 3.
    assert [len(piece) for piece in equal_pieces(list(range(8)), 3)] == [2, 3, 3]
    assert equal_pieces([], 3) == []
    pairs = pairs_of([[list(range(100, 108)), [108]]], "none", 5, full_sentences=True)
    assert [segments(item)[0] for item in pairs] == [
        [100, 101],
        [102, 103, 104],
        [105, 106, 107],
        [108],
    ]
    assert (pairs.count.num_sentences, pairs.count.num_split) == (2, 1)


def test_document_of_one_sentence():
    documents = [[list(range(100, 107))], [list(range(200, 204))]]
    swapped = pairs_of(documents, "sop", 20)
    (a, b, label), _ = [segments(item) for item in swapped]
    assert (b + a if label else a + b) == documents[0][0]
    assert sorted([len(a), len(b)]) == [3, 4]
    assert swapped.count.num_halved == 2
    assert [segments(item) for item in pairs_of(documents, "nsp", 20)] == [
        (documents[0][0], documents[1][0], 1),
        (documents[1][0], documents[0][0], 1),
    ]
    lone = pairs_of([[[100]]], "sop", 20)
    assert list(lone) == []
    assert lone.count.num_tokens_lost == 1


def test_truncation_leaves_the_lengths_of_the_rule():
    rng = np.random.default_rng(0)
    for a in range(0, 14):
        for b in range(0, 14):
            for limit in range(2, 20):
                kept = truncate_pair(rng, list(range(a)), list(range(b)), limit)
                assert tuple(map(len, kept)) == truncated_lengths(a, b, limit)


@pytest.mark.parametrize(("length_a", "length_b", "limit"), [(5, 3, 4), (3, 6, 4), (4, 4, 5)])
def test_truncation_follows_its_law(length_a, length_b, limit):
    rng = np.random.default_rng(1)
    law, found = truncation_law(length_a, length_b, limit), Counter()
    for _ in range(3000):
        a, b = truncate_pair(rng, list(range(length_a)), list(range(length_b)), limit)
        found[a[0], b[0]] += 1
    assert set(found) <= set(law)
    for fronts, chance in law.items():
        assert binomtest(found[fronts], 3000, float(chance)).pvalue > ALPHA


def test_a_documents_items_do_not_depend_on_other_sources_or_on_the_order():
    documents = corpus(3, num_documents=20)
    both = pairs_of(documents, "nsp", sources={"x": range(0, 8), "y": range(8, 20)}, seed=5)
    alone = pairs_of(documents[8:], "nsp", sources={"y": range(0, 12)}, seed=5)
    backwards = [list(alone.of_document("y", i)) for i in reversed(range(12))][::-1]
    for i, items in enumerate(backwards):
        again = list(both.of_document("y", 8 + i))
        assert list(map(segments, items)) == list(map(segments, again))
    other = pairs_of(documents[8:], "nsp", sources={"y": range(0, 12)}, seed=6)
    assert list(map(segments, other)) != list(map(segments, alone))


def test_arrays_and_lists_give_the_same_items():
    documents = corpus(4)
    arrays = [[np.array(s, np.int32) for s in document] for document in documents]
    for objective in ("none", "nsp", "sop"):
        one, two = pairs_of(documents, objective), pairs_of(arrays, objective)
        assert list(map(segments, one)) == list(map(segments, two))


def test_items_are_masked_and_packed():
    documents = [[[5 + i % 2] * 3 for i in range(9)]] * 4
    items = list(pairs_of(documents, "sop"))
    mask = Masking(MaskingConfig(), TOKENIZER, 0)
    masked = [mask(item, i) for i, item in enumerate(items)]
    batch = PackedBatch.pack(masked, [list(range(len(items)))], 20 * len(items), 0)
    assert batch.targets["sentence_labels"].shape == (len(items),)
    assert batch.targets["labels"].shape == batch.targets["positions"].shape


def test_the_count_reads_as_one_line():
    pairs = pairs_of([[[100, 101, 102], [103]], [], [[104]]], "sop")
    list(pairs)
    assert str(pairs.count).startswith("1 items of 3 documents, 1 of 5 tokens lost (20.0 %)")
    assert str(pairs.count).endswith("1 documents empty")


def test_bad_arguments_are_refused():
    documents = corpus(0)
    with pytest.raises(ValueError, match="one of none, nsp, sop, not 'sbo'"):
        pairs_of(documents, "sbo")
    with pytest.raises(ValueError, match=r"short_prob must lie in \[0, 1\], not 2"):
        pairs_of(documents, "sop", short_prob=2)
    with pytest.raises(ValueError, match=r"max_length = 4 leaves no room .* at least 5"):
        pairs_of(documents, "sop", 4)
    with pytest.raises(ValueError, match="max_length = 2 leaves no room"):
        pairs_of(documents, "none", 2)


def test_source_without_another_document_is_refused_for_nsp():
    sources = {"many": range(0, 2), "lonely": range(2, 3)}
    documents = [[[100], [101]], [[], []], [[102], [103]]]
    with pytest.raises(ValueError, match=r"source 'lonely' has a single document .* sop or none"):
        pairs_of(documents, "nsp", sources=sources)
    with pytest.raises(ValueError, match="source 'many' has a single document with text"):
        list(pairs_of(documents, "nsp", sources={"many": range(0, 2)}))
    assert len(list(pairs_of(documents, "sop", sources=sources))) == 2
