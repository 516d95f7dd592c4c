"""A document's sentences have the tokens that they have in running text."""

import numpy as np
import pytest

from lit_llm.data.masked_corpus import tokenised
from lit_llm.data.sentences import split_sentences
from lit_llm.data.subwords import Subwords
from lit_llm.data.tokenizers import train_tokenizer
from lit_llm.data.toy.documents import toy_documents
from lit_llm.data.word_pieces import continuing_pieces

TEXT = (
    'Mr. Ames left at 9:30 p.m. on Monday. "Wait!" she cried; "it\'s (nearly) naïve." He did not. '
    '\'Tis 42 miles to 北京, they say. Was it worth it? "No," said Dr. Who. 1984 came and went.'
)
KINDS = ["wordpiece", "bpe", "byte_level_bpe"]


@pytest.fixture(scope="module")
def documents():
    """Paragraphs of sentences: stories, and a text with quotes, numbers and foreign words."""
    stories = [[list(story.sentences)] for story in list(toy_documents())[:30]]
    sentences = split_sentences(TEXT)
    return [*stories, [sentences[:3], sentences[3:]]]


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request, documents):
    texts = [" ".join(part) for document in documents for part in document]
    return train_tokenizer(texts, request.param, 600, "bert")


def joined(document):
    return " ".join(text for part in document for text in part)


def test_sentences_end_to_end_are_the_joined_text(documents, tokenizer):
    rows = list(tokenised(documents, tokenizer))
    for document, row in zip(documents, rows, strict=True):
        whole = tokenizer(joined(document), add_special_tokens=False)["input_ids"]
        assert row["input_ids"].tolist() == whole
        assert len(row["sentence_lengths"]) == sum(map(len, document))
        assert sum(row["sentence_lengths"]) == len(whole)


def test_only_byte_level_sentences_need_their_blank(tokenizer):
    byte_level = "ByteLevel" in tokenizer.backend_tokenizer.to_str()
    assert Subwords(tokenizer).joiner == (" " if byte_level else "")


def test_each_later_sentence_begins_with_a_word_of_its_own(documents, tokenizer):
    continues = continuing_pieces(tokenizer)
    for row in tokenised(documents, tokenizer):
        starts = np.cumsum(row["sentence_lengths"])[:-1]
        assert not continues[row["input_ids"][starts]].any()
