import json

import pytest

from lit_llm.run_directory import (
    discard_if_nothing_was_trained,
    fresh_run_dir,
    write_json,
    write_results,
)


def test_fresh_directories_never_collide(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len({fresh_run_dir(None) for _ in range(5)}) == 5


def test_directory_in_use_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="is not empty: choose another, or continue it"):
        fresh_run_dir(str(tmp_path))


def test_number_that_is_not_finite_becomes_null(tmp_path):
    write_json(tmp_path / "a.json", {"x": float("nan"), "y": [float("inf"), 1.5], "z": (1, "ü")})
    assert json.loads((tmp_path / "a.json").read_text()) == {
        "x": None,
        "y": [None, 1.5],
        "z": [1, "ü"],
    }


def test_results_hold_metrics_of_every_split(tmp_path):
    splits = {
        split: {
            "metrics": {"loss": 0.5, "accuracy": 0.75},
            "tables": {},
            "text": "a table",
            "records": [{"id": f"{split}/0", "gold": "a", "prediction": "b"}],
        }
        for split in ("val", "test")
    }
    best = {"monitor": "val/accuracy", "value": 0.75, "step": 10, "epoch": 1}
    facts = {"run": "r", "best": best, "notices": {"test": {"texts cut": 3}}}
    results = write_results(tmp_path, splits, facts, "test")
    assert results == json.loads((tmp_path / "results.json").read_text())
    assert results["metrics"]["test/accuracy"] == 0.75
    assert json.loads((tmp_path / "predictions.jsonl").read_text())["id"] == "test/0"
    report = (tmp_path / "report.md").read_text()
    for words in ("| val/accuracy | 0.7500 |", "- test: 3 texts cut", "step 10", "a table"):
        assert words in report


def test_what_predicts_nothing_leaves_no_empty_file(tmp_path):
    (tmp_path / "predictions.jsonl").write_text("of an earlier command")
    result = {"metrics": {"loss": 0.5}, "tables": {}, "text": "", "records": []}
    write_results(tmp_path, {"val": result}, {}, "val")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.md", "results.json"]


def test_trained_run_is_not_discarded(tmp_path):
    for name, kept in (("failed", False), ("trained", True)):
        run = tmp_path / name
        run.mkdir()
        (run / "config.yaml").write_text("")
        if kept:
            (run / "checkpoints").mkdir()
        discard_if_nothing_was_trained(run)
        assert run.exists() == kept
