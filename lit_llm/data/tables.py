"""Rows of parquet, JSONL, CSV and TSV files and of hub data sets, by column name."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lit_llm.data.splits import HubSplit
from lit_llm.data.text_files import read_text, stream_lines

TABLE_SUFFIXES = (".parquet", ".jsonl", ".json", ".csv", ".tsv")

_BATCH_ROWS = 128
_BUFFER_BYTES = 2**20
Row = tuple[int, dict[str, Any]]


@dataclass(frozen=True)
class Table:
    """The rows of one file or hub split; they are read as they are asked for, once.

    Attributes:
        name: file name or hub split, the first part of its examples' ids.
        place: file path or hub split, for messages.
        by_line: whether ``rows`` are numbered by line of the file (text formats), not by row.
        class_names: the names of the columns that hold class indices, where the file says so.
        rows: (number from 1, values by column name).
    """

    name: str
    place: str
    by_line: bool
    class_names: dict[str, list[str]]
    rows: Iterator[Row]

    def at(self, number: int) -> str:
        """Where row ``number`` stands: ``reviews.csv:12`` or ``train.parquet row 7``."""
        return f"{self.place}:{number}" if self.by_line else f"{self.place} row {number}"


def read_table(source: str | Path | HubSplit, columns: Sequence[str]) -> Table:
    r"""Open a table and read the named columns of it.

    - ``.parquet``, and a split of a hub data set: values as Arrow gives them; class names come
      from the hub's description (for parquet, where the file's metadata carries it).
    - ``.jsonl`` or ``.json``: one object a line.
    - ``.csv``: RFC 4180 with a header line; quoted fields may hold commas, quotes and line ends,
      kept as they are. All values are strings, "NA" and "nan" too; fields have no longest size.
    - ``.tsv``: a header line, then one line a row; quotes are characters like any other.

    The text formats may be compressed, with ``.gz`` behind their suffix. All but CSV are read by
    line, parquet by batches of rows: memory does not grow with the file.

    Lines that are wholly empty are left out at a text file's end, and refused elsewhere.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not what its suffix says, has no row, two columns of one name, or lacks
            a column (the message says which there are). Text formats raise it with file and line,
            while ``rows`` is read.
    """
    if isinstance(source, HubSplit):
        return _hub_table(source, columns)
    path = Path(source)
    suffix = table_suffix(path)
    if suffix == ".parquet":
        return _parquet_table(path, columns)
    readers = {".jsonl": _jsonl_rows, ".json": _jsonl_rows, ".csv": _csv_rows, ".tsv": _tsv_rows}
    if suffix not in readers:
        raise ValueError(
            f"{path}: a table's name ends with one of {', '.join(TABLE_SUFFIXES)}; rename it"
        )
    rows = _not_empty(readers[suffix](path, columns), str(path))
    return Table(path.name, str(path), True, {}, rows)


def table_suffix(path: Path) -> str:
    """What kind of table a file's name says it is: its suffix, without a ``.gz`` behind it."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def check_columns(place: str, wanted: Sequence[str], present: Sequence[str]) -> None:
    """Refuse a table that lacks a wanted column, or has two of one name."""
    for name in present:
        if present.count(name) > 1:
            raise ValueError(f"{place}: two columns are named {name!r}; rename one")
    for name in wanted:
        if name not in present:
            known = ", ".join(map(repr, present))
            raise ValueError(f"{place}: no column {name!r}; there are {known}: pass one of them")


def _not_empty(rows: Iterator[Row], place: str) -> Iterator[Row]:
    row = None
    for row in rows:
        yield row
    if row is None:
        raise ValueError(f"{place}: the table holds no row; give one with data")


def _jsonl_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    for number, line in _numbered_lines(path):
        place = f"{path}:{number}"
        if not line.strip():
            raise ValueError(f"{place}: the line is empty; remove it")
        try:
            row = json.loads(line, object_pairs_hook=_unique_keys)
        except RecursionError:
            raise ValueError(f"{place}: lists nested too deeply; correct the line") from None
        except ValueError as error:
            raise ValueError(f"{place}: not valid JSON ({error}); correct the line") from None
        if not isinstance(row, dict):
            raise ValueError(
                f"{place}: the line holds a {type(row).__name__}; write one JSON object a line"
            )
        check_columns(place, columns, list(row))
        yield number, row


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return row


