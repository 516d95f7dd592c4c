"""The tutorial's files, written out and run as a user would."""

import json
import re
import sys
from pathlib import Path

import pytest

from lit_llm.__main__ import main

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The tutorial's package and configuration, in a directory of their own."""
    blocks = re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", PAGE.read_text(), flags=re.S)
    assert [name for name, _ in blocks] == ["stars/data.py", "stars/objective.py", "stars.yaml"]
    for name, text in blocks:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "reviews").mkdir()
    words = ("dreadful", "poor", "fair", "good", "superb")
    lines = [f"{i % 5 + 1}\ta {words[i % 5]} film number {i}" for i in range(40)]
    for split in ("train", "val", "test"):
        (tmp_path / "reviews" / f"{split}.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] == "stars"]:
        del sys.modules[name]


def test_tutorial_trains_an_objective_of_its_own(package):
    words = ["fit", "--config", "stars.yaml", "--run_dir", "run"]
    quiet = ["--trainer.enable_progress_bar", "false"]
    assert main([*words, *quiet, "--allow_import", "stars"]) == 0
    results = json.loads((package / "run" / "results.json").read_text())
    assert results["objective"] == "StarRating"
    assert 0 <= results["metrics"]["test/mean_absolute_error"] <= 4
    assert len((package / "run" / "predictions.jsonl").read_text().splitlines()) == 40


def test_tutorial_is_refused_without_trust(package, capsys):
    # Trust lasts as long as the process, so this asks for a package that was never trusted.
    (package / "stars").rename(package / "strangers")
    config = (package / "stars.yaml").read_text().replace("stars.", "strangers.")
    (package / "stars.yaml").write_text(config)
    assert main(["fit", "--config", "stars.yaml", "--run_dir", "run"]) == 1
    assert "--allow_import strangers" in capsys.readouterr().err


def test_bad_line_of_the_dataset_is_named(package, capsys):
    (package / "reviews" / "val.txt").write_text("6\tno such grade\n")
    words = ["fit", "--config", "stars.yaml", "--run_dir", "run", "--allow_import", "stars"]
    assert main(words) == 1
    assert "val.txt:1: write 1 to 5" in capsys.readouterr().err
