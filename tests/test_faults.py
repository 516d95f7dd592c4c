"""Runs that are killed, stopped or cut short end as the one that was left alone.

``pytest -m faults`` kills a few; ``pytest -m faults --kills 60`` is the long form. Each run is a
fork of this process that goes through the command line, so that the imports are paid for once.
"""

import csv
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from lit_llm.__main__ import main
from lit_llm.checkpoint_io import CheckpointError, checkpoints, step_of, verify

pytestmark = pytest.mark.faults
WORDS = ["Ann", "Bob", "Bonn", "Ulm", "sees", "sings", "in", "."]
TAGS = {"Ann": "B-PER", "Bob": "B-PER", "Bonn": "B-LOC", "Ulm": "B-LOC"}
UNTIMED = {"seconds", "tokens_per_second", "train/tokens_per_second"}
STARTING_SECONDS, STOPPING_SECONDS = 60, 10


def write_data(directory):
    """Twenty short sentences, tagged, and as reviews."""
    rng = random.Random(0)
    for name, count in (("train", 20), ("dev", 6), ("test", 6)):
        sentences = [rng.choices(WORDS, k=rng.randint(2, 9)) for _ in range(count)]
        tagged = ["".join(f"{w}\t{TAGS.get(w, 'O')}\n" for w in words) for words in sentences]
        (directory / f"{name}.txt").write_text("\n".join(tagged))
        rows = [{"text": " ".join(words), "label": str(len(words) % 2)} for words in sentences]
        (directory / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")


def configuration(task, data, every=1, keep=2, dropout=0.1, callbacks=()):
    """Ten steps an epoch, three epochs, dropout, a checkpoint after every step."""
    objective, data_module, suffix = {
        "ner": ("token_classification.TokenClassification", "conll2003.CoNLL2003", "txt"),
        "sentiment": (
            "sequence_classification.SequenceClassification",
            "text_classification.TextClassification",
            "jsonl",
        ),
    }[task]
    path = {name: str(data / f"{name}.{suffix}") for name in ("train", "dev", "test")}
    return {
        "model": {
            "class_path": f"lit_llm.objectives.{objective}",
            "init_args": {
                "backbone": {
                    "source": "tiny",
                    "tokenizer": "train:100",
                    "hidden_dropout": dropout,
                    "attention_dropout": dropout,
                },
                "optimizer": {"lr": 1e-3},
            },
        },
        "data": {
            "class_path": f"lit_llm.data.{data_module}",
            "init_args": {"path": path, "batches": {"examples_per_batch": 2}},
        },
        "trainer": {
            "max_epochs": 3,
            "accelerator": "cpu",
            "precision": "32-true",
            "val_check_interval": 4,
            "log_every_n_steps": 1,
            "enable_progress_bar": False,
            "callbacks": [
                {"class_path": "lit_llm.callbacks.best_model.BestModel"},
                {"class_path": "lit_llm.callbacks.throughput.Throughput"},
                {
                    "class_path": "lit_llm.callbacks.checkpoints.Checkpoints",
                    "init_args": {"every_n_steps": every, "keep": keep},
                },
                {
                    "class_path": "lit_llm.callbacks.same_weights.SameWeights",
                    "init_args": {"every_n_steps": 2},
                },
                *callbacks,
            ],
        },
    }


class Experiment:
    """A configuration, the words that start and resume it, and the processes of its ranks."""

    def __init__(self, directory, task, ranks=1, **settings):
        self.directory, self.ranks = directory, ranks
        directory.mkdir()
        write_data(directory)
        self.config = directory / "experiment.yaml"
        self.config.write_text(yaml.safe_dump(configuration(task, directory, **settings)))
        self.cache = directory / "cache"
        self.whole = directory / "whole"
        pids = self.start(self.whole)
        assert self.wait(pids) == [0] * ranks, self.log(self.whole)

    def log(self, run):
        return "".join(path.read_text() for path in self.directory.glob(f"{run.name}-*.log"))[
            -4000:
        ]

    def words(self, run):
        """Start it, or go on as soon as there is a configuration to go on with."""
        strategy = "ddp" if self.ranks > 1 else "auto"
        world = ["--trainer.devices", str(self.ranks), "--trainer.strategy", strategy]
        own = ["--allow_import", "tests", *world]
        if (run / "config.yaml").exists():
            return ["fit", "--resume", str(run), *own]
        return ["fit", "--config", str(self.config), "--run_dir", str(run), *own]

    def start(self, run, tmpdir=None):
        """Process ids, one for each rank."""
        words = self.words(run)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        several = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "NODE_RANK": "0"}
        pids = []
        for rank in range(self.ranks):
            pid = os.fork()
            if pid == 0:
                os.environ["LIT_LLM_CACHE"] = str(self.cache)
                if tmpdir:
                    os.environ["TMPDIR"] = str(tmpdir)
                if self.ranks > 1:
                    os.environ.update(several, LOCAL_RANK=str(rank))
                out = os.open(
                    self.directory / f"{run.name}-{rank}.log",
                    os.O_WRONLY | os.O_CREAT | os.O_APPEND,
                )
                for stream in (1, 2):
                    os.dup2(out, stream)
                sys.stdout, sys.stderr = os.fdopen(1, "w", 1), os.fdopen(2, "w", 1)
                code = 70
                try:
                    code = main(words)
                finally:
                    sys.stdout.flush()
                    os._exit(code)
            pids.append(pid)
        return pids

    def wait(self, pids):
        """Exit codes, negative for a signal."""
        return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]

    def finish(self, run):
        assert self.wait(self.start(run)) == [0] * self.ranks, self.log(run)


