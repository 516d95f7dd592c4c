from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from lit_llm.data.columns import read_column_splits, read_columns

SHARED = Path(os.environ.get("LIT_LLM_DATA") or Path(__file__).parents[2].parent / "shared/data")
CONLL = SHARED / "conll2003"

SMALL = """-DOCSTART- -X- -X- O

EU NNP I-NP I-ORG
rejects VBZ I-VP O

Peter NNP I-NP I-PER

-DOCSTART- -X- -X- O

BRUSSELS NNP I-NP I-LOC
"""


def test_read_columns_gives_sentences_documents_and_ids(tmp_path: Path) -> None:
    path = tmp_path / "eng.train"
    path.write_text(SMALL)
    assert read_columns(path) == [
        {"id": "eng.train:3", "words": ["EU", "rejects"], "tags": ["B-ORG", "O"], "document": 0},
        {"id": "eng.train:6", "words": ["Peter"], "tags": ["B-PER"], "document": 0},
        {"id": "eng.train:10", "words": ["BRUSSELS"], "tags": ["B-LOC"], "document": 1},
    ]


def test_read_columns_takes_other_columns(tmp_path: Path) -> None:
    path = tmp_path / "f.tsv"
    path.write_text("1\tEU\tB-ORG\t_\n2\tis\tO\t_\n")
    (sentence,) = read_columns(path, tag_column=-2, word_column=1)
    assert (sentence["words"], sentence["tags"]) == (["EU", "is"], ["B-ORG", "O"])
    assert read_columns(path, tag_column=2, word_column=1) == [sentence]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"tag_column": 4}, ":3: 4 columns, so there is no column tag_column=4; pass -4 to 3"),
        ({"word_column": -5}, "no column word_column=-5"),
        ({"word_column": 3}, "word_column=3 and tag_column=-1 are the same of 4 columns"),
    ],
)
def test_read_columns_refuses_columns_that_are_not_there(
    tmp_path: Path, columns: dict[str, int], message: str
) -> None:
    path = tmp_path / "eng.train"
    path.write_text(SMALL)
    with pytest.raises(ValueError, match=message):
        read_columns(path, **columns)


def test_read_columns_text_before_the_first_border_is_a_document(tmp_path: Path) -> None:
    path = tmp_path / "f.txt"
    path.write_text("a O\n\n-DOCSTART-\n\nb O\n-DOCSTART- O\n-DOCSTART- O\nc O\n")
    # The two borders in a row leave document 2 without a sentence.
    assert [(e["words"], e["document"]) for e in read_columns(path)] == [
        (["a"], 0),
        (["b"], 1),
        (["c"], 3),
    ]


def test_read_column_splits_shares_one_scheme(tmp_path: Path) -> None:
    train, dev = tmp_path / "train.txt", tmp_path / "dev.txt"
    train.write_text("a I-PER\nb B-PER\n\nc I-LOC\n")
    dev.write_text("d B-PER\n")  # alone it would be IOB2
    with pytest.raises(ValueError, match=r"dev.txt:1: B-PER follows no PER entity"):
        read_column_splits({"train": train, "dev": dev})
    splits = read_column_splits({"train": train, "dev": dev}, scheme="iob1")
    assert [e["tags"] for e in splits["train"]] == [["B-PER", "B-PER"], ["B-LOC"]]
    assert [e["tags"] for e in splits["dev"]] == [["B-PER"]]


def test_read_columns_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.txt"):
        read_columns(tmp_path / "nothing.txt")


# Sentences, tokens, documents and entities of each file, and the per-tag supports of testb:
# counted by the conlleval rules, from the corpus' own description (Tjong Kim Sang and De Meulder
# 2003, tables 1 and 2, without the -DOCSTART- lines).
COUNTS = {
    "train": (14041, 203621, 946, {"LOC": 7140, "MISC": 3438, "ORG": 6321, "PER": 6600}),
    "testa": (3250, 51362, 216, {"LOC": 1837, "MISC": 922, "ORG": 1341, "PER": 1842}),
    "testb": (3453, 46435, 231, {"LOC": 1668, "MISC": 702, "ORG": 1661, "PER": 1617}),
}
TESTB_INSIDE = {"I-LOC": 257, "I-MISC": 216, "I-ORG": 835, "I-PER": 1156, "O": 38323}


@pytest.mark.skipif(not CONLL.is_dir(), reason="needs the CoNLL-2003 files (LIT_LLM_DATA)")
def test_conll2003_counts_are_the_published_ones() -> None:
    splits = read_column_splits({name: CONLL / f"eng.{name}" for name in COUNTS})
    for name, (sentences, tokens, documents, entities) in COUNTS.items():
        examples = splits[name]
        tags = Counter(tag for e in examples for tag in e["tags"])
        assert len(examples) == len({e["id"] for e in examples}) == sentences
        assert sum(len(e["words"]) for e in examples) == sum(tags.values()) == tokens
        assert {e["document"] for e in examples} == set(range(documents))
        assert {tag[2:]: n for tag, n in tags.items() if tag[0] == "B"} == entities
    assert {tag: n for tag, n in tags.items() if tag[0] != "B"} == TESTB_INSIDE


@pytest.mark.skipif(not CONLL.is_dir(), reason="needs the CoNLL-2003 files (LIT_LLM_DATA)")
@pytest.mark.parametrize("name", ["testa", "testb"])
def test_conll2003_files_alone_are_detected(name: str) -> None:
    assert len(read_columns(CONLL / f"eng.{name}")) == COUNTS[name][0]
