"""The dataset modules read real forms of data and serve every example."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lit_llm.data import imdb as imdb_module
from lit_llm.data.batch_config import BatchConfig
from lit_llm.data.conll2003 import CoNLL2003
from lit_llm.data.imdb import IMDB, development_ids
from lit_llm.data.text_classification import TextClassification
from lit_llm.data.tokenizers import train_tokenizer
from lit_llm.data.toy_ner import ToyNER
from lit_llm.data.toy_reviews import ToyReviews

COLUMNS = """-DOCSTART- -X- O O

Ann NNP I-NP I-PER
sees VBZ I-VP O
Bonn NNP I-NP I-LOC

Bob NNP I-NP I-PER
sleeps VBZ I-VP O

"""
DATA = Path(os.environ.get("LIT_LLM_DATA", Path(__file__).parents[3] / "shared/data"))


def attach(data, texts=("Ann sees Bonn", "Bob sleeps"), max_positions=64, causal=False, world=1):
    """What a trainer with a model would give the data module."""
    backbone = SimpleNamespace(
        tokenizer_state=dict,
        tokenizer=train_tokenizer(texts, "wordpiece", 120),
        tokenizer_to_train=None,
        max_positions=max_positions,
        causal=causal,
        packs=True,
    )
    data.trainer = SimpleNamespace(
        lightning_module=SimpleNamespace(backbone=backbone),
        world_size=world,
        global_rank=0,
        accumulate_grad_batches=1,
    )
    data.prepare_data()
    data.setup("fit")
    return data


def write_columns(root):
    for name in ("eng.train", "eng.testa", "eng.testb"):
        (root / name).write_text(COLUMNS)
    return str(root)


def test_conll_splits_labels_and_units(tmp_path):
    data = attach(CoNLL2003(write_columns(tmp_path), batches=BatchConfig(examples_per_batch=2)))
    assert data.label_names == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    assert data.num_units("test") == 5
    assert data.examples("train")[0]["tags"] == ["B-PER", "O", "B-LOC"]
    batch = next(iter(data.train_dataloader()))
    assert batch.num_examples == 2
    assert sorted(batch.targets["unit_ids"].tolist()) == [0, 1, 2, 3, 4]


def test_conll_as_table_equals_conll_as_columns(tmp_path):
    (tmp_path / "columns").mkdir()
    columns = attach(CoNLL2003(write_columns(tmp_path / "columns")))
    table = tmp_path / "table"
    table.mkdir()
    names = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    for name in ("train", "validation", "test"):
        with (table / f"{name}.jsonl").open("w") as file:
            for example in columns.examples("train"):
                tags = [names.index(tag) for tag in example["tags"]]
                file.write(json.dumps({"tokens": example["words"], "ner_tags": tags}) + "\n")
    again = attach(CoNLL2003(str(table), label_names=names))
    for mine, theirs in zip(again.examples("val"), columns.examples("val"), strict=True):
        assert mine["words"] == theirs["words"]
        assert mine["tags"] == theirs["tags"]


def test_changed_file_is_read_anew(tmp_path):
    path = write_columns(tmp_path)
    assert len(attach(CoNLL2003(path)).examples("train")) == 2
    (tmp_path / "eng.train").write_text(COLUMNS + "Eve NNP I-NP I-PER\n")
    assert len(attach(CoNLL2003(path)).examples("train")) == 3


def test_max_length_above_the_positions_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"data.max_length = 100 is above the backbone's 64"):
        attach(CoNLL2003(write_columns(tmp_path), max_length=100))


def test_missing_split_is_refused(tmp_path):
    write_columns(tmp_path)
    (tmp_path / "eng.testb").unlink()
    data = attach(CoNLL2003(str(tmp_path)))
    assert not data.has_split("test")
    with pytest.raises(ValueError, match="has no test split"):
        data.setup("test")


def test_both_batch_sizes_are_refused():
    with pytest.raises(ValueError, match="exclude each other"):
        BatchConfig(examples_per_batch=2, tokens_per_batch=64)


def test_data_without_a_model_says_what_to_do(tmp_path):
    with pytest.raises(RuntimeError, match=r"pass both to Trainer\.fit"):
        CoNLL2003(write_columns(tmp_path)).prepare_data()


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_text_classification_reads_each_table_form(tmp_path, suffix):
    rows = [{"text": "Ann sees Bonn", "label": "yes"}, {"text": "Bob sleeps", "label": "no"}]
    for split in ("train", "dev", "test"):
        path = tmp_path / f"{split}.{suffix}"
        if suffix == "parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        elif suffix == "jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            mark = "," if suffix == "csv" else "\t"
            lines = [mark.join(("text", "label")), *(mark.join(row.values()) for row in rows)]
            path.write_text("\n".join(lines) + "\n")
    data = attach(TextClassification(str(tmp_path)))
    assert data.label_names == ["no", "yes"]
    batch = next(iter(data.val_dataloader()))
    by_unit = dict(
        zip(batch.targets["unit_ids"].tolist(), batch.targets["labels"].tolist(), strict=True)
    )
    assert by_unit == {0: 1, 1: 0}


def test_label_outside_the_training_set_is_refused(tmp_path):
    (tmp_path / "train.csv").write_text("text,label\na,yes\nb,no\n")
    (tmp_path / "test.csv").write_text("text,label\na,maybe\n")
    with pytest.raises(ValueError, match="'maybe'"):
        attach(TextClassification(str(tmp_path)))


def test_development_ids_are_whole_blocks_without_repeated_texts():
    texts = [f"review {i}" for i in range(25_000)]
    texts[470] = texts[12_000]  # in a development block, and again in training
    chosen = development_ids(texts)
    negative = sorted(i for i in chosen if i < 12_500)
    assert len(chosen) == 2_500
    assert len(negative) == 1_250
    assert 470 not in chosen
    assert set(range(450, 500)) - chosen == {470}
    outside = [i for i in negative if i // 50 % 10 != 9]
    assert outside == [500]  # the next id took the repeated one's place


def test_imdb_tree_and_tables_give_the_same_reviews(tmp_path, monkeypatch):
    monkeypatch.setattr(imdb_module, "_PER_CLASS", 20)
    monkeypatch.setattr(imdb_module, "_DEV_PER_CLASS", 2)
    monkeypatch.setattr(imdb_module, "_BLOCK", 2)
    tree, tables = tmp_path / "tree", tmp_path / "tables"
    tables.mkdir()
    for split in ("train", "test"):
        rows = []
        for label, folder in enumerate(("neg", "pos")):
            (tree / split / folder).mkdir(parents=True)
            for i in range(20):
                text = f"{split} {folder} {i if (split, i) != ('test', 3) else 'x'}"
                text = "train neg 5" if (split, folder, i) == ("test", "neg", 0) else text
                (tree / split / folder / f"{i}_7.txt").write_text(text)
                rows.append({"text": text, "label": label})
        pq.write_table(pa.Table.from_pylist(rows), tables / f"{split}.parquet")
    texts = ("train test neg pos",)
    from_tree, from_tables = attach(IMDB(str(tree)), texts), attach(IMDB(str(tables)), texts)
    for split in ("train", "val", "test"):
        mine = [(e["text"], e["label"]) for e in from_tree.examples(split)]
        assert mine == [(e["text"], e["label"]) for e in from_tables.examples(split)]
    assert len(from_tree.examples("val")) == 4
    unseen = ["unseen" in list(e["subsets"]) for e in from_tree.examples("test")]
    assert unseen.count(False) == 1


def test_directory_that_is_not_imdb_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is not IMDB"):
        attach(IMDB(str(tmp_path)))


@pytest.mark.skipif(not (DATA / "imdb").is_dir(), reason="no real IMDB")
@pytest.mark.slow
def test_real_imdb_counts():
    data = IMDB(str(DATA / "imdb"))
    train, val, test = (list(data.read(split)) for split in ("train", "val", "test"))
    assert (len(train), len(val), len(test)) == (22_500, 2_500, 25_000)
    assert sum(e["label"] == "positive" for e in val) == 1_250
    assert not {e["text"] for e in train} & {e["text"] for e in val}
    known = {e["text"] for e in [*train, *val]}
    assert len({e["text"] for e in test if not e["subsets"]}) == 123
    assert all((e["text"] in known) == (not e["subsets"]) for e in test)


@pytest.mark.parametrize("data", [ToyNER(), ToyReviews()])
def test_toy_data_serve_every_unit_once(data):
    attach(data, texts=("a film of Bonn",))
    units = [
        unit
        for batch in data.test_dataloader()
        if batch.num_examples
        for unit in batch.targets["unit_ids"].tolist()
    ]
    assert sorted(units) == list(range(data.num_units("test")))
    assert (
        0 < data.reference_rows()["test/majority"] < data.reference_rows()["test/best_possible"] < 1
    )
