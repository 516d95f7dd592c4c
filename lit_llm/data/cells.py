"""The values of one row of a table, checked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lit_llm.data.tables import Table
from lit_llm.data.tag_scheme import split_tag


class Cell:
    """The values of one row, each refused with row and column when it is not what it should be.

    Every method raises ``ValueError``, which names row (or line), column and remedy.
    """

    def __init__(self, table: Table, number: int, row: dict[str, Any]) -> None:
        self.table = table
        self.at = number
        self.row = row

    def error(self, column: str, reason: str, remedy: str = "correct the row") -> ValueError:
        """What is wrong with a value, with where it stands and what to do."""
        return ValueError(f"{self.table.at(self.at)}, column {column!r}: {reason}; {remedy}")

    def value(self, column: str) -> Any:
        """The value, which may not be missing."""
        value = self.row[column]
        if value is None or (isinstance(value, float) and math.isnan(value)):
            raise self.error(column, "the value is missing")
        return value

    def text(self, column: str) -> str:
        """A string that is more than white space."""
        text = self.string(column, self.value(column))
        if not text.strip():
            raise self.error(column, "the text is empty")
        return text

    def string(self, column: str, value: object) -> str:
        """``value``, which must be a string of whole characters."""
        if not isinstance(value, str):
            raise self.error(column, f"{type(value).__name__} where a string belongs")
        try:
            value.isascii() or value.encode()
        except UnicodeEncodeError:  # JSON can write half of a surrogate pair
            raise self.error(column, "half of a surrogate pair, which is no character") from None
        return value

    def items(self, column: str, what: str) -> list[Any]:
        """A list, of ``what``s."""
        value = self.value(column)
        if not isinstance(value, list):
            raise self.error(column, f"{type(value).__name__} where a list of {what}s belongs")
        return value

    def strings(self, column: str, what: str) -> list[str]:
        """A list of at least one string, none of them empty."""
        values = [self.string(column, value) for value in self.items(column, what)]
        if not values:
            raise self.error(column, f"the sentence is empty, it has no {what}")
        if "" in values:
            raise self.error(column, f"{what} {values.index('') + 1} is empty")
        return values

    def tags(self, column: str, names: Sequence[str] | None) -> list[str]:
        """Tags, from strings or class indices."""
        tags = [self.class_name(column, tag, names, "tag") for tag in self.items(column, "tag")]
        for tag in set(tags):
            try:
                split_tag(tag)
            except ValueError as error:
                raise ValueError(f"{self.table.at(self.at)}, column {column!r}: {error}") from None
        return tags

    def label(self, column: str, value: object, names: Sequence[str] | None) -> str:
        """One label; without names an integer is its own."""
        if value == "":
            raise self.error(column, "the label is empty")
        if names is None and isinstance(value, int):
            return str(int(value))
        return self.class_name(column, value, names, "label")

    def labels(self, column: str, names: Sequence[str] | None) -> list[str]:
        """Several labels, none of them twice."""
        labels = [self.label(column, value, names) for value in self.items(column, "label")]
        if len(set(labels)) < len(labels):
            raise self.error(column, "a label stands twice (0/1 vectors are not read)")
        return labels

    def number(self, column: str) -> float:
        """A finite number."""
        value = self.value(column)
        try:
            number = math.nan if "_" in str(value) else float(value)  # Python reads 1_0 as 10
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise self.error(column, f"{value!r} where a finite number belongs")
        return number

    def kept(self, columns: Sequence[str], example: dict[str, Any]) -> dict[str, Any]:
        """More columns of the row, as they stand."""
        for column in columns:
            if column in example:
                raise self.error(column, "examples have a field of this name", "rename it")
        return {column: self.value(column) for column in columns}

    def class_name(self, column: str, value: object, names: Sequence[str] | None, what: str) -> str:
        """A name as it stands, or the name of a class index (in CSV and TSV, of its digits)."""
        if isinstance(value, str):
            if names is None or value in names:
                return self.string(column, value)
            if not (self.table.by_line and value.isascii() and value.isdigit()):
                known = ", ".join(map(repr, names))
                raise self.error(column, f"{what} {value!r} is not one of {known}")
            value = int(value)
        if not isinstance(value, int):
            kind = type(value).__name__
            raise self.error(column, f"{kind} where a {what} (string or class index) belongs")
        if names is None:
            raise self.error(column, f"class index {value} without names", "pass label_names")
        if not 0 <= value < len(names):
            hint = " (the hub's sign for no label)" if value == -1 else ""
            raise self.error(column, f"class index {value}{hint} is outside 0 to {len(names) - 1}")
        return names[value]
