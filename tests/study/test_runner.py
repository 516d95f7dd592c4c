"""The runner: order, slots, failures, signals, and what is done is not done again."""

import os
import shutil
import signal
import threading

import pytest
from filelock import FileLock

from tests.references.fake_engine import (
    CELLS,
    STUDY,
    FakeEngine,
    leave_results,
    open_ledger,
    run_study,
)

START = "shared/start/seed=0"
STARTED = ["started/finetune/seed=0", "started/finetune/seed=1"]


def test_each_cell_runs_once_after_those_it_needs(tmp_path):
    outcome = run_study(tmp_path)
    assert (outcome.code, sorted(outcome.names)) == (0, sorted(CELLS))
    for name, cell in outcome.ledger.plan.cells.items():
        before = outcome.names[: outcome.names.index(name)]
        assert set(cell.needs.values()) <= set(before)
    assert outcome.engine.most == 1
    assert outcome.engine.closed
    assert "9 of 9 done" in outcome.said


def test_one_at_a_time_the_first_seed_is_through_before_the_second_begins(tmp_path):
    assert run_study(tmp_path).names == CELLS


def test_as_many_run_at_once_as_the_engine_has_slots(tmp_path):
    together = threading.Barrier(3, timeout=10)

    def meet(job, engine):
        together.wait()
        leave_results(tmp_path / "runs" / job.name.partition("/")[2])
        return 0

    meeting = dict.fromkeys([CELLS[0], CELLS[2], CELLS[5]], meet)
    outcome = run_study(tmp_path, slots=3, **meeting)
    assert (outcome.code, outcome.engine.most) == (0, 3)


def test_job_carries_the_command_its_log_and_names_for_wandb(tmp_path):
    job = run_study(tmp_path).engine.jobs["scratch/score/seed=0"]
    runs = tmp_path / "runs" / "scratch"
    assert job.words[:3] == ["test", "--run", str(runs / "finetune" / "seed=0")]
    assert job.log == runs / "score" / "seed=0.log"
    assert (job.stage, job.name) == ("score", f"{tmp_path.name}/scratch/score/seed=0")
    names = {"WANDB_RUN_GROUP": tmp_path.name, "WANDB_NAME": "scratch/score/seed=0"}
    assert job.environment == names


def fail(job, engine):
    job.log.write_text("\n".join(f"line {number}." for number in range(30)))
    return 3


def test_failure_shows_the_end_of_its_log_and_stops_only_what_needs_it(tmp_path):
    outcome = run_study(tmp_path, **{START: fail})
    assert outcome.code == 1
    lost = {name for name in CELLS if name.startswith("started/")}
    assert set(outcome.names) == set(CELLS) - lost
    assert {name for name, state in outcome.states.items() if state == "blocked"} == lost
    assert f"failed {START}: exit code 3; the end of" in outcome.said
    assert "line 29." in outcome.said
    assert "line 2." not in outcome.said
    assert f"not run {STARTED[0]}: it needs {START}" in outcome.said
    assert "4 of 9 done, 1 failed, 4 not run" in outcome.said
    assert set(run_study(tmp_path).names) == {START} | lost  # what failed is tried again


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (lambda job, engine: 0, "ended without a results.json in"),
        (-9, "killed by signal 9"),
        (RuntimeError("trace\nthe node is gone"), "seed=0: the node is gone; the end of"),
        (RuntimeError(), "seed=0: RuntimeError; the end of"),
    ],
)
def test_reason_of_a_failure_is_a_sentence(act, sentence, tmp_path):
    outcome = run_study(tmp_path, **{CELLS[0]: act})
    assert outcome.code == 1
    assert sentence in outcome.said
    assert outcome.states[CELLS[1]] == "blocked"


def test_job_that_the_engine_does_not_take_fails_alone(tmp_path, monkeypatch):
    submit = FakeEngine.submit

    def refuse(engine, job):
        if job.stage == "start":
            raise RuntimeError("sbatch: error:\ninvalid partition")
        return submit(engine, job)

    monkeypatch.setattr(FakeEngine, "submit", refuse)
    outcome = run_study(tmp_path)
    assert (outcome.code, outcome.engine.closed) == (1, True)
    assert f"failed {START}: invalid partition" in outcome.said
    assert "4 of 9 done, 1 failed, 4 not run" in outcome.said


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_signal_stops_the_engine_and_nothing_new_starts(name, code, tmp_path):
    before, started = signal.getsignal(signal.Signals[name]), []

    def interrupted(job, engine):
        os.kill(os.getpid(), signal.Signals[name])
        assert engine.asked.wait(10)
        started.extend(engine.jobs)
        return -15

    outcome = run_study(tmp_path, slots=2, **{START: interrupted})
    assert (outcome.code, outcome.engine.stops) == (code, 1)
    assert outcome.engine.closed
    assert outcome.states[START] == "stopped"
    assert outcome.names == started
    assert f"{name}: stages write their checkpoints" in outcome.said
    assert "failed" not in outcome.said
    assert signal.getsignal(signal.Signals[name]) == before


