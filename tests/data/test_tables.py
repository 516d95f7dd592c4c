from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lit_llm.data.table_examples import (
    CONLL2003_TAGS,
    check_text_labels,
    read_text_table,
    read_token_table,
)
from lit_llm.data.tables import read_table


def write(path: Path, content: str) -> Path:
    path.write_bytes(content.encode())
    return path


def parquet(path: Path, **columns: list[Any]) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def jsonl(path: Path, *rows: object) -> Path:
    return write(path, "".join(json.dumps(row) + "\n" for row in rows))


def test_every_format_gives_the_same_rows(tmp_path: Path) -> None:
    parquet(tmp_path / "f.parquet", text=["a", "b c"], other=[1, 2])
    write(tmp_path / "f.csv", "text,other\na,1\nb c,2\n")
    write(tmp_path / "f.tsv", "other\ttext\n1\ta\n2\tb c\n")
    jsonl(tmp_path / "f.jsonl", {"text": "a"}, {"text": "b c", "other": None})
    for suffix, numbers in ((".parquet", (1, 2)), (".csv", (2, 3)), (".tsv", (2, 3))):
        table = read_table(tmp_path / f"f{suffix}", ["text"])
        rows = [(number, row["text"]) for number, row in table.rows]
        assert rows == list(zip(numbers, ("a", "b c"), strict=True))
    table = read_table(tmp_path / "f.jsonl", ["text"])
    assert [(number, row["text"]) for number, row in table.rows] == [(1, "a"), (2, "b c")]


def test_table_at_names_rows_and_lines(tmp_path: Path) -> None:
    table = read_table(parquet(tmp_path / "f.parquet", text=["a"]), ["text"])
    assert table.at(3).endswith("f.parquet row 3")
    table = read_table(write(tmp_path / "f.csv", "text\na\n"), ["text"])
    assert table.at(3).endswith("f.csv:3")


def test_csv_keeps_commas_quotes_and_line_ends(tmp_path: Path) -> None:
    texts = ['He said "no", twice', "two\nlines", "dos\r\nlines", "mac\rline", "a\u2028b", " a "]
    path = tmp_path / "f.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["text", "label"], *([text, "x"] for text in texts)])
    examples = read_text_table(path)
    assert [e["text"] for e in examples] == texts
    # Line 1 is the header; the second and third texts take two lines each.
    assert [e["id"] for e in examples] == [f"f.csv#{n}" for n in (2, 3, 5, 7, 8, 9)]


def test_csv_row_numbers_are_the_lines_rows_start_at(tmp_path: Path) -> None:
    path = write(tmp_path / "f.csv", 'text,label\n"a\nb\nc",x\nd,x\n')
    assert [e["id"] for e in read_text_table(path)] == ["f.csv#2", "f.csv#5"]


def test_csv_reads_huge_fields_and_leaves_the_limit_alone(tmp_path: Path) -> None:
    limit = csv.field_size_limit()
    text = "long " * 100_000
    path = write(tmp_path / "f.csv", f"text,label\n{text},x\n")
    assert read_text_table(path)[0]["text"] == text
    assert csv.field_size_limit() == limit


def test_strings_are_never_taken_for_missing(tmp_path: Path) -> None:
    path = write(tmp_path / "f.csv", "text,label\nNA,nan\nnull,None\n")
    assert [(e["text"], e["label"]) for e in read_text_table(path)] == [
        ("NA", "nan"),
        ("null", "None"),
    ]


def test_class_names_come_from_the_parquet_metadata(tmp_path: Path) -> None:
    features = datasets.Features(
        tokens=datasets.List(datasets.Value("string")),
        ner_tags=datasets.List(datasets.ClassLabel(names=["O", "B-X", "I-X"])),
    )
    rows = {"tokens": [["a", "b"]], "ner_tags": [[1, 2]]}
    table = datasets.Dataset.from_dict(rows, features=features).with_format("arrow")[:]
    pq.write_table(table, tmp_path / "f.parquet")
    (sentence,) = read_token_table(tmp_path / "f.parquet")
    assert sentence["tags"] == ["B-X", "I-X"]


@pytest.mark.parametrize("kind", ["Sequence", "list"])
def test_class_names_in_older_metadata(tmp_path: Path, kind: str) -> None:
    label = {"names": ["O", "B-X"], "_type": "ClassLabel"}
    feature = [label] if kind == "list" else {"feature": label, "length": -1, "_type": "Sequence"}
    metadata = {"huggingface": json.dumps({"info": {"features": {"ner_tags": feature}}})}
    table = pa.table({"tokens": [["a"]], "ner_tags": [[1]]}).replace_schema_metadata(metadata)
    pq.write_table(table, tmp_path / "f.parquet")
    assert read_token_table(tmp_path / "f.parquet")[0]["tags"] == ["B-X"]


