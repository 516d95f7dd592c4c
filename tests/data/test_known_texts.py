"""Evaluation texts are left out of a corpus."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lit_llm.data.corpus_source import CorpusSource
from lit_llm.data.documents import read_documents
from lit_llm.data.known_texts import known_texts, without_texts
from lit_llm.data.text_key import text_key


def test_white_space_and_line_breaks_do_not_tell_texts_apart() -> None:
    assert text_key(" a  b\n\nc ") == text_key("a b<br /><br />c") == text_key("a<BR>b<br/>c")
    assert len({text_key(text) for text in ("a b", "ab", "A b", "a b.", "")}) == 5


def test_known_texts_are_left_out_and_counted_by_set(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["one<br />two", "three", "  "]}), tmp_path / "test.parquet")
    rows = [{"review": "four"}, {"review": "three"}]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "extra.jsonl").write_text(lines)
    (tmp_path / "more.csv").write_text("text,label\nfive,1\n")
    sets = [
        CorpusSource(str(tmp_path / "test.parquet"), name="test"),
        CorpusSource(str(tmp_path / "extra.jsonl"), text_column="review"),
        CorpusSource(str(tmp_path / "more.csv")),
    ]
    texts = ["one two", "one two three", "three", "three", "four", "five", "six"]
    pq.write_table(pa.table({"text": texts}), tmp_path / "corpus.parquet")
    documents = read_documents(CorpusSource(str(tmp_path / "corpus.parquet")))
    notices: dict[str, int] = {}
    kept = [document["id"] for document in without_texts(documents, known_texts(sets), notices)]
    assert kept == ["corpus.parquet#2", "corpus.parquet#7"]
    what = "documents left out, for their text stands in"
    # "three" stands in two sets: it counts for the first.
    assert notices == {f"{what} test": 3, f"{what} extra": 1, f"{what} more": 1}


def test_sentences_and_running_text_are_the_same_text(tmp_path: Path) -> None:
    row = {"text": [["One came.", "Two went."], ["Three."]]}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    (tmp_path / "b.txt").write_text("One came. Two\nwent.\n\nThree.\n")
    known = known_texts([CorpusSource(str(tmp_path / "a.jsonl"))])
    notices: dict[str, int] = {}
    documents = read_documents(CorpusSource(str(tmp_path / "b.txt")))
    assert list(without_texts(documents, known, notices)) == []
    assert sum(notices.values()) == 1
