"""Shuffled text keeps what a bag of words sees, and nothing of the order."""

from collections import Counter

from lit_llm.data.shuffled_words import with_shuffled_words

TEXTS = ["Ann goes to Bonn by the slow train .", "Her brother stays where he is ."]


def document(paragraphs, id="a"):
    return {"id": id, "source": "s", "group": "g", "paragraphs": paragraphs}


def words(paragraphs):
    return [
        word
        for unit in paragraphs
        for text in ([unit] if isinstance(unit, str) else unit)
        for word in text.split()
    ]


def test_the_words_stay_and_their_order_goes():
    for paragraphs in (TEXTS, [TEXTS, TEXTS[:1]]):
        found = with_shuffled_words(document(paragraphs))["paragraphs"]
        assert Counter(words(found)) == Counter(words(paragraphs))
        assert words(found) != words(paragraphs)


def test_sentences_keep_their_lengths():
    found = with_shuffled_words(document([TEXTS]))["paragraphs"]
    assert [len(text.split()) for text in found[0]] == [len(text.split()) for text in TEXTS]


def test_the_order_depends_on_the_document_alone():
    first = with_shuffled_words(document(TEXTS))
    assert first == with_shuffled_words(document(TEXTS))
    assert first["paragraphs"] != with_shuffled_words(document(TEXTS, id="b"))["paragraphs"]
    assert {key: first[key] for key in ("id", "source", "group")} == {
        "id": "a",
        "source": "s",
        "group": "g",
    }