def test_token_rows_in_the_order_of_the_hub_only_when_passed(tmp_path: Path) -> None:
    path = parquet(tmp_path / "f.parquet", tokens=[["EU", "in", "Rome"]], ner_tags=[[3, 0, 5]])
    with pytest.raises(
        ValueError,
        match=r"row 1, column 'ner_tags': class index 3 without names; pass label_names$",
    ):
        read_token_table(path)
    (sentence,) = read_token_table(path, label_names=CONLL2003_TAGS)
    assert sentence["tags"] == ["B-ORG", "O", "B-LOC"]


def test_token_rows_of_strings_are_converted(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "f.jsonl", {"w": ["a", "b"], "t": ["I-X", "B-X"]})
    (sentence,) = read_token_table(path, tokens="w", tags="t")
    assert sentence == {"id": "f.jsonl#1", "words": ["a", "b"], "tags": ["B-X"] * 2, "document": 0}
    (raw,) = read_token_table(path, tokens="w", tags="t", scheme=None)
    assert raw["tags"] == ["I-X", "B-X"]
    (untagged,) = read_token_table(path, tokens="w", tags=None)
    assert "tags" not in untagged


def test_document_borders_from_rows_or_from_a_column(tmp_path: Path) -> None:
    words = [["-DOCSTART-"], ["a"], ["b"], ["-DOCSTART-"], ["c"]]
    rows = [{"tokens": w, "ner_tags": ["O"]} for w in words]
    examples = read_token_table(jsonl(tmp_path / "f.jsonl", *rows))
    assert [(e["words"], e["document"]) for e in examples] == [(["a"], 0), (["b"], 0), (["c"], 1)]
    rows = [{"tokens": ["a"], "ner_tags": ["O"], "doc": doc} for doc in (7, 7, 3)]
    examples = read_token_table(jsonl(tmp_path / "g.jsonl", *rows), document="doc")
    assert [e["document"] for e in examples] == [0, 0, 1]


@pytest.mark.parametrize(
    ("tokens", "tags", "message"),
    [
        (["a", "b"], ["O"], r":1, column 'ner_tags': 1 tags for 2 tokens"),
        ([], [], "column 'tokens': the sentence is empty"),
        (["a", ""], ["O", "O"], "column 'tokens': token 2 is empty"),
        (["a", None], ["O", "O"], "column 'tokens': NoneType where a string belongs"),
        ("a b", ["O", "O"], "column 'tokens': str where a list of tokens belongs"),
        ([["a"]], ["O"], "column 'tokens': list where a string belongs"),
        (["a"], "O", "column 'ner_tags': str where a list of tags belongs"),
        (["a"], None, "column 'ner_tags': the value is missing"),
        (["a"], [1.0], "column 'ner_tags': float where a tag"),
        (["a"], [3], "column 'ner_tags': class index 3 is outside 0 to 2"),
        (["a"], [-1], "hub's sign for no label"),
        (["a"], ["B-Y"], "tag 'B-Y' is not one of 'O', 'B-X', 'I-X'"),
        (["a"], ["I-X"], ":1, word 1: I-X without a start"),
    ],
)
def test_token_rows_that_are_refused(
    tmp_path: Path, tokens: object, tags: object, message: str
) -> None:
    path = jsonl(tmp_path / "f.jsonl", {"tokens": tokens, "ner_tags": tags})
    with pytest.raises(ValueError, match=message):
        read_token_table(path, label_names=["O", "B-X", "I-X"], scheme="iob2")


def test_unknown_tag_names_row_and_column(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "f.jsonl", {"tokens": ["a"], "ner_tags": ["PER"]})
    with pytest.raises(ValueError, match=r"f.jsonl:1, column 'ner_tags': unknown tag 'PER'"):
        read_token_table(path)


