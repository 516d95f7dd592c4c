"""Raw corpora -> documents of paragraphs, one in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

from lit_llm.data.cache import default_cache_dir
from lit_llm.data.cells import Cell
from lit_llm.data.corpus_source import CorpusSource, corpus_files, is_plain_text
from lit_llm.data.notices import count
from lit_llm.data.paragraphs import Paragraphs, row_paragraphs, split_paragraphs
from lit_llm.data.splits import HubSplit
from lit_llm.data.tables import read_table
from lit_llm.data.text_files import stream_lines
from lit_llm.data.text_key import text_key


class Document(TypedDict):
    """A document as plain data.

    Attributes:
        id: ``FILE`` (plain text; ``FILE#n`` with a marker), or ``TABLE#row``, from 1.
        source: the source's ``label``.
        group: what is never on two sides of a split: the value of ``group_column``, a file of a
            directory, or what is the same for equal texts only.
        paragraphs: in order, none of them empty. Strings; or, where the data itself says where
            sentences end, lists of sentences, for all paragraphs. White space is single blanks.
    """

    id: str
    source: str
    group: str
    paragraphs: Paragraphs


def read_documents(
    source: CorpusSource, notices: dict[str, int] | None = None, cache_dir: Path | None = None
) -> Iterator[Document]:
    """The documents of a source, in file order.

    Text is kept but for white space: runs of it become one blank, so lines wrapped inside a
    paragraph are joined, and a blank line starts a paragraph (in CSV, JSON and parquet within the
    string). Files are read by line or by batches of rows.

    Args:
        source: what to read.
        notices: receives, once all is read, how many documents were empty and left out, and in how
            many text files the marker never stood.
        cache_dir: where archives are unpacked; default ``default_cache_dir()``.

    Raises:
        OSError: as ``corpus_files``.
        ValueError: as ``corpus_files``; the message names file, line or row, column and remedy: not
            UTF-8, a NUL byte, a missing column (with those there are), a value of another kind, a
            group without a value, a column asked of plain text or a marker of a table, no document
            that is not empty.
    """
    tally = {} if notices is None else notices
    any_text = False
    for name, file in corpus_files(source, cache_dir or default_cache_dir()).items():
        for document in file_documents(file, name, source, tally):
            any_text = True
            yield document
    if not any_text:
        raise ValueError(
            f"{source.path}: no document has text; give a file with text, or another text_column"
        )


def file_documents(
    file: Path | HubSplit, name: str, source: CorpusSource, notices: dict[str, int]
) -> Iterator[Document]:
    """The documents of one of a source's files, the empty ones left out and counted.

    Args:
        file: a file or hub split, as ``corpus_files`` finds them.
        name: of the file, the first part of its documents' ids.
        source: how it is read.
        notices: receives how many documents were empty.

    Raises:
        OSError, ValueError: as ``read_documents``.
    """
    if isinstance(file, Path) and is_plain_text(file):
        documents = _text_documents(file, name, source, notices)
    else:
        documents = _table_documents(file, name, source)
    for document in documents:
        if document["paragraphs"]:
            yield document
        else:
            count(notices, "empty documents left out")


def document_text(document: Document) -> str:
    r"""The whole text, paragraphs separated by a blank line (``\n\n``), sentences by a blank."""
    return "\n\n".join(
        paragraph if isinstance(paragraph, str) else " ".join(paragraph)
        for paragraph in document["paragraphs"]
    )


def _text_documents(
    file: Path, name: str, source: CorpusSource, notices: dict[str, int]
) -> Iterator[Document]:
    """The documents of a plain text file."""
    if source.group_column is not None:
        raise ValueError(
            f"{file}: plain text has no column {source.group_column!r}; leave group_column unset"
        )
    group = name if file != Path(source.path) else None
    if source.document_marker is None:
        text = "\n".join(stream_lines(file))
        yield _document(name, source, group, split_paragraphs(text, source))
        return
    number = 0
    lines: list[str] = []
    for line in stream_lines(file):
        if line.strip() != source.document_marker.strip():
            lines.append(line)
            continue
        number += 1
        paragraphs = split_paragraphs("\n".join(lines), source)
        yield _document(f"{name}#{number}", source, group, paragraphs)
        lines = []
    if not number:
        count(notices, "text files without a line that is the document_marker")
    if paragraphs := split_paragraphs("\n".join(lines), source):
        yield _document(f"{name}#{number + 1}", source, group, paragraphs)


def _table_documents(file: Path | HubSplit, name: str, source: CorpusSource) -> Iterator[Document]:
    """The documents of a table, one a row."""
    table = read_table(file, document_columns(source))
    for number, row in table.rows:
        yield row_document(Cell(table, number, row), f"{name}#{number}", source)


def document_columns(source: CorpusSource) -> list[str]:
    """The columns of a table that are read.

    Raises:
        ValueError: the source has a ``document_marker``, which is for plain text.
    """
    if source.document_marker is not None:
        raise ValueError(
            f"{source.path}: a row of a table is a document; leave document_marker unset"
        )
    return list(dict.fromkeys([source.text_column, source.group_column or source.text_column]))


def row_document(cell: Cell, id: str, source: CorpusSource) -> Document:
    """The document of a table's row, which may be empty.

    Raises:
        ValueError: a value of another kind; the message names row and column.
    """
    group = source.group_column and _group(cell, source.group_column)
    return _document(id, source, group, row_paragraphs(cell, source))


def _group(cell: Cell, column: str) -> str:
    value = cell.value(column)
    if not isinstance(value, str | int | float):
        raise cell.error(column, f"{type(value).__name__} where the name of a group belongs")
    return str(value)


def _document(id: str, source: CorpusSource, group: str | None, paragraphs: Paragraphs) -> Document:
    document = Document(id=id, source=source.label, group="", paragraphs=paragraphs)
    document["group"] = text_key(document_text(document)).hex() if group is None else group
    return document
