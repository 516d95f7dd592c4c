"""The baseline against naive Bayes worked out by hand, and on pairs that only words tell apart."""

import numpy as np

from lit_llm.data.sentence_baseline import SegmentBags


def item(first, second, label):
    types = [0] * len(first) + [1] * len(second)
    return {"input_ids": [*first, *second], "token_type_ids": types, "sentence_labels": label}


def test_counts_and_scores_of_a_hand_made_case():
    """V = 2; label 0 has seen (0 | 1), label 1 has seen (0 | 0).

    Smoothed counts of the features first-0, first-1, second-0, second-1, both-0, both-1:
    label 0: 2 1 1 2 1 1 (8), label 1: 2 1 2 1 2 1 (9). The pair (0 | 0) has first-0, second-0
    and both-0: 2*1*1 / 8^3 = 0.0039 against 2*2*2 / 9^3 = 0.0110, so label 1; the pair (1 | 1)
    has first-1, second-1, both-1: 1*2*1 / 512 = 0.0039 against 1*1*1 / 729 = 0.0014: label 0.
    """
    bags = SegmentBags(2).learn([item([0], [1], 0), item([0], [0], 1)])
    assert bags.predict(item([0], [0], None)) == 1
    assert bags.predict(item([1], [1], None)) == 0


def test_topic_is_seen_and_order_is_not():
    rng = np.random.default_rng(0)

    def pairs(count):
        for i in range(count):
            topics = rng.permutation(10)[:2]
            label = i % 2  # of 1: another topic
            first, second = (topics[0], topics[label]) if label else (topics[0], topics[0])
            words = [rng.integers(20 * t, 20 * t + 20, 12) for t in (first, second)]
            yield item(*words, label)

    bags = SegmentBags(200).learn(pairs(2000))
    hits = np.mean([bags.predict(p) == p["sentence_labels"] for p in pairs(400)])
    assert hits > 0.9

    def ordered(count):  # the same words, up in one half of the pairs, down in the other
        for i in range(count):
            words = np.sort(rng.permutation(200)[:24])
            yield item(*np.split(words if i % 2 else words[::-1], 2), i % 2)

    def shuffled(count):  # the order of words inside a segment is all that tells
        for i in range(count):
            words = rng.permutation(200)[:24]
            yield item(words[:12], np.sort(words[12:])[:: 1 if i % 2 else -1], i % 2)

    blind = SegmentBags(200).learn(shuffled(2000))
    assert (
        abs(np.mean([blind.predict(p) == p["sentence_labels"] for p in shuffled(400)]) - 0.5) < 0.13
    )
    sees = SegmentBags(200).learn(ordered(2000))
    assert np.mean([sees.predict(p) == p["sentence_labels"] for p in ordered(400)]) > 0.9