@pytest.mark.parametrize(
    ("value", "names", "expected"),
    [
        ("pos", None, "pos"),
        ("pos", ["neg", "pos"], "pos"),
        (1, ["neg", "pos"], "pos"),
        (True, ["neg", "pos"], "pos"),
        (4, None, "4"),
        ("1", ["neg", "pos"], "pos"),  # text formats write class indices as digits
        ("1", ["1", "0"], "1"),  # a name is a name first
    ],
)
def test_single_labels(
    tmp_path: Path, value: object, names: list[str] | None, expected: str
) -> None:
    path = jsonl(tmp_path / "f.jsonl", {"text": "t", "label": value})
    assert read_text_table(path, label_names=names)[0]["label"] == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "the value is missing"),
        ("", "the label is empty"),
        (2, "class index 2 is outside 0 to 1"),
        (-1, ".*the hub's sign for no label"),
        ("good", "label 'good' is not one of 'neg', 'pos'"),
        (1.0, "float where a label"),
        (["pos"], "list where a label"),
        (float("nan"), "the value is missing"),
    ],
)
def test_single_labels_that_are_refused(tmp_path: Path, value: object, message: str) -> None:
    path = jsonl(tmp_path / "f.jsonl", {"text": "t", "label": "neg"}, {"text": "t", "label": value})
    with pytest.raises(ValueError, match=f"f.jsonl:2, column 'label': {message}.*; correct"):
        read_text_table(path, label_names=["neg", "pos"])


def test_multi_labels_and_numbers(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "f.jsonl", {"text": "t", "label": ["a", 0]})
    kind = "multi_label_classification"
    examples = read_text_table(path, label_names=["b", "a"], problem_type=kind)
    assert examples[0]["label"] == ["a", "b"]
    path = jsonl(tmp_path / "f.jsonl", {"text": "t", "label": [0, 1, 0]})
    with pytest.raises(ValueError, match="a label stands twice"):
        read_text_table(path, label_names=["b", "a"], problem_type=kind)
    path = write(tmp_path / "f.csv", "text,label\nt,-1.5e1\n")
    assert read_text_table(path, problem_type="regression")[0]["label"] == -15.0
    for value in ("nan", "inf", "high", "1_0"):
        write(path, f"text,label\nt,{value}\n")
        with pytest.raises(ValueError, match=f"csv:2, .*'{value}' where a finite number belongs"):
            read_text_table(path, problem_type="regression")


def test_more_columns_are_kept_as_they_stand(tmp_path: Path) -> None:
    path = write(tmp_path / "f.csv", "text,label,grade\ngood,a,3\n")
    (example,) = read_text_table(path, keep=["grade"])
    assert example == {"id": "f.csv#2", "text": "good", "label": "a", "grade": "3"}
    path = jsonl(tmp_path / "f.jsonl", {"tokens": ["w"], "ner_tags": ["O"], "easy": True})
    assert read_token_table(path, keep=["easy"])[0]["easy"] is True


def test_a_column_that_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "f.jsonl", {"text": "good", "label": "a", "id": 7, "grade": None})
    for name, message in (
        ("level", "no column 'level'"),
        ("id", "column 'id': examples have a field of this name"),
        ("grade", "column 'grade': the value is missing"),
    ):
        with pytest.raises(ValueError, match=message):
            read_text_table(path, keep=[name])


def test_unknown_problem_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown problem_type 'ranking'; use one of single_label"):
        read_text_table(tmp_path / "f.csv", problem_type="ranking")


def test_text_without_labels_has_none(tmp_path: Path) -> None:
    path = parquet(tmp_path / "f.parquet", text=["a"])
    assert read_text_table(path, label=None) == [{"id": "f.parquet#1", "text": "a"}]


def test_parquet_rows_that_are_refused(tmp_path: Path) -> None:
    path = parquet(tmp_path / "f.parquet", text=["a", None], label=[0, 1])
    with pytest.raises(ValueError, match=r"f.parquet row 2, column 'text': the value is missing"):
        read_text_table(path)
    with pytest.raises(ValueError, match="no column 'body'; there are 'text', 'label'"):
        read_text_table(path, text="body")
    with pytest.raises(ValueError, match="row 1, column 'text': bytes where a string belongs"):
        read_text_table(parquet(path, text=[b"a"], label=[0]))
    with pytest.raises(ValueError, match="holds no row"):
        read_text_table(parquet(path, text=pa.array([], pa.string()), label=[]))
    broken = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pa.py_buffer(b"a\xff")]
    )
    with pytest.raises(ValueError, match=r"f.parquet row 2: text that is not UTF-8"):
        read_text_table(parquet(path, text=broken, label=[0, 1]))


def test_check_text_labels_names_the_row() -> None:
    check_text_labels([{"id": "f.csv#2", "label": "a"}], ["a"])
    with pytest.raises(ValueError, match=r"f.csv:3: label 'c' is not .* which has 'a', 'b'"):
        check_text_labels([{"id": "f.csv#3", "label": ["b", "c"]}], ["b", "a"])
    with pytest.raises(ValueError, match=r"f.parquet row 4: label 'c'"):
        check_text_labels([{"id": "f.parquet#4", "label": "c"}], ["a"])


def test_unknown_suffix_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ends with one of .parquet, .jsonl"):
        read_table(tmp_path / "f.xlsx", ["text"])
