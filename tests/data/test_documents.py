"""Corpora of every form give documents, or say what is wrong with them."""

from __future__ import annotations

import dataclasses
import gzip
import json
import tarfile
import tracemalloc
from pathlib import Path
from typing import Any

import datasets
import jsonargparse
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lit_llm.data.corpus_source import CorpusSource
from lit_llm.data.documents import Document, document_text, read_documents

TWO = "One\ncame.\n\n\nTwo  went. \n"
PARAGRAPHS = ["One came.", "Two went."]


def write(path: Path, content: str | bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def jsonl(path: Path, *rows: Any) -> str:
    return write(path, "".join(json.dumps(row) + "\n" for row in rows))


def parquet(path: Path, **columns: list[Any]) -> str:
    pq.write_table(pa.table(columns), path, row_group_size=2)
    return str(path)


def read(path: str, **options: Any) -> list[Document]:
    return list(read_documents(CorpusSource(path, **options)))


def paragraphs(documents: list[Document]) -> list[Any]:
    return [document["paragraphs"] for document in documents]


def test_every_form_gives_the_same_paragraphs(tmp_path: Path) -> None:
    rows = [{"text": TWO}, {"text": "Three."}]
    texts = [row["text"] for row in rows]
    datasets.DatasetDict({"train": datasets.Dataset.from_list(rows)}).save_to_disk(tmp_path / "hub")
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    sources = [
        parquet(tmp_path / "f.parquet", text=texts, other=[1, 2]),
        jsonl(tmp_path / "f.jsonl", *rows),
        write(tmp_path / "f.jsonl.gz", gzip.compress(lines.encode())),
        write(tmp_path / "f.csv", f'text\n"{TWO}"\nThree.\n'),
        str(tmp_path / "hub"),
    ]
    for path in sources:
        assert paragraphs(read(path)) == [PARAGRAPHS, ["Three."]], path
    marked = write(tmp_path / "f.txt", f"{TWO}<end>\nThree.\n <end> \n")
    assert paragraphs(read(marked, document_marker="<end>")) == [PARAGRAPHS, ["Three."]]
    packed = write(tmp_path / "f.txt.gz", gzip.compress(TWO.encode()))
    assert paragraphs(read(packed)) == [PARAGRAPHS]
    crlf = write(tmp_path / "crlf.txt", TWO.replace("\n", "\r\n"))
    assert paragraphs(read(crlf)) == [PARAGRAPHS]


def test_a_directory_of_texts_is_a_document_and_a_group_for_each_file(tmp_path: Path) -> None:
    write(tmp_path / "c" / "b.txt", TWO)
    write(tmp_path / "c" / "a" / "z.txt", "Three.")
    write(tmp_path / "c" / ".hidden.txt", "no")
    write(tmp_path / "c" / "README.md", "no")
    documents = read(str(tmp_path / "c"))
    assert [document["id"] for document in documents] == ["a/z.txt", "b.txt"]
    assert [document["group"] for document in documents] == ["a/z.txt", "b.txt"]
    assert {document["source"] for document in documents} == {"c"}
    with tarfile.open(tmp_path / "c.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "c", "c")
    source = CorpusSource(str(tmp_path / "c.tar.gz"))
    unpacked = list(read_documents(source, cache_dir=tmp_path / "cache"))
    assert unpacked == [{**document, "source": "c"} for document in documents]


def test_shards_of_a_directory_are_read_in_order(tmp_path: Path) -> None:
    parquet(tmp_path / "train-00001.parquet", text=["c"])
    parquet(tmp_path / "train-00000.parquet", text=["a", "b"])
    ids = ["train-00000.parquet#1", "train-00000.parquet#2", "train-00001.parquet#1"]
    assert [document["id"] for document in read(str(tmp_path))] == ids


def test_sentences_of_the_data_are_kept(tmp_path: Path) -> None:
    rows = [["`` Go '' , he said .", " "], [], ["Yes . No ."]]
    path = jsonl(tmp_path / "f.jsonl", {"p": rows}, {"p": ["One .", "Two ."]})
    documents = read(path, text_column="p", tokenised=True)
    assert paragraphs(documents) == [[['"Go," he said.'], ["Yes. No."]], ["One.", "Two."]]
    assert document_text(documents[0]) == '"Go," he said.\n\nYes. No.'
    assert document_text(documents[1]) == "One.\n\nTwo."


def test_html_breaks_become_paragraphs_and_blanks(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "f.jsonl", {"text": "One<br />came.<br /><br />Two<BR>went."})
    assert paragraphs(read(path, markup="html_breaks")) == [PARAGRAPHS]
    kept = ["One<br />came.<br /><br />Two<BR>went."]
    assert paragraphs(read(path)) == [kept]


def test_group_is_the_columns_value_or_the_same_for_equal_texts(tmp_path: Path) -> None:
    path = parquet(tmp_path / "f.parquet", text=["a", "b", "a "], book=["x", "x", "y"], n=[1, 2, 3])
    assert [d["group"] for d in read(path, group_column="book")] == ["x", "x", "y"]
    assert [d["group"] for d in read(path, group_column="n")] == ["1", "2", "3"]
    first, second, third = (document["group"] for document in read(path))
    assert first == third != second
    assert [d["group"] for d in read(path, group_column="text")] == ["a", "b", "a "]


def test_empty_documents_are_left_out_and_counted(tmp_path: Path) -> None:
    notices: dict[str, int] = {}
    path = parquet(tmp_path / "f.parquet", text=["a", "", None, " \n\n "])
    assert len(list(read_documents(CorpusSource(path), notices))) == 1
    assert notices == {"empty documents left out": 3}
    # A marker ends a document: the first is empty, and after the last one there is none.
    path = write(tmp_path / "f.txt", "<end>\na\n<end>\n\n")
    notices = {}
    source = CorpusSource(path, document_marker="<end>")
    assert [d["id"] for d in read_documents(source, notices)] == ["f.txt#2"]
    assert notices == {"empty documents left out": 1}
    notices = {}
    source = CorpusSource(path, document_marker="<stop>")
    assert len(list(read_documents(source, notices))) == 1
    assert notices == {"text files without a line that is the document_marker": 1}


def test_label_is_the_name_or_from_the_path(tmp_path: Path) -> None:
    assert CorpusSource(write(tmp_path / "books" / "train.txt", "a")).label == "books_train"
    assert CorpusSource(write(tmp_path / "brown.jsonl.gz", "a")).label == "brown"
    assert CorpusSource(str(tmp_path / "books")).label == "books"
    assert CorpusSource(str(tmp_path / "books"), name="b").label == "b"
    assert CorpusSource("owner/corpus").label == "owner/corpus"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": 0.0}, "weight must be a finite number above 0, not 0.0; leave"),
        ({"weight": float("inf")}, "weight must be a finite number above 0"),
        ({"markup": "html"}, "markup must be none or html_breaks, not 'html'"),
        ({"document_marker": " "}, "document_marker of corpus source 'f' is empty"),
        ({"name": ""}, "name of corpus source 'f' is empty"),
    ],
)
def test_bad_option_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CorpusSource("f", **options)