def _tsv_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    records = ((number, line.split("\t")) for number, line in _numbered_lines(path))
    return _delimited(path, columns, records)


def _csv_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    return _delimited(path, columns, _csv_records(path))


def _delimited(
    path: Path, columns: Sequence[str], records: Iterator[tuple[int, list[str]]]
) -> Iterator[Row]:
    """Name the fields of records by the first one; every record as long as it."""
    number, header = next(records, (1, [""]))
    check_columns(f"{path}:{number}", columns, header)
    for number, record in records:
        if len(record) != len(header):
            got = "an empty line" if record in ([], [""]) else f"number of fields: {len(record)}"
            raise ValueError(
                f"{path}:{number}: {got}, but {len(header)} in the header; give every row the"
                " header's fields (in CSV, quote a field that holds a comma)"
            )
        yield number, dict(zip(header, record, strict=True))


def _csv_records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Records and the line each starts at."""
    text = read_text(path).rstrip("\r\n") + "\n"
    # Lines are handed over cut at \n alone, so that a \r inside quotes stays what it is.
    reader = csv.reader(io.StringIO(text, newline="\n"), strict=True)
    records = []
    start = 1
    limit = csv.field_size_limit(len(text))  # process-wide; the default refuses 131,073
    try:
        for record in reader:
            records.append((start, record))
            start = reader.line_num + 1
    except csv.Error as error:
        reason = str(error).split(" - ")[0]
        if reason == "unexpected end of data":
            reason = "a quote that opens in this row is never closed"
        raise ValueError(
            f"{path}:{start}: {reason}; quote fields as RFC 4180 says, and double a quote inside"
        ) from None
    finally:
        csv.field_size_limit(limit)
    return iter(records)


def _numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file and their numbers, without the empty ones at its end."""
    first_empty = 0
    for number, line in enumerate(stream_lines(path), start=1):
        if not line:
            first_empty = first_empty or number
            continue
        if first_empty:
            yield from ((empty, "") for empty in range(first_empty, number))
            first_empty = 0
        yield number, line


def _parquet_table(path: Path, columns: Sequence[str]) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def batches() -> Iterator[Any]:
        # By row group, through a small buffer: else pyarrow holds all compressed bytes at once.
        with pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False) as file:
            for group in range(file.num_row_groups):
                yield from file.iter_batches(_BATCH_ROWS, [group], columns=list(columns))

    if not path.stat().st_size:
        raise ValueError(f"{path}: the file is empty; give a parquet file")
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).split(". ")[0]
        raise ValueError(f"{path}: not a parquet file ({reason}); give one, or rename it") from None
    check_columns(str(path), columns, schema.names)
    described = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    names = _class_names(described.get("info", {}).get("features") or {})
    rows = _not_empty(_arrow_rows(batches(), str(path)), str(path))
    return Table(path.name, str(path), False, names, rows)


def _hub_table(source: HubSplit, columns: Sequence[str]) -> Table:
    check_columns(source.name, columns, source.dataset.column_names)
    picked = source.dataset.select_columns(list(columns)).with_format("arrow")
    rows = _not_empty(_arrow_rows(picked.iter(_BATCH_ROWS), source.name), source.name)
    names = _class_names(source.dataset.features.to_dict())
    return Table(source.name, source.name, False, names, rows)


def _arrow_rows(batches: Iterator[Any], place: str) -> Iterator[Row]:
    number = 0
    try:
        for batch in batches:
            for index in range(batch.num_rows):
                number += 1
                yield number, batch.slice(index, 1).to_pylist()[0]
    except UnicodeDecodeError:
        raise ValueError(f"{place} row {number}: text that is not UTF-8; correct it") from None
    except OSError as error:
        raise ValueError(f"{place}: damaged after row {number} ({error}); copy it anew") from None


def _class_names(features: dict[str, Any]) -> dict[str, list[str]]:
    """Column to class names, from the hub's description of columns (lists may be nested)."""
    found = {}
    for column, feature in features.items():
        while isinstance(feature, list) or (isinstance(feature, dict) and "feature" in feature):
            feature = feature[0] if isinstance(feature, list) else feature["feature"]
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel":
            found[column] = list(feature["names"])
    return found
