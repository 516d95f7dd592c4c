"""The speed benchmark on a tiny model and a made-up corpus; figures are checked for sense only."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., str]


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
def test_run_writes_one_row_per_system(
    corpus: Path, model: Path, words: list[str], run_module: Run, tmp_path: Path
) -> None:
    results = tmp_path / "results.jsonl"
    out = run_module(
        "experiments.speed.run",
        *("--task", "ner", "--dropouts", "0.1/0", "--repetitions", 1, "--steps", 5),
        *("--warmup_steps", 2, "--examples_per_batch", 4, "--max_length", 16, "--threads", 1),
        *("--model", model, "--data_dir", corpus, "--results", results),
    )
    rows = {row["system"]: row for row in map(json.loads, results.read_text().splitlines())}
    assert set(rows) == {"ours", "trainer_default", "trainer_tuned"}
    for row in rows.values():
        assert row["timed_tokens"] == 3 * 4 * (len(words) + 2)  # [CLS] and [SEP] count
        assert row["examples_per_step"] == 4
        assert row["timed_steps"] == 3
        assert row["tokens_per_second"] > 0
        assert row["matmul_dtype"] == "bfloat16"
        assert (row["hidden_size"], row["num_hidden_layers"]) == (8, 2)
    assert "| ours |" in out


@pytest.mark.slow
@pytest.mark.parametrize("task", ["mlm", "clm"])
def test_language_models_see_as_many_tokens(
    task: str, corpus: Path, model: Path, run_module: Run, tmp_path: Path
) -> None:
    results = tmp_path / "results.jsonl"
    run_module(
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
def test_quality_scores_test_once_per_seed(
    corpus: Path, model: Path, run_module: Run, tmp_path: Path
) -> None:
    results = tmp_path / "quality.jsonl"
    run_module(
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
