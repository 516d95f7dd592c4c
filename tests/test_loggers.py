import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import wandb

from lit_llm.loggers import MetricsCSV, WandbConfig, wandb_logger, wandb_mode


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_values_of_one_step_share_a_row(tmp_path):
    log = MetricsCSV(tmp_path / "metrics.csv")
    log.log_metrics({"train/loss": 1.0}, 1)
    log.log_metrics({"lr": 0.1}, 1)
    log.log_metrics({"train/loss": 0.5, "lr": 0.2}, 2)
    log.finalize("success")
    assert rows(log.path) == [
        {"step": "1", "train/loss": "1.0", "lr": "0.1"},
        {"step": "2", "train/loss": "0.5", "lr": "0.2"},
    ]


def test_late_column_reaches_the_header(tmp_path):
    log = MetricsCSV(tmp_path / "metrics.csv")
    log.log_metrics({"train/loss": 1.0}, 1)
    log.log_metrics({"train/loss": 0.5}, 2)
    log.log_metrics({"val/loss": 0.7}, 2)
    log.save()
    assert rows(log.path)[1] == {"step": "2", "train/loss": "0.5", "val/loss": "0.7"}


def test_resumed_file_drops_later_rows_and_goes_on(tmp_path):
    log = MetricsCSV(tmp_path / "metrics.csv")
    for step in range(1, 6):
        log.log_metrics({"train/loss": 1.0 / step}, step)
    log.finalize("success")
    again = MetricsCSV(log.path)
    again.truncate(3)
    again.log_metrics({"train/loss": 9.0}, 4)
    again.finalize("success")
    assert [row["step"] for row in rows(log.path)] == ["1", "2", "3", "4"]
    assert rows(log.path)[3]["train/loss"] == "9.0"


def test_environment_goes_before_the_configured_mode(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert wandb_mode(WandbConfig(mode="disabled")) == "offline"
    monkeypatch.delenv("WANDB_MODE")
    assert wandb_mode(WandbConfig(mode="disabled")) == "disabled"


def test_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="not 'on'"):
        WandbConfig(mode="on")


def test_resumed_run_goes_on_in_the_same_wandb_run(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    first, again = (wandb_logger(WandbConfig(), tmp_path / "a", {}).version for _ in range(2))
    assert first == again
    assert wandb_logger(WandbConfig(), tmp_path / "b", {}).version != first


def test_a_line_cut_by_a_crash_is_no_row(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,loss\n1,0.5\n2,0.4\n1")  # of step 12
    logger = MetricsCSV(path)
    logger.truncate(5)
    assert path.read_text().split() == ["step,loss", "1,0.5", "2,0.4"]


def test_whoever_is_not_logged_in_gets_an_offline_run(tmp_path):
    # In a process of its own: W&B reads its environment once.
    program = """
from pathlib import Path
from lit_llm.loggers import WandbConfig, wandb_logger
logger = wandb_logger(WandbConfig(), Path("run"), {})
logger.log_metrics({"loss": 1.0}, 1)
logger.experiment.finish()
"""
    root = str(Path(__file__).parents[1])
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": root}
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("run/wandb/offline-run-*"))
    assert "deprecated" not in done.stderr


def test_a_stored_key_is_not_shown_to_a_server_before_the_run(monkeypatch):
    asked = []

    def login(key=None, verify=True, prompt=True):
        asked.append((verify, prompt))
        return True

    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setattr(wandb, "login", login)
    assert wandb_mode(WandbConfig()) == "online"
    assert asked == [(False, False)]
