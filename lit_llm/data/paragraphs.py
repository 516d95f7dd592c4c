"""A document's text, as files hold it -> its paragraphs."""

from __future__ import annotations

import re
from typing import Any

from lit_llm.data.cells import Cell
from lit_llm.data.corpus_source import CorpusSource
from lit_llm.data.detokenise import detokenise
from lit_llm.data.text_key import HTML_BREAK

_BLANK_LINE = re.compile(r"\n\s*\n")

Paragraphs = list[str] | list[list[str]]
"""Texts, or the sentences of each where the data says where they end."""


def split_paragraphs(text: str, source: CorpusSource) -> list[str]:
    """The paragraphs that blank lines separate, with single blanks, without empty ones."""
    if source.markup == "html_breaks":
        text = HTML_BREAK.sub("\n", text)
    return _cleaned(_BLANK_LINE.split(text), source)


def row_paragraphs(cell: Cell, source: CorpusSource) -> Paragraphs:
    """The paragraphs of a table's row; none where the value is missing.

    Args:
        cell: its ``source.text_column`` holds a string, a list of strings (paragraphs), or a list
            of lists of strings (the sentences of each paragraph).
        source: how to read it.

    Raises:
        ValueError: another kind of value, a NUL character or half of a surrogate pair; names row,
            column and remedy.
    """
    value = cell.row[source.text_column]
    if value is None:
        return []
    if not isinstance(value, list):
        return split_paragraphs(_string(cell, value, source), source)
    if not any(isinstance(paragraph, list) for paragraph in value):
        return _cleaned([_string(cell, paragraph, source) for paragraph in value], source)
    paragraphs = []
    for sentences in value:
        if not isinstance(sentences, list):
            kind = type(sentences).__name__
            raise cell.error(source.text_column, f"{kind} where a paragraph's sentences belong")
        if kept := _cleaned([_string(cell, text, source) for text in sentences], source):
            paragraphs.append(kept)
    return paragraphs


def _string(cell: Cell, value: Any, source: CorpusSource) -> str:
    text = cell.string(source.text_column, value)
    if "\0" in text:
        raise cell.error(source.text_column, "a NUL character", "remove it")
    return text


def _cleaned(texts: list[str], source: CorpusSource) -> list[str]:
    """Texts without markup, with single blanks, their words put together again; no empty one."""
    cleaned = []
    for text in texts:
        if source.markup == "html_breaks":
            text = HTML_BREAK.sub(" ", text)
        words = text.split()
        if words:
            cleaned.append(detokenise(words) if source.tokenised else " ".join(words))
    return cleaned
