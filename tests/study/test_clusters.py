"""Where a study's commands run does not show in its table: here, through submitit, through Ray."""

import os
import subprocess
import sys

import pytest

from tests.references.tiny_study import tiny_study

pytestmark = [pytest.mark.slow]
SECONDS = 15 * 60


def run(study, directory, *words):
    """``lit-llm run`` in a process; the bytes of its tables."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "LIT_LLM_CACHE": str(study.parent / "cache"),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    environment.pop("RAY_ADDRESS", None)
    places = ("--runs", str(directory / "runs"), "--results", str(directory / "results"))
    done = subprocess.run(
        [sys.executable, "-m", "lit_llm", "run", str(study), "--jobs", "2", *places, *words],
        capture_output=True,
        text=True,
        env=environment,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {name: (directory / "results" / name).read_bytes() for name in ("table.md", "table.csv")}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return tiny_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def local(study):
    tables = run(study, study.parent / "local", "--on", "local")
    assert b"| started" in tables["table.md"]
    return tables


@pytest.mark.parametrize(("on", "package"), [("slurm-local", "submitit"), ("ray", "ray")])
def test_a_study_has_the_same_table_wherever_it_runs(on, package, study, local):
    pytest.importorskip(package)
    assert run(study, study.parent / on, "--on", on) == local
