"""A study that is killed over and over ends with the table of one that was left alone."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from tests.references.tiny_study import tiny_study

pytestmark = pytest.mark.faults


def start(study, directory):
    cache = str(study.parent / "cache")
    with log_of(directory).open("ab") as log:
        places = ("--runs", str(directory / "runs"), "--results", str(directory / "results"))
        return subprocess.Popen(
            [sys.executable, "-m", "lit_llm", "run", str(study), "--jobs", "2", *places],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "LIT_LLM_CACHE": cache},
            start_new_session=True,
        )


def log_of(directory):
    return directory.with_name(f"{directory.name}.log")


def tables(directory):
    return {name: (directory / "results" / name).read_bytes() for name in ("table.md", "table.csv")}


def descendants(pid):
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()
    return [int(child) for child in found] + [d for c in found for d in descendants(c)]


def test_a_study_killed_at_random_moments_ends_with_the_same_table(tmp_path, request, capsys):
    kills, rng = max(2, request.config.getoption("--kills") // 2), random.Random(0)
    study = tiny_study(tmp_path)
    started = time.monotonic()
    assert start(study, tmp_path / "whole").wait() == 0
    seconds = time.monotonic() - started
    whole = tables(tmp_path / "whole")
    assert b"| started" in whole["table.md"]
    done = finished = 0
    number = 0
    while done < kills:
        directory = tmp_path / f"killed_{number}"
        number += 1
        while done < kills:
            process = start(study, directory)
            try:
                assert process.wait(timeout=rng.uniform(0.0, 0.8 * seconds)) == 0
                break  # it got to its end
            except subprocess.TimeoutExpired:
                done += 1
            victims = [process.pid]
            how = rng.choice(["the runner", "everything", "asked"])
            if how == "everything":
                victims += descendants(process.pid)
            for pid in victims:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM if how == "asked" else signal.SIGKILL)
            code = process.wait(timeout=60)
            # Before the runner listens for it, SIGTERM ends it at once: 143 to a shell, -15 here.
            assert code in ((143, -signal.SIGTERM) if how == "asked" else (-signal.SIGKILL,)), code
        assert start(study, directory).wait() == 0, (
            directory.parent / f"{directory.name}.log"
        ).read_text()
        finished += 1
        assert tables(directory) == whole
    with capsys.disabled():
        print(f"\n{done} kills of lit-llm run, {finished} studies: 0 differences")