def test_cell_that_ends_well_after_the_signal_is_kept(tmp_path):
    def ends_well(job, engine):
        for _ in range(2):
            engine.asked.clear()
            os.kill(os.getpid(), signal.SIGINT)
            engine.asked.wait(10)
        leave_results(tmp_path / "runs" / START)
        return 0

    outcome = run_study(tmp_path, **{START: ends_well})
    assert (outcome.code, outcome.engine.stops) == (130, 2)
    assert outcome.states[START] == "done"
    done = {name for name, state in outcome.states.items() if state == "done"}
    assert set(run_study(tmp_path).names) == set(CELLS) - done


def test_done_cells_are_skipped_without_a_word(tmp_path):
    run_study(tmp_path)
    outcome = run_study(tmp_path)
    assert (outcome.code, outcome.names, outcome.said) == (0, [], "")


def test_interrupted_training_is_resumed_and_finished_one_only_kept(tmp_path):
    run_study(tmp_path)
    for name in (START, CELLS[0], CELLS[1]):
        shutil.rmtree(tmp_path / "results" / name)
    for name in (START, CELLS[1]):
        (tmp_path / "runs" / name / "results.json").unlink()
        (tmp_path / "runs" / name / "config.yaml").touch()

    def resume(job, engine):
        leave_results(tmp_path / "runs" / START)
        return 0

    outcome = run_study(tmp_path, **{START: resume})
    assert outcome.names == [CELLS[1], START]
    assert outcome.engine.jobs[START].words == ["fit", "--resume", str(tmp_path / "runs" / START)]
    assert outcome.engine.jobs[CELLS[1]].words[0] == "test"  # there is nothing to resume
    assert f"done   {CELLS[0]}  (finished; its figures are not kept yet)" in outcome.said


def test_what_a_finished_run_could_be_resumed_from_is_removed(tmp_path):
    def fail_late(job, engine):
        leave_results(tmp_path / "runs" / CELLS[0])
        return 1

    outcome = run_study(tmp_path, **{CELLS[0]: fail_late})
    trained = [name for name in outcome.names if "score" not in name]
    kept = [name for name in trained if (tmp_path / "runs" / name / "checkpoints").exists()]
    assert kept == [CELLS[0]]
    assert outcome.freed == len("state") * (len(trained) - 1)
    assert all((tmp_path / "runs" / name / "best").exists() for name in trained)


def test_it_stays_where_that_is_asked_for(tmp_path):
    outcome = run_study(tmp_path, keeps_checkpoints=True)
    assert outcome.freed == 0
    assert (tmp_path / "runs" / START / "checkpoints" / "state").exists()


def test_what_cannot_be_removed_is_named_and_fails_nothing(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("lit_llm.study.runner.shutil.rmtree", refuse)
    outcome = run_study(tmp_path)
    assert (outcome.code, outcome.freed) == (0, 0)
    assert f"{tmp_path / 'runs' / START / 'checkpoints'} could not be removed: " in outcome.said


@pytest.mark.parametrize(("weights", "again"), [("weights", []), ("others", STARTED)])
def test_stage_runs_again_only_if_what_it_reads_has_changed(weights, again, tmp_path):
    run_study(tmp_path)
    longer = STUDY.replace("max_epochs: 1", "max_epochs: 3")
    outcome = run_study(tmp_path, text=longer, **{START: weights})
    assert outcome.code == 0
    assert outcome.names == [START, *again]  # the weights they leave, and so the scores, stand
    assert "trainer.max_epochs 1 -> 3" in outcome.said
    assert "moved an earlier run to" in outcome.said
    assert len(list((tmp_path / "runs" / "replaced").rglob("results.json"))) == 1 + len(again)


@pytest.mark.parametrize(("weights", "again"), [("weights", STARTED[:1]), ("others", STARTED)])
def test_needed_run_that_is_elsewhere_is_run_again_first(weights, again, tmp_path):
    run_study(tmp_path)
    shutil.rmtree(tmp_path / "runs" / START)
    assert run_study(tmp_path).names == []  # its figures are enough
    shutil.rmtree(tmp_path / "results" / STARTED[0])
    shutil.rmtree(tmp_path / "runs" / STARTED[0])
    outcome = run_study(tmp_path, **{START: weights})
    assert (outcome.code, outcome.names) == (0, [START, *again])
    assert "what it left is not here" in outcome.said
    assert open_ledger(tmp_path).is_here(outcome.ledger.plan.cells[START])


def test_chain_of_runs_that_are_elsewhere_is_run_from_its_beginning(tmp_path):
    run_study(tmp_path)
    shutil.rmtree(tmp_path / "runs")
    shutil.rmtree(tmp_path / "results" / CELLS[4])
    assert run_study(tmp_path).names == [START, STARTED[0], CELLS[4]]


def test_run_directory_in_use_is_waited_for(tmp_path):
    run_study(tmp_path)
    (tmp_path / "results" / CELLS[0] / "stage.json").unlink()
    (tmp_path / "runs" / CELLS[0] / "results.json").unlink()
    lock = FileLock(tmp_path / "runs" / CELLS[0] / ".lock", thread_local=False)
    lock.acquire()

    def end():
        leave_results(tmp_path / "runs" / CELLS[0])
        lock.release()

    timer = threading.Timer(0.2, end)
    timer.start()
    outcome = run_study(tmp_path)
    timer.join()
    assert (outcome.code, outcome.names) == (0, [])
    assert f"waits for another process at work in {tmp_path / 'runs' / CELLS[0]}" in outcome.said