REFUSED: dict[str, tuple[str, bytes, dict[str, Any], str]] = {
    "column": ("f.jsonl", b'{"body": "a"}\n', {}, r"f.jsonl:1: no column 'text'; .* 'body': pass"),
    "group": ("f.jsonl", b'{"text": "a"}\n', {"group_column": "b"}, "no column 'b'; there are"),
    "no group": ("f.jsonl", b'{"text": "a", "b": null}\n', {"group_column": "b"}, ":1, column 'b'"),
    "kind": ("f.jsonl", b'{"text": 5}\n', {}, ":1, column 'text': int where a string belongs"),
    "kinds": ("f.jsonl", b'{"text": [["a"], "b"]}\n', {}, "str where a paragraph's sentences"),
    "depth": ("f.jsonl", b'{"text": [[["a"]]]}\n', {}, "list where a string belongs"),
    "nul in json": ("f.jsonl", b'{"text": "a\\u0000"}\n', {}, "a NUL character; remove it"),
    "surrogate": ("f.jsonl", b'{"text": "\\ud800"}\n', {}, "half of a surrogate pair"),
    "not json": ("f.jsonl", b'{"text": "a"}\n{\n', {}, "f.jsonl:2: not valid JSON"),
    "nul": ("f.txt", b"a\nb\0\n", {}, "f.txt:2: a NUL byte"),
    "latin-1": ("f.txt", b"a\n\nb\xe9\n", {}, "f.txt:3: byte 0xe9 is not UTF-8"),
    "utf-16": ("f.txt", "a".encode("utf-16"), {}, "f.txt:1: the file is UTF-16"),
    "empty": ("f.txt", b"", {}, "f.txt:1: the file is empty"),
    "blank": ("f.txt", b"\n \n", {}, "f.txt: no document has text; give"),
    "no text": ("f.jsonl", b'{"text": ""}\n', {}, "f.jsonl: no document has text"),
    "cut gzip": ("f.txt.gz", gzip.compress(b"a" * 99)[:-9], {}, "damaged, or not gzip"),
    "no gzip": ("f.txt.gz", b"a", {}, "damaged, or not gzip"),
    "gzip": ("f.txt", gzip.compress(b"a"), {}, "compressed with gzip; unpack it first, or end"),
    "column of text": ("f.txt", b"a", {"group_column": "b"}, "plain text has no column 'b'; leave"),
    "marker of rows": ("f.csv", b"text\na\n", {"document_marker": "e"}, "leave document_marker"),
    "suffix": ("f.doc", b"a", {}, "a table's name ends with"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_file_is_refused(tmp_path: Path, name: str) -> None:
    file, content, options, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        read(write(tmp_path / file, content), **options)


def test_bad_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no file of a known kind; pass one file"):
        read(str(tmp_path))
    write(tmp_path / "train.txt", "a")
    write(tmp_path / "test.txt", "b")
    with pytest.raises(ValueError, match=r"several splits \(test.txt, train.txt\); pass the one"):
        read(str(tmp_path))
    write(tmp_path / "a.jsonl", "{}")
    with pytest.raises(ValueError, match=r"several kinds \(a.jsonl, test.txt, train.txt\)"):
        read(str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"no such file or directory; pass one, or a hub"):
        read(str(tmp_path / "nowhere.txt"))


def test_hub_split_is_found_by_its_own_name(tmp_path: Path) -> None:
    unsupervised = datasets.Dataset.from_list([{"text": "a"}])
    datasets.DatasetDict({"unsupervised": unsupervised}).save_to_disk(tmp_path / "hub")
    assert len(read(str(tmp_path / "hub"), hub_split="unsupervised")) == 1
    with pytest.raises(ValueError, match=r"no split 'train'; there are unsupervised: pass one"):
        read(str(tmp_path / "hub"))


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    def peak(path: str, **options: Any) -> int:
        tracemalloc.start()
        for _ in read_documents(CorpusSource(path, **options)):
            pass
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    document = "word " * 400
    for form in ("txt", "jsonl"):
        sizes = []
        for count in (20, 20, 1000):  # 2 kB each: 40 kB, and 2 MB; the first run imports
            line = (
                f"{document}\n<end>\n" if form == "txt" else json.dumps({"text": document}) + "\n"
            )
            path = write(tmp_path / f"{count}.{form}", line * count)
            sizes.append(peak(path, document_marker="<end>" if form == "txt" else None))
        assert sizes[2] < sizes[1] + 100_000, form


def test_sources_are_read_from_the_command_line() -> None:
    parser = jsonargparse.ArgumentParser()
    parser.add_argument("--sources", type=list[CorpusSource])
    given = '[{"path": "a.txt", "weight": 2}, {"path": "b.txt", "markup": "html_breaks"}]'
    sources = parser.instantiate(parser.parse_args([f"--sources={given}"])).sources
    assert sources[0].label  # what is kept of it is not part of the source
    expected = [CorpusSource("a.txt", weight=2.0), CorpusSource("b.txt", markup="html_breaks")]
    assert sources == expected
    assert "label" not in dataclasses.asdict(sources[0])
