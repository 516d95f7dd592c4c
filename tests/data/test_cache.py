import multiprocessing
import pickle
import random
import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lit_llm.data.cache import ArrowTable, build_once, fingerprint, write_table


def test_fingerprint_depends_on_content_not_on_key_order():
    assert fingerprint({"a": 1, "b": [2, None]}) == fingerprint({"b": [2, None], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    with pytest.raises(TypeError):
        fingerprint({"a": object()})


def test_table_gives_back_what_was_written(tmp_path):
    rows = [
        {"input_ids": list(range(i % 7 + 1)), "labels": i, "weights": 0.5, "text": f"näive {i}"}
        for i in range(5000)
    ]
    assert write_table(tmp_path / "t.arrow", iter(rows)) == 5000
    table = pickle.loads(pickle.dumps(ArrowTable(tmp_path / "t.arrow")))
    assert len(table) == 5000
    for i in (0, 2047, 2048, 4999):
        assert table[i]["input_ids"].tolist() == rows[i]["input_ids"]
        assert table[i]["labels"] == i
        assert table[i]["text"] == rows[i]["text"]
    assert table.lengths.tolist() == [i % 7 + 1 for i in range(5000)]
    assert table.lengths.dtype == np.int64


def test_table_without_rows_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no example to write"):
        write_table(tmp_path / "t.arrow", [])


def test_index_past_the_end_is_refused(tmp_path):
    write_table(tmp_path / "t.arrow", [{"labels": 1}])
    with pytest.raises(IndexError, match="row 1 of 1"):
        ArrowTable(tmp_path / "t.arrow")[1]


def test_interrupted_build_leaves_nothing_and_the_next_one_succeeds(tmp_path):
    target = tmp_path / "items"

    def interrupted(staging):
        (staging / "half").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_once(target, interrupted)
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == []
    build_once(target, lambda staging: (staging / "whole").write_text("whole") and None)
    assert (target / "whole").read_text() == "whole"


def _hang(target, started):
    def build(staging):
        (staging / "half").write_text("half")
        started.set()
        time.sleep(60)

    build_once(target, build)


def test_killed_build_leaves_nothing_that_looks_finished(tmp_path):
    context = multiprocessing.get_context("fork")
    started = context.Event()
    process = context.Process(target=_hang, args=(tmp_path / "items", started))
    process.start()
    assert started.wait(20)
    process.kill()
    process.join()
    assert not (tmp_path / "items").exists()
    build_once(tmp_path / "items", lambda staging: (staging / "whole").touch())
    assert {path.name for path in tmp_path.iterdir()} == {"items", "items.lock"}


def _count(target, counter):
    def build(staging):
        time.sleep(0.2)
        with counter.get_lock():
            counter.value += 1

    build_once(target, build)


def test_several_processes_build_once(tmp_path):
    context = multiprocessing.get_context("fork")
    counter = context.Value("i", 0)
    workers = [context.Process(target=_count, args=(tmp_path / "items", counter)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert counter.value == 1


def mapped_kilobytes(name):
    """What of a file is resident in this process."""
    found, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match("[0-9a-f]+-[0-9a-f]+ ", line):
            inside = line.endswith(name)
        elif inside and line.startswith("Rss:"):
            found += int(line.split()[1])
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_was_read_does_not_stay_resident(tmp_path):
    path = tmp_path / "large.arrow"
    write_table(path, ({"input_ids": [i] * 4000} for i in range(5000)))
    table, rng = ArrowTable(path), random.Random(0)
    for _ in range(1024):  # a multiple of the rows after which pages are let go
        i = rng.randrange(5000)
        assert table[i]["input_ids"][0] == i
    assert mapped_kilobytes("large.arrow") < path.stat().st_size / 1024 / 10
