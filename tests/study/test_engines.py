"""Processes of this machine: what they are given, how they end."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from lit_llm.signals_of_parent import WITH_PARENT
from lit_llm.study import engines
from lit_llm.study.engines import Command, Job, LocalEngine, cores

ENDLESS = "trap '' TERM; echo ready; while :; do sleep 0.05; done"


@pytest.fixture(autouse=True)
def _shell(monkeypatch):
    """A job's last word is run by a shell; nobody imports torch."""
    popen = subprocess.Popen

    def start(words, **options):
        assert words[:3] == [sys.executable, "-m", "lit_llm"]
        return popen(["sh", "-c", words[-1]], **options)

    monkeypatch.setattr(engines.subprocess, "Popen", start)


@pytest.fixture
def make_job(tmp_path):
    numbers = iter(range(100))

    def make(script, **environment):
        log = tmp_path / f"{next(numbers)}.log"
        return Job("study/cell", "stage", ["fit", script], log, environment)

    return make


def output(job):
    """What the command printed, line by line."""
    return job.log.read_text().split("\n")[2:-1]


def run_all(engine, jobs):
    codes = [future.result(20) for future in [engine.submit(job) for job in jobs]]
    engine.close()
    return codes


def wait_for(text, job):
    deadline = time.monotonic() + 20
    while not job.log.exists() or text not in output(job):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", -9), ("kill -15 $$", -15)]
)
def test_code_of_a_command_is_its_own_negative_for_a_signal(script, code, make_job):
    assert run_all(LocalEngine(1), [make_job(script)]) == [code]


def test_log_is_appended_to_and_says_what_was_run(make_job):
    job = make_job("echo out; echo err >&2; read line || echo no input")
    run_all(LocalEngine(1), [job, job])
    once = f"\n$ lit-llm fit {job.words[1]}\nout\nerr\nno input\n"
    assert job.log.read_text() == once * 2


def test_command_inherits_the_environment_and_what_the_job_sets(make_job, monkeypatch):
    monkeypatch.setenv("INHERITED", "yes")
    job = make_job(f"echo $INHERITED $WANDB_NAME ${WITH_PARENT}", WANDB_NAME="cell")
    run_all(LocalEngine(1), [job])
    assert output(job) == [f"yes cell {os.getpid()}"]


@pytest.mark.parametrize(("given", "expected"), [(None, max(1, cores() // 2)), ("7", 7)])
def test_threads_are_shared_out_unless_their_number_is_given(
    given, expected, make_job, monkeypatch
):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    job = make_job("echo $OMP_NUM_THREADS")
    run_all(LocalEngine(2), [job])
    assert output(job) == [str(expected)]


@pytest.mark.parametrize(
    ("visible", "slots", "expected"),
    [
        ("0,1,2,3", 2, {"0,2", "1,3"}),
        ("5", 2, {"5"}),
        ("GPU-a,GPU-b", 3, {"GPU-a", "GPU-b"}),
        ("0,1", 1, {"0,1"}),
        ("", 2, {""}),
    ],
)
def test_gpus_are_shared_out(visible, slots, expected, make_job, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    script = 'echo "$CUDA_VISIBLE_DEVICES"; sleep 0.2'
    jobs = [make_job(script) for _ in range(slots)]
    run_all(LocalEngine(slots), jobs)
    assert {line for job in jobs for line in output(job)} == expected


def test_slot_is_free_again_after_a_failure(make_job, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    jobs = [make_job("echo $CUDA_VISIBLE_DEVICES; exit 1") for _ in range(6)]
    assert run_all(LocalEngine(2), jobs) == [1] * 6
    assert {line for job in jobs for line in output(job)} <= {"0", "1"}


def test_stop_asks_and_a_second_stop_kills(make_job):
    polite, stubborn = make_job("echo ready; exec sleep 60"), make_job(ENDLESS)
    engine = LocalEngine(2)
    futures = [engine.submit(polite), engine.submit(stubborn)]
    for job in (polite, stubborn):
        wait_for("ready", job)
    engine.stop()
    assert futures[0].result(20) == -signal.SIGTERM
    assert not futures[1].done()
    engine.stop()
    assert futures[1].result(20) == -signal.SIGKILL
    engine.close()


def test_command_stopped_before_it_started_does_not_start(make_job):
    command = Command(make_job("echo started"))
    command.stop()
    assert command() == -signal.SIGTERM
    assert output(command.job) == []


def test_interrupted_caller_ends_its_command(make_job):
    """As a cluster interrupts it: by an exception in the thread that waits."""
    job = make_job("trap 'echo checkpoint; exit 0' TERM; echo ready; while :; do sleep 0.05; done")
    # A shell that runs the tests in the background has them ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupt():
        wait_for("ready", job)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            Command(job)()
    finally:
        signal.signal(signal.SIGINT, before)
    thread.join()
    assert output(job) == ["ready", "checkpoint"]


def test_job_of_a_stopped_engine_does_not_start(make_job):
    """The signal came after the job was handed over, before a thread took it up."""
    engine, job = LocalEngine(1), make_job("echo started")
    engine.stop()
    assert run_all(engine, [job]) == [-signal.SIGTERM]
    assert output(job) == []


def test_command_stopped_while_it_starts_ends(make_job, monkeypatch):
    """A signal for the study arrives before there is a process to pass it on to."""
    command, popen = Command(make_job("sleep 5; echo worked")), subprocess.Popen

    def start(*words, **options):
        command.stop()
        return popen(*words, **options)

    monkeypatch.setattr(engines.subprocess, "Popen", start)
    assert command() == -signal.SIGTERM
    assert output(command.job) == []
