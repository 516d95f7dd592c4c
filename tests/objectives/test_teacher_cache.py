"""A cache of a teacher's scores survives kills, and several processes fill it together."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from lit_llm.batch import PackedBatch
from lit_llm.objectives import teacher_cache
from tests.objectives.teacher_cache_program import SIZES, build

ROOT = Path(__file__).parents[2]


def start(directory, seconds):
    words = [sys.executable, "-m", "tests.objectives.teacher_cache_program"]
    return subprocess.Popen(
        [*words, str(directory), str(seconds)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


def begun(process):
    """The process, once it has read its imports."""
    assert process.stdout.readline() == "begins\n"
    return process


def content(directory):
    return {file.name: file.read_bytes() for file in directory.glob("*.safetensors")}


@pytest.mark.faults
def test_killed_ten_times_it_ends_with_the_same_bytes(tmp_path):
    build(tmp_path / "whole")
    rng, reached = random.Random(0), []
    for _ in range(10):
        process = begun(start(tmp_path / "killed", 0.05))
        time.sleep(rng.uniform(0.02, 0.25))
        process.send_signal(signal.SIGKILL)
        process.wait()
        reached.append(len(content(tmp_path / "killed")))
    assert reached == sorted(reached)
    assert reached[-1] > 0
    build(tmp_path / "killed")
    assert content(tmp_path / "killed") == content(tmp_path / "whole")
    assert [f for f in (tmp_path / "killed").glob(".0*") if f.suffix != ".lock"] == []
    print(f"shards of 15 after each of ten kills: {reached}")


@pytest.mark.faults
def test_two_processes_share_the_work(tmp_path):
    both = [start(tmp_path / "shared", 0.3) for _ in range(2)]
    shares = [int(begun(process).communicate()[0]) for process in both]
    assert sum(shares) == 15
    assert min(shares) > 0
    build(tmp_path / "alone")
    assert content(tmp_path / "shared") == content(tmp_path / "alone")


def test_items_without_targets_have_no_scores(tmp_path, monkeypatch):
    monkeypatch.setattr(teacher_cache, "ITEMS_OF_A_SHARD", 4)
    rows = np.arange(SIZES.sum(), dtype=np.float32)
    ends = np.cumsum(SIZES)

    def score(items):
        first = ends[items.start] - SIZES[items.start]
        return {"scores": torch.tensor(rows[first : ends[items.stop - 1], None])}

    cache = teacher_cache.TeacherCache(tmp_path, SIZES, score)
    chosen = [0, 7, 59, 7]
    items = [{"input_ids": [5]} for _ in chosen]
    batch = PackedBatch.pack(items, [[0, 1, 2, 3]], 4, 0, item_ids=chosen)
    expected = [list(range(ends[i] - SIZES[i], ends[i])) for i in chosen]
    assert cache.logits(batch)[:, 0].tolist() == [float(x) for row in expected for x in row]
