"""Files as they arrive: each is read exactly, or refused with file, line and remedy."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from lit_llm.data.columns import read_columns
from lit_llm.data.table_examples import read_text_table, read_token_table

Words = list[list[tuple[str, str]]]

READ_COLUMNS: dict[str, tuple[bytes, Words]] = {
    "byte order mark": (b"\xef\xbb\xbfEU B-ORG\n", [[("EU", "B-ORG")]]),
    "crlf": (b"EU B-ORG\r\n\r\nis O\r\n", [[("EU", "B-ORG")], [("is", "O")]]),
    "crlf and lf": (b"EU B-ORG\r\nis O\n", [[("EU", "B-ORG"), ("is", "O")]]),
    "no final newline": (b"EU B-ORG\nis O", [[("EU", "B-ORG"), ("is", "O")]]),
    "tabs": (b"EU\tB-ORG\nis\tO\n", [[("EU", "B-ORG"), ("is", "O")]]),
    "runs of spaces": (b"EU    B-ORG\nreject O\n", [[("EU", "B-ORG"), ("reject", "O")]]),
    "trailing spaces": (b"EU B-ORG  \nis O\n", [[("EU", "B-ORG"), ("is", "O")]]),
    "spaces as a border": (b"EU B-ORG\n \t \nis O\n", [[("EU", "B-ORG")], [("is", "O")]]),
    "many blank lines": (b"\n\n\nEU B-ORG\n\n\n\nis O\n\n\n", [[("EU", "B-ORG")], [("is", "O")]]),
    "no-break space in a word": ("1\u00a0000 O\n".encode(), [[("1\u00a0000", "O")]]),
    "line separator in a word": ("a\u2028b O\nc O\n".encode(), [[("a\u2028b", "O"), ("c", "O")]]),
    "next line, form feed": ("a\u0085\fb O\n".encode(), [[("a\u0085\fb", "O")]]),
    "ideographic space": ("a\u3000b O\n".encode(), [[("a\u3000b", "O")]]),
    "zero-width word": ("\u200b O\nx O\n".encode(), [[("\u200b", "O"), ("x", "O")]]),
    "outside the basic plane": ("😀 O\n".encode(), [[("😀", "O")]]),
    "decomposed letters": ("e\u0301 O\n".encode(), [[("e\u0301", "O")]]),
    "hash as a word": (b"a O\n# O\n#1 O\n", [[("a", "O"), ("#", "O"), ("#1", "O")]]),
    "quotes as words": (b'" O\nEU B-ORG\n" O\n', [[('"', "O"), ("EU", "B-ORG"), ('"', "O")]]),
    "hyphens in a type": (b"EU B-ORG-x\n", [[("EU", "B-ORG-x")]]),
    "two borders in a row": (b"-DOCSTART- O\n\n-DOCSTART- O\n\nEU B-ORG\n", [[("EU", "B-ORG")]]),
    "border without blank lines": (b"a O\n-DOCSTART-\nb O\n", [[("a", "O")], [("b", "O")]]),
    "word that only begins like a border": (b"-DOCSTART-s O\n", [[("-DOCSTART-s", "O")]]),
    "iob1": (b"a I-X\nb B-X\n\nc I-X\n", [[("a", "B-X"), ("b", "B-X")], [("c", "B-X")]]),
    "bilou": (b"a B-X\nb L-X\nc U-Y\n", [[("a", "B-X"), ("b", "I-X"), ("c", "B-Y")]]),
    "long line": (b"x" * 2_000_000 + b" O\n", [[("x" * 2_000_000, "O")]]),
}


@pytest.mark.parametrize("name", READ_COLUMNS)
def test_column_file_is_read_exactly(tmp_path: Path, name: str) -> None:
    content, expected = READ_COLUMNS[name]
    path = tmp_path / "f.txt"
    path.write_bytes(content)
    sentences = read_columns(path)
    assert [list(zip(s["words"], s["tags"], strict=True)) for s in sentences] == expected


REFUSED_COLUMNS: dict[str, tuple[bytes, str]] = {
    "empty file": (b"", ":1: the file is empty; give a file"),
    "only a byte order mark": (b"\xef\xbb\xbf", ":1: the file is empty"),
    "only blank lines": (b"\n \n\n", ":1: the file holds no sentence; give a file"),
    "only document borders": (b"-DOCSTART- O\n\n", "holds no sentence"),
    "a column short": (
        b"EU NNP B-ORG\nis O\n",
        ":2: the number of columns is 2, but 3 on line 1; give",
    ),
    "a column long": (b"EU B-ORG\nis VBZ O\n", ":2: the number of columns is 3, but 2 on"),
    "words alone": (b"EU\nis\n", ":1: one column, so there is no tag; separate"),
    "one line without tag": (b"EU B-ORG\nis\n", ":2: the number of columns is 1, but 2"),
    "tab and space lines": (b"EU B-ORG\nis\tO\n", ":2: separated by tabs, but line 1 by spaces"),
    "space in a tab line": (b"EU\tB-ORG\nNew York\tO\n", ":2: tabs and spaces in one line"),
    "two tabs": (b"EU\t\tB-ORG\n", ":1: column 2 of 3 is empty; put one tab"),
    "tab at the end": (b"EU\tB-ORG\nis\tO\t\n", ":2: column 3 of 3 is empty"),
    "no word": (b"EU B-ORG\n O\n", ":2: the line starts with a separator"),
    "no-break space for a separator": ("EU\u00a0O\n".encode(), ":1: one column"),
    "unknown tag": (b"EU B-ORG\nis o\n", ":2: unknown tag 'o'; a tag is O or a prefix"),
    "tag without a type": (b"EU B-\n", ":1: unknown tag 'B-'"),
    "prefix behind": (b"EU ORG-B\n", ":1: unknown tag 'ORG-B'"),
    "other tag column": (b"EU B-ORG NNP\n", ":1: unknown tag 'NNP'"),
    "inside without a start": (b"EU B-ORG\nis O\nof I-ORG\n", ":3: I-ORG without a start.*'iob1'"),
    "inside of another type": (b"EU B-ORG\nis I-LOC\n", ":2: I-LOC without a start"),
    "inside after a border": (b"a B-X\n\nb I-X\n", ":3: I-X without a start"),
    "unfinished bioes": (b"a S-X\nb B-X\nc O\n", ":3: O follows a X entity that has no end"),
    "utf-16": ("EU B-ORG\n".encode("utf-16"), ":1: the file is UTF-16; save it as UTF-8"),
    "latin-1": (b"EU B-ORG\n\ncaf\xe9 O\n", ":3: byte 0xe9 is not UTF-8; save the file"),
    "cut character": (b"EU B-ORG\n\xe4\xb8", ":2: byte 0xe4 is not UTF-8"),
    "encoded surrogate": (b"\xed\xa0\x80 O\n", ":1: byte 0xed is not UTF-8"),
    "nul byte": (b"EU B-ORG\ni\0s O\n", ":2: a NUL byte; remove it"),
    "old mac line ends": (b"EU B-ORG\ris O\r", ":1: a carriage return without a line feed; end"),
    "carriage return in a word": (b"EU B-ORG\ni\rs O\n", ":2: a carriage return without"),
    "files joined with their marks": (b"EU O\n\n\xef\xbb\xbfis O\n", ":3: a byte order mark .U"),
    "comment first": (b"# sent_id = 1\nEU B-ORG\n", ":1: the line looks like a comment.*remove"),
    "comment later": (b"EU B-ORG\n\n# text\nis O\n", ":3: the line looks like a comment"),
    "comment among tabs": (b"EU\tB-ORG\n\n# id = 2\nis\tO\n", ":3: the line looks like a comment"),
    "tagged border": (b"-DOCSTART- B-ORG\n\nEU O\n", ":1: -DOCSTART- is a document border but is"),
    "gzip": (gzip.compress(b"EU B-ORG\n"), ":1: the file is compressed with gzip; unpack"),
}


@pytest.mark.parametrize("name", REFUSED_COLUMNS)
def test_column_file_is_refused(tmp_path: Path, name: str) -> None:
    content, message = REFUSED_COLUMNS[name]
    path = tmp_path / "f.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"f\.txt:\d") as caught:
        read_columns(path)
    caught.match(rf"f\.txt{message}" if message[0] == ":" else message)
    assert "\n" not in str(caught.value)


READ_TEXTS: dict[str, tuple[str, bytes, list[tuple[str, str]]]] = {
    "csv byte order mark": ("f.csv", b"\xef\xbb\xbftext,label\na,x\n", [("a", "x")]),
    "csv crlf": ("f.csv", b"text,label\r\na,x\r\nb,y", [("a", "x"), ("b", "y")]),
    "csv line ends in quotes": ("f.csv", b'text,label\n"a\r\nb\n\n",x\n', [("a\r\nb\n\n", "x")]),
    "csv doubled quotes": ("f.csv", b'text,label\n"a ""b"", c",x\n', [('a "b", c', "x")]),
    "csv quote inside a bare field": ("f.csv", b'text,label\n5" disk,x\n', [('5" disk', "x")]),
    "csv blank lines at the end": ("f.csv", b"text,label\na,x\n\n\r\n", [("a", "x")]),
    "csv index column": ("f.csv", b",text,label\n0,a,x\n", [("a", "x")]),
    "csv huge field": ("f.csv", b"text,label\n" + b"y" * 300_000 + b",x\n", [("y" * 300_000, "x")]),
    "tsv quotes": ("f.tsv", b'label\ttext\nx\t"a" b\ny\t"c\n', [('"a" b', "x"), ('"c', "y")]),
    "tsv line separator": ("f.tsv", "text\tlabel\na\u2028b\tx".encode(), [("a\u2028b", "x")]),
    "jsonl escapes": ("f.jsonl", b'{"text": "\\ud83d\\ude00\\n", "label": "x"}', [("😀\n", "x")]),
    "jsonl blank end": ("f.jsonl", b'{"text": "a", "label": 1}\r\n\n', [("a", "1")]),
    "jsonl separator": (
        "f.jsonl",
        '{"text": "a\u2028b\u0085", "label": "x"}\n'.encode(),
        [("a\u2028b\u0085", "x")],
    ),
}


@pytest.mark.parametrize("name", READ_TEXTS)
def test_table_is_read_exactly(tmp_path: Path, name: str) -> None:
    file, content, expected = READ_TEXTS[name]
    (tmp_path / file).write_bytes(content)
    examples = read_text_table(tmp_path / file)
    assert [(e["text"], e["label"]) for e in examples] == expected


REFUSED_TABLES: dict[str, tuple[str, bytes, str]] = {
    "csv empty": ("f.csv", b"", ":1: the file is empty"),
    "csv header alone": ("f.csv", b"text,label\n", ": the table holds no row"),
    "csv ragged": (
        "f.csv",
        b"text,label\na,x\nb, c,x\n",
        ":3: number of fields: 3, but 2 in the header",
    ),
    "csv blank line": ("f.csv", b"text,label\na,x\n\nb,y\n", ":3: an empty line, but"),
    "csv open quote": ("f.csv", b'text,label\na,x\n"b,x\nc,x\n', ":3: a quote that opens in this"),
    "csv text after a quote": ("f.csv", b'text,label\n"a"b,x\n', ":2: ',' expected after '\"'"),
    "csv two headers": ("f.csv", b"text,label,text\na,x,b\n", ":1: two columns are named 'text'"),
    "csv no such column": ("f.csv", b"body,label\na,x\n", ":1: no column 'text'; there are 'body'"),
    "csv empty text": ("f.csv", b"text,label\na,x\n ,y\n", ":3, column 'text': the text is empty"),
    "csv empty label": ("f.csv", b"text,label\na,\n", ":2, column 'label': the label is empty"),
    "csv latin-1": ("f.csv", b"text,label\na,x\n\xe9,x\n", ":3: byte 0xe9 is not UTF-8"),
    "csv nul": ("f.csv", b"text,label\na\0,x\n", ":2: a NUL byte"),
    "csv old mac": ("f.csv", b"text,label\ra,x\r", ":1: new-line character"),
    "csv bad line after a long row": (
        "f.csv",
        b'text,label\n"a\nb",x\nc\n',
        ":4: number of fields: 1",
    ),
    "tsv line end in quotes": (
        "f.tsv",
        b'text\tlabel\n"a\nb"\tx\n',
        ":2: number of fields: 1, but",
    ),
    "tsv that is csv": ("f.tsv", b"text,label\na,x\n", ":1: no column 'text'"),
    "jsonl bad": ("f.jsonl", b'{"text": "a", "label": 1}\n{"text"\n', ":2: not valid JSON"),
    "jsonl array": ("f.json", b'[{"text": "a"}]', ":1: the line holds a list; write one JSON"),
    "jsonl pretty": ("f.json", b'{\n  "text": "a"\n}', ":1: not valid JSON"),
    "jsonl blank line": ("f.jsonl", b'\n{"text": "a"}\n', ":1: the line is empty; remove it"),
    "jsonl key twice": ("f.jsonl", b'{"text": "a", "text": "b"}\n', ":1: .*a key stands twice"),
    "jsonl key missing": ("f.jsonl", b'{"text": "a"}\n', ":1: no column 'label'; there are 'text'"),
    "jsonl number": ("f.jsonl", b'{"text": 1, "label": 1}\n', ":1, column 'text': int where"),
    "jsonl null": ("f.jsonl", b'{"text": null, "label": 1}\n', ":1, column 'text': the value is"),
    "jsonl nan": ("f.jsonl", b'{"text": "a", "label": NaN}\n', ":1, column 'label': the value is"),
    "jsonl half a character": (
        "f.jsonl",
        b'{"text": "\\ud83d", "label": 1}\n',
        ":1, column 'text': half of a surrogate pair",
    ),
    "jsonl depth": ("f.jsonl", b"[" * 200_000, ":1: lists nested too deeply"),
    "jsonl digits": ("f.jsonl", b'{"text": ' + b"9" * 5000 + b"}", ":1: not valid JSON"),
    "parquet empty": ("f.parquet", b"", ": the file is empty"),
    "parquet that is csv": ("f.parquet", b"text,label\na,x\n", ": not a parquet file"),
    "parquet cut short": ("f.parquet", b"PAR1" + b"\0" * 40, ": not a parquet file"),
}


@pytest.mark.parametrize("name", REFUSED_TABLES)
def test_table_is_refused(tmp_path: Path, name: str) -> None:
    file, content, message = REFUSED_TABLES[name]
    (tmp_path / file).write_bytes(content)
    with pytest.raises(ValueError, match=file.replace(".", r"\.") + message) as caught:
        read_text_table(tmp_path / file)
    assert "\n" not in str(caught.value)


def test_damaged_parquet_is_refused(tmp_path: Path) -> None:
    """Bytes of the data pages overwritten: the footer is fine, the rows are not."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "f.parquet"
    pq.write_table(pa.table({"text": ["some text"] * 99, "label": [1] * 99}), path)
    data = bytearray(path.read_bytes())
    data[4:60] = b"\xff" * 56
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"f\.parquet: damaged after row 0"):
        read_text_table(path)


def test_words_that_look_empty_are_kept_in_tables(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_bytes('{"tokens": ["\u200b", " ", "a b"], "ner_tags": ["O", "O", "O"]}'.encode())
    assert read_token_table(path)[0]["words"] == ["\u200b", " ", "a b"]