def kill(pids):
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def untimed(value):
    if isinstance(value, dict):
        return {k: untimed(v) for k, v in value.items() if k not in UNTIMED}
    return [untimed(v) for v in value] if isinstance(value, list) else value


def contents(run):
    """All that a finished run left, but for times and its own name."""
    with (run / "metrics.csv").open(newline="") as file:
        rows = [untimed(row) for row in csv.DictReader(file)]
    results = untimed(json.loads((run / "results.json").read_text()))
    results.pop("run")
    last = checkpoints(run / "checkpoints")[0]
    verify(last)
    files = {p.name: p.read_bytes() for p in (run / "best").iterdir()}
    files["weights"] = (last / "weights.safetensors").read_bytes()
    files["predictions"] = (run / "predictions.jsonl").read_bytes()
    return {"rows": rows, "results": results, **files}


def assert_same_run(experiment, run):
    ours, whole = contents(run), contents(experiment.whole)
    assert ours.keys() == whole.keys()
    for part in whole:
        assert ours[part] == whole[part], part


def unreadable(run):
    """Published checkpoints that are not whole."""
    bad = []
    for path in checkpoints(run / "checkpoints"):
        try:
            verify(path)
        except CheckpointError as error:
            bad.append(str(error))
    return bad


def in_a_save(run):
    return any((run / "checkpoints").glob(".step-*.new"))


@pytest.mark.parametrize("task", ["ner", "sentiment"])
def test_killed_at_random_moments(task, tmp_path, request, capsys):
    kills, rng = request.config.getoption("--kills"), random.Random(task)
    experiment = Experiment(tmp_path / task, task)
    started = time.monotonic()
    experiment.finish(tmp_path / task / "timed")
    seconds = time.monotonic() - started
    done = during_saves = runs = 0
    while done < kills:
        runs += 1
        run = tmp_path / task / f"run{runs}"
        for _ in range(rng.randint(1, 4)):
            pids = experiment.start(run)
            time.sleep(rng.uniform(0.0, seconds))
            alive = os.waitpid(pids[0], os.WNOHANG) == (0, 0)
            if not alive:
                break
            kill(pids)
            experiment.wait(pids)
            done += 1
            during_saves += in_a_save(run)
            assert unreadable(run) == []
        if not (run / "results.json").exists():
            experiment.finish(run)
        assert_same_run(experiment, run)
    with capsys.disabled():
        print(
            f"\n{task}: {done} kills ({during_saves} inside a save) in {runs} runs: 0 differences"
        )


