"""The speed benchmark on a tiny model and a made-up corpus; figures are checked for sense only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import BertConfig, BertModel, BertTokenizerFast

ROOT = Path(__file__).resolve().parents[2]
WORDS = ["anna", "lives", "in", "rome", "and", "works", "for", "acme", "."]
TAGS = ["I-PER", "O", "O", "I-LOC", "O", "O", "O", "I-ORG", "O"]


@pytest.fixture(scope="module", autouse=True)
def _experiments_on_path() -> object:
    sys.path.insert(0, str(ROOT))
    yield
    sys.path.remove(str(ROOT))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("data") / "conll2003"
    directory.mkdir()
    sentence = "".join(f"{w} X X {t}\n" for w, t in zip(WORDS, TAGS, strict=True))
    for name in ("eng.train", "eng.testa", "eng.testb"):
        text = "-DOCSTART- -X- -X- O\n\n" + "\n".join([sentence] * 24) + "\n"
        (directory / name).write_text(text, encoding="utf-8")
    reviews = directory.with_name("imdb")
    reviews.mkdir()
    texts = [" ".join([*WORDS, f"{i}"]) for i in range(200)]
    pq.write_table(pa.table({"text": texts}), reviews / "unsupervised.parquet")
    return directory.parent


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("model")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (directory / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    BertTokenizerFast(str(directory / "vocab.txt")).save_pretrained(directory)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
    )
    BertModel(config).save_pretrained(directory)
    return directory


def _run(module: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_iob1_to_iob2_starts_each_entity_once() -> None:
    from experiments.speed.hugging_face_data import iob1_to_iob2

    tags = ["I-PER", "I-PER", "B-PER", "I-LOC", "O", "I-LOC"]
    assert iob1_to_iob2(tags) == ["B-PER", "I-PER", "B-PER", "B-LOC", "O", "B-LOC"]


def test_ratio_pairs_repetitions_before_the_median() -> None:
    from experiments.speed.table import ratio

    speeds = [("trainer_default", 10, 100, 1000), ("ours", 30, 200, 4000)]
    rows = [
        {"run": "a", "repetition": i, "system": system, "tokens_per_second": speed}
        for system, *values in speeds
        for i, speed in enumerate(values)
    ]
    assert ratio(rows, "ours") == 3.0  # ratios 3, 2, 4; of the medians it would be 2


def test_dropout_pairs_read_as_hidden_and_attention() -> None:
    from experiments.speed.settings import dropout_pairs

    assert dropout_pairs("0.1/0,0/0") == [(0.1, 0.0), (0.0, 0.0)]


@pytest.mark.slow
def test_run_writes_one_row_per_system(corpus: Path, model: Path, tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    out = _run(
        "experiments.speed.run",
        *("--task", "ner", "--dropouts", "0.1/0", "--repetitions", 1, "--steps", 5),
        *("--warmup_steps", 2, "--examples_per_batch", 4, "--max_length", 16, "--threads", 1),
        *("--model", model, "--data_dir", corpus, "--results", results),
    )
    rows = {row["system"]: row for row in map(json.loads, results.read_text().splitlines())}
    assert set(rows) == {"ours", "trainer_default", "trainer_tuned"}
    for row in rows.values():
        assert row["timed_tokens"] == 3 * 4 * (len(WORDS) + 2)  # [CLS] and [SEP] count
        assert row["examples_per_step"] == 4
        assert row["timed_steps"] == 3
        assert row["tokens_per_second"] > 0
        assert row["matmul_dtype"] == "bfloat16"
        assert (row["hidden_size"], row["num_hidden_layers"]) == (8, 2)
    assert "| ours |" in out


@pytest.mark.slow
@pytest.mark.parametrize("task", ["mlm", "clm"])
def test_language_models_see_as_many_tokens(
    task: str, corpus: Path, model: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results.jsonl"
    _run(
        "experiments.speed.run",
        *("--task", task, "--dropouts", "0.1/0", "--repetitions", 1, "--steps", 5),
        *("--systems", "ours", "trainer_default"),
        *("--warmup_steps", 2, "--examples_per_batch", 4, "--max_length", 16, "--threads", 1),
        *("--model", model, "--data_dir", corpus, "--results", results),
    )
    rows = {row["system"]: row for row in map(json.loads, results.read_text().splitlines())}
    ours, theirs = rows["ours"], rows["trainer_default"]
    assert theirs["timed_tokens"] == 3 * 4 * 16
    assert 0.7 * theirs["timed_tokens"] < ours["timed_tokens"] <= theirs["timed_tokens"]
    assert ours["num_parameters"] == theirs["num_parameters"]
    assert (ours["hidden_size"], ours["num_hidden_layers"]) == (8, 2)


@pytest.mark.slow
def test_quality_scores_test_once_per_seed(corpus: Path, model: Path, tmp_path: Path) -> None:
    results = tmp_path / "quality.jsonl"
    _run(
        "experiments.speed.quality",
        *("--seeds", 1, 2, "--max_epochs", 2, "--lr", 0.1, "--examples_per_batch", 4),
        *("--max_length", 16, "--model", model, "--data_dir", corpus, "--results", results),
        *("--dropout", "0/0"),
    )
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    assert [row["seed"] for row in rows] == [1, 2]
    for row in rows:
        # Each word has one tag, and the three files are alike.
        assert row["dev_entity_f1"] == max(row["dev_entity_f1_by_epoch"]) == 1.0
        assert row["test_entity_f1"] == 1.0
        assert row["train_steps"] == 2 * 6
        assert (row["dropout"], row["attention_dropout"]) == (0.0, 0.0)
