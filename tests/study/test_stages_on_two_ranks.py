"""A stage of a study trains on several processes that Lightning starts, like any other run."""

import json
import os
import subprocess
import sys

import pytest
import yaml

from tests.references.tiny_experiment import tiny_experiment, write_config

pytestmark = pytest.mark.ddp


def test_a_stage_runs_on_two_ranks(tmp_path):
    config = write_config(tmp_path / "experiment.yaml", tiny_experiment(tmp_path))
    ranks = {"trainer.devices": 2, "trainer.strategy": "ddp"}
    study = {
        "stages": {"finetune": {"configs": [config], "settings": ranks}},
        "table": {"columns": ["test/loss", "world_size"]},
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    done = subprocess.run(
        [sys.executable, "-m", "lit_llm", "run", str(tmp_path), "--runs", str(tmp_path / "runs")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    place = tmp_path / "results" / "shared" / "finetune" / "seed=0"
    assert json.loads((place / "results.json").read_text())["world_size"] == 2
    assert "2 (1)" in done.stdout