def test_killed_inside_a_save(tmp_path, request, capsys):
    """TMPDIR is on another file system, where a rename would be a copy."""
    kills, rng = request.config.getoption("--kills"), random.Random(1)
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system")
    experiment = Experiment(tmp_path / "saves", "ner")
    done = inside = runs = 0
    while inside < kills // 2:
        runs += 1
        run = tmp_path / "saves" / f"run{runs}"
        for _ in range(4):
            pids = experiment.start(run, tmpdir=elsewhere)
            after = time.monotonic() + rng.uniform(0.5, 3.0)
            while os.waitpid(pids[0], os.WNOHANG) == (0, 0):
                if time.monotonic() > after and in_a_save(run):
                    kill(pids)
                    experiment.wait(pids)
                    done += 1
                    inside += in_a_save(run)
                    assert unreadable(run) == []
                    break
            else:
                break
        if not (run / "results.json").exists():
            experiment.finish(run)
        assert_same_run(experiment, run)
    with capsys.disabled():
        print(f"\n{done} kills, {inside} in a save, {runs} runs: 0 differences")


def test_two_ranks_killed_at_random_moments(tmp_path, request, capsys):
    kills, rng = max(2, request.config.getoption("--kills") // 5), random.Random(2)
    experiment = Experiment(tmp_path / "ranks", "ner", ranks=2)
    done = runs = 0
    while done < kills:
        runs += 1
        run = tmp_path / "ranks" / f"run{runs}"
        pids = experiment.start(run)
        wait_for_step(run, rng.randint(1, 25))
        kill(pids)
        experiment.wait(pids)
        done += 1
        assert unreadable(run) == []
        experiment.finish(run)
        assert_same_run(experiment, run)
    with capsys.disabled():
        print(f"\ntwo ranks: {done} kills: 0 differences")


def wait_for_step(run, step):
    deadline = time.monotonic() + STARTING_SECONDS
    while time.monotonic() < deadline:
        found = checkpoints(run / "checkpoints")
        if found and step_of(found[0]) >= step:
            return
        time.sleep(0.005)
    raise AssertionError(f"{run} never came to step {step}")


def cut_back(whole, run, step):
    """The run as a process that was killed right after this step's save had left it."""
    shutil.copytree(whole, run)
    for name in ("results.json", "predictions.jsonl", "report.md"):
        (run / name).unlink()
    for path in checkpoints(run / "checkpoints"):
        if step_of(path) > step:
            shutil.rmtree(path)


def test_two_ranks_resume_from_several_steps(tmp_path, request, capsys):
    experiment = Experiment(tmp_path / "ranks", "ner", ranks=2, keep=None)
    points = [1, 10, 11, 30, 2, 4, 7, 16, 20, 27]  # 10, 20 and 30 end an epoch
    points = sorted(points[: request.config.getoption("--kills")])
    for step in points:
        run = tmp_path / "ranks" / f"from{step}"
        cut_back(experiment.whole, run, step)
        experiment.finish(run)
        assert_same_run(experiment, run)
    with capsys.disabled():
        print(f"\ntwo ranks: resumed from steps {points}: 0 differences")


def test_two_ranks_then_one_then_two_see_the_same_examples(tmp_path):
    recorder = {"class_path": "tests.helpers.SeenItems"}
    experiment = Experiment(
        tmp_path / "worlds", "ner", ranks=2, keep=None, dropout=0.0, callbacks=[recorder]
    )
    run = tmp_path / "worlds" / "run"
    cut_back(experiment.whole, run, 7)
    experiment.ranks = 1
    experiment.finish(run)
    for name in ("results.json", "predictions.jsonl", "report.md"):
        (run / name).unlink()
    for path in checkpoints(run / "checkpoints"):
        if step_of(path) > 16:
            shutil.rmtree(path)
    experiment.ranks = 2
    experiment.finish(run)
    assert seen_items(run) == seen_items(experiment.whole)
    assert len(seen_items(run)) == 30
    ours, whole = contents(run)["rows"], contents(experiment.whole)["rows"]
    assert [row["step"] for row in ours] == [row["step"] for row in whole]
    losses = [[float(row["train/loss"] or 0) for row in rows] for rows in (ours, whole)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def seen_items(run):
    """The examples of each step, over all ranks; what was made again counts last."""
    steps = {}
    for path in sorted(run.glob("seen-*.jsonl")):
        own = dict(json.loads(line) for line in path.read_text().splitlines())
        for step, (when, items) in own.items():
            steps.setdefault(step, []).append((when, items))
    latest = {}
    for step, found in steps.items():
        newest = max(when for when, _ in found)
        latest[step] = sorted(i for when, items in found if newest - when < 1 for i in items)
    return latest


@pytest.mark.parametrize("fault", ["Diverges", "Drifts"])
def test_a_fault_on_one_rank_stops_all_of_them(fault, tmp_path):
    experiment = Experiment(tmp_path / "sound", "ner", ranks=2)
    faulty = [{"class_path": f"tests.helpers.{fault}"}]
    settings = configuration("ner", experiment.directory, callbacks=faulty)
    experiment.config.write_text(yaml.safe_dump(settings))
    run = tmp_path / "sound" / "faulty"
    assert experiment.wait(experiment.start(run)) == [1, 1], experiment.log(run)
    message = {
        "Diverges": "training diverged at step 6",
        "Drifts": "after step 6 the ranks' weights differ in 1 of",
    }[fault]
    assert experiment.log(run).count(message) == 2
    assert "head" in experiment.log(run)
    assert unreadable(run) == []
    assert step_of(checkpoints(run / "checkpoints")[0]) in (5, 6)
    for part in (run / "best", checkpoints(run / "checkpoints")[0]):
        for tensor in load_file(next(part.glob("*.safetensors"))).values():
            assert tensor.isfinite().all()


@pytest.mark.parametrize("who", ["rank 0", "rank 1", "both"])
def test_sigterm_to_any_rank_stops_all_of_them(who, tmp_path, request, capsys):
    times, rng = max(1, request.config.getoption("--kills") // 6), random.Random(who)
    experiment = Experiment(tmp_path / "terms", "ner", ranks=2)
    longest = 0.0
    for i in range(times):
        run = tmp_path / "terms" / f"run{i}"
        pids = experiment.start(run)
        wait_for_step(run, rng.randint(1, 20))
        time.sleep(rng.uniform(0, 0.1))
        for pid in {"rank 0": pids[:1], "rank 1": pids[1:], "both": pids}[who]:
            os.kill(pid, signal.SIGTERM)
        sent = time.monotonic()
        assert experiment.wait(pids) == [143, 143], experiment.log(run)
        longest = max(longest, time.monotonic() - sent)
        assert longest < STOPPING_SECONDS
        experiment.finish(run)
        assert_same_run(experiment, run)
    with capsys.disabled():
        print(f"\nSIGTERM to {who}: {times} clean exits, the slowest after {longest:.2f} s")


def test_sigterm_where_the_first_rank_started_the_other(tmp_path):
    """It would be killed, were the other rank to leave before it."""
    experiment = Experiment(tmp_path / "launched", "ner", ranks=2)
    run = tmp_path / "launched" / "run"
    first = subprocess.Popen(
        [sys.executable, "-m", "lit_llm", *experiment.words(run)],
        env={**os.environ, "LIT_LLM_CACHE": str(experiment.cache), "OMP_NUM_THREADS": "1"},
        stdout=(tmp_path / "log").open("w"),
        stderr=subprocess.STDOUT,
    )
    wait_for_step(run, 2)
    first.send_signal(signal.SIGTERM)
    assert first.wait(STOPPING_SECONDS) == 143, (tmp_path / "log").read_text()[-4000:]
    assert unreadable(run) == []
    experiment.finish(run)
    assert_same_run(experiment, run)


def test_sigint_ends_with_130_and_a_second_signal_at_once(tmp_path):
    experiment = Experiment(tmp_path / "ints", "sentiment")
    run = tmp_path / "ints" / "run"
    pids = experiment.start(run)
    wait_for_step(run, 3)
    os.kill(pids[0], signal.SIGINT)
    assert experiment.wait(pids) == [130], experiment.log(run)
    assert "go on with: lit-llm fit --resume" in experiment.log(run)
    pids = experiment.start(run)
    wait_for_step(run, 6)
    os.kill(pids[0], signal.SIGSTOP)
    for _ in range(2):  # noted and, before the step has ended, noted again
        os.kill(pids[0], signal.SIGTERM)
        os.kill(pids[0], signal.SIGINT)
    os.kill(pids[0], signal.SIGCONT)
    assert experiment.wait(pids)[0] in (-signal.SIGTERM, -signal.SIGINT)
    assert unreadable(run) == []
    experiment.finish(run)
    assert_same_run(experiment, run)
