"""CoNLL column files: one word a line, a blank line between sentences."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from sys import intern

from lit_llm.data.tag_scheme import Example, convert_tags, split_tag
from lit_llm.data.text_files import read_lines

DOCUMENT_START = "-DOCSTART-"


def read_columns(
    path: str | Path, tag_column: int = -1, word_column: int = 0, scheme: str = "auto"
) -> list[Example]:
    """The sentences of one column file, in file order.

    Columns are separated by tabs or by spaces, one of the two throughout a file. A tab file has
    exactly one tab between columns; in a space file a run of spaces separates once, as conlleval
    reads it, and spaces at the end of a line mean nothing. No other character separates: a
    non-breaking space, U+2028 or a zero-width character belongs to its word. A line that is empty
    or holds only tabs and spaces ends a sentence. A line whose first column is ``-DOCSTART-``
    starts a document and is no sentence; its other columns are not kept, and it may have none. A
    line that starts with ``#`` is a word like any other if it has the file's columns and a tag;
    else it is taken for a comment, and refused.

    Args:
        path: UTF-8, with or without a byte order mark; lines end with LF or CRLF.
        tag_column: from 0, or from the end if negative.
        word_column: likewise.
        scheme: the tags' scheme, or ``auto`` to find it in this file alone; for several files use
            ``read_column_splits``.

    Returns:
        One example a sentence: ``id`` is ``FILE:LINE`` of its first word, ``tags`` are IOB2,
        ``document`` counts ``-DOCSTART-`` lines from 0 (two in a row leave a number unused). A
        file without such lines is one document, number 0.

    Raises:
        OSError: the file cannot be read.
        ValueError: anything else in the file; the message names file, line and remedy.
    """
    examples = _read(Path(path), tag_column, word_column)
    convert_tags([examples], scheme)
    return examples


def read_column_splits(
    paths: Mapping[str, str | Path],
    tag_column: int = -1,
    word_column: int = 0,
    scheme: str = "auto",
) -> dict[str, list[Example]]:
    """Several files of one data set by split, as ``read_columns``; one scheme over all of them.

    A short file may hold no entity that tells IOB1 from IOB2; the set does.
    """
    splits = {split: _read(Path(path), tag_column, word_column) for split, path in paths.items()}
    convert_tags(splits.values(), scheme)
    return splits


def _read(path: Path, tag_column: int, word_column: int) -> list[Example]:
    """The sentences with their tags as they stand."""
    lines = _Lines(path, word_column, tag_column)
    examples: list[Example] = []
    document = -1
    inside = False
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip(" \t"):
            inside = False
        elif _starts_document(line):
            lines.check_document_start(line, number)
            document += 1
            inside = False
        else:
            word, tag = lines.split(line, number)
            if not inside:
                document = max(document, 0)
                example_id = f"{path.name}:{number}"
                examples.append({"id": example_id, "words": [], "tags": [], "document": document})
                inside = True
            examples[-1]["words"].append(word)
            examples[-1]["tags"].append(tag)
    if not examples:
        raise ValueError(f"{path}:1: the file holds no sentence; give a file with words and tags")
    return examples


def _starts_document(line: str) -> bool:
    return line.startswith(DOCUMENT_START) and line[len(DOCUMENT_START) :][:1] in ("", " ", "\t")


class _Lines:
    """Splits the lines of one file; the first one sets separator and number of columns."""

    def __init__(self, path: Path, word_column: int, tag_column: int) -> None:
        self.path = path
        self.word_column = word_column
        self.tag_column = tag_column
        self.separator = ""
        self.width = 0
        self.first = 0
        self.known_tags: set[str] = set()

    def split(self, line: str, number: int) -> tuple[str, str]:
        """The line's word and tag."""
        try:
            columns = self._columns(line, number)
            word, tag = columns[self.word_column], columns[self.tag_column]
            if tag not in self.known_tags:
                split_tag(tag)
                self.known_tags.add(tag)
        except ValueError as error:
            reason = str(error)
            if line.startswith("#"):
                reason = "the line looks like a comment, which column files do not have; remove it"
            raise ValueError(f"{self.path}:{number}: {reason}") from None
        return word, intern(tag)

    def check_document_start(self, line: str, number: int) -> None:
        """Refuse a document border that carries an entity, rather than lose it."""
        last = line.replace("\t", " ").split(" ")[-1]
        if len(last) > 2 and last[1] == "-" and last[0] in "BIESLU":
            raise ValueError(
                f"{self.path}:{number}: {DOCUMENT_START} is a document border but is tagged {last};"
                " write O"
            )

    def _columns(self, line: str, number: int) -> list[str]:
        if "\t" in line and " " in line:
            raise ValueError("tabs and spaces in one line; separate columns with one of the two")
        separator = "\t" if "\t" in line else " "
        columns = line.split("\t") if separator == "\t" else line.rstrip(" ").split(" ")
        if columns[0] == "":
            raise ValueError("the line starts with a separator; remove it, or write the word")
        if separator == " ":
            columns = [column for column in columns if column]
        elif "" in columns:
            raise ValueError(
                f"column {columns.index('') + 1} of {len(columns)} is empty; put one tab between"
                " columns and none at the end"
            )
        if not self.width:
            self._set(columns, separator, number)
        if len(columns) > 1 and separator != self.separator:
            names = {" ": "spaces", "\t": "tabs"}
            raise ValueError(
                f"separated by {names[separator]}, but line {self.first} by"
                f" {names[self.separator]}; use one of the two throughout the file"
            )
        if len(columns) != self.width:
            raise ValueError(
                f"the number of columns is {len(columns)}, but {self.width} on line"
                f" {self.first}; give every line the same columns"
            )
        return columns

    def _set(self, columns: list[str], separator: str, number: int) -> None:
        """Take the file's layout from its first line, if that has the columns asked for."""
        width = len(columns)
        if width < 2:
            raise ValueError(
                "one column, so there is no tag; separate word and tag by a tab or space"
            )
        places = {}
        for key in ("word_column", "tag_column"):
            column = getattr(self, key)
            if not -width <= column < width:
                raise ValueError(
                    f"{width} columns, so there is no column {key}={column}; pass {-width} to"
                    f" {width - 1}"
                )
            places[key] = column % width
        if places["word_column"] == places["tag_column"]:
            raise ValueError(
                f"word_column={self.word_column} and tag_column={self.tag_column} are the same of"
                f" {width} columns; pass two different ones"
            )
        self.width, self.separator, self.first = width, separator, number
