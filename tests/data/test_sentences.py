"""Splitting into sentences: what is a boundary, and that nothing is lost."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from lit_llm.data.documents import Document
from lit_llm.data.sentences import document_sentences, split_sentences, splitter_version

SENTENCES = [
    ["One came.", "Two went!", "Did three?", "Yes."],
    ["Mr. Smith met Dr. Jones at 5 p.m. in the U.S. Senate.", "He left."],
    # A speech is split inside, its quotes stay with their sentences, its teller with his verb.
    ['"I came.', "I saw.", 'I won," he said.', '"Now go!" he cried.'],
    ["“I came.", "I saw.”", "He left."],
    ["'I came.", "I saw,' he said.", "It's O'Hara's."],
    ['She said "no."', "He left."],
    ["It was 3.5 metres, i.e. too long."],
    ["Oh! my friend, what is it? or is it nothing?", "Well!", '"Yes."'],
    ["i saw it.", "it was bad."],
    ["It was good.Then it was not.", "I left."],  # without a blank there is nothing to cut at
    ["no full stop"],
]


@pytest.mark.parametrize("sentences", SENTENCES, ids=lambda sentences: sentences[0])
def test_paragraph_is_split_where_sentences_end(sentences: list[str]) -> None:
    assert split_sentences(" ".join(sentences)) == sentences


def test_white_space_is_single_blanks() -> None:
    assert split_sentences("  One\ncame.\n\nTwo\t went. ") == ["One came.", "Two went."]
    assert split_sentences("One\u00a0came.\u2028Two went.") == ["One came.", "Two went."]
    assert split_sentences("") == split_sentences(" \n") == []


PIECES = [
    *(
        "a",
        "Bc",
        "é",
        "😀",
        "e\u0301",
        ".",
        "!",
        "?",
        '"',
        "'",
        "“",
        "”",
        "‘",
        "’",
        "(",
        ")",
        "[",
        "]",
    ),
    *(";", ":", "-", "—", "…", "1", "I", "\u2028", "\u00a0", "\u200b", "\n", "\t", "\x85", "。"),
    *("Mr. ", "e.g. ", "U.S. ", "J. ", "1) ", "(a) ", "... ", "\n\n", ". ", '." ', ' "', "   "),
    *(" ", " ", " "),
]


def test_nothing_is_lost_whatever_the_text() -> None:
    generator = random.Random(0)
    splits = 0
    for _ in range(5000):
        text = "".join(generator.choices(PIECES, k=generator.randint(0, 40)))
        sentences = split_sentences(text)
        assert " ".join(sentences) == " ".join(text.split()), repr(text)
        assert all(sentence.strip() == sentence != "" for sentence in sentences)
        splits += len(sentences) > 1
    assert splits > 1000


def test_text_that_the_library_cannot_take_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import sentencex

    class PanicException(BaseException):
        """As pyo3 raises it: no Exception."""

    def panic(language: str, text: str) -> Any:
        raise PanicException("not a char boundary")

    monkeypatch.setattr(sentencex, "segment", panic)
    with pytest.raises(ValueError, match=r"cannot split the paragraph 'A bad one\.'.*remove it"):
        split_sentences("A bad one.")

    def interrupt(language: str, text: str) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(sentencex, "segment", interrupt)
    with pytest.raises(KeyboardInterrupt):
        split_sentences("A good one.")


def test_sentences_of_the_data_are_kept_and_others_split() -> None:
    gold: list[list[str]] = [["One. Two.", "three"], ["Four."]]
    document = Document(id="d", source="s", group="g", paragraphs=gold)
    assert document_sentences(document) == gold
    document = Document(id="d", source="s", group="g", paragraphs=["One. Two.", "Four."])
    assert document_sentences(document) == [["One.", "Two."], ["Four."]]


def test_splitter_version_names_library_and_number() -> None:
    assert re.fullmatch(r"sentencex \d+(\.\d+)+", splitter_version())
