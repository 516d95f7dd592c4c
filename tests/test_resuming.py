"""What may change between a run and its resume, who may write, what a cluster is asked."""

import csv
import json
import multiprocessing
import shutil

import pytest
import yaml

from lit_llm import resuming
from lit_llm.__main__ import main
from lit_llm.checkpoint_io import checkpoints
from lit_llm.resuming import check_changes, only_process, requeue, requeued_run


def config(**changes):
    """A resolved configuration, with changes by dotted key."""
    whole = {
        "seed_everything": 0,
        "model": {
            "class_path": "lit_llm.A",
            "init_args": {"optimizer": {"lr": 1e-3}, "token": "x"},
        },
        "data": {"class_path": "lit_llm.D", "init_args": {"path": "a", "max_length": None}},
        "trainer": {
            "max_epochs": 1,
            "precision": "32-true",
            "callbacks": [
                {"class_path": "lit_llm.callbacks.best_model.BestModel", "init_args": {"mode": 1}},
                {
                    "class_path": "lit_llm.callbacks.checkpoints.Checkpoints",
                    "init_args": {"keep": 2},
                },
            ],
        },
    }
    for key, value in changes.items():
        *path, last = key.split("__")
        part = whole
        for name in path:
            part = part[int(name) if name.isdigit() else name]
        part[last] = value
    return whole


@pytest.fixture
def run(tmp_path):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config()))
    return tmp_path


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"trainer__max_epochs": 5},
        {"trainer__devices": 4, "trainer__strategy": "ddp"},
        {"data__init_args__path": "elsewhere"},
        {"data__init_args__path": {"train": "x", "test": "y"}},
        {"trainer__callbacks__1__init_args__keep": 9},
        {"model__init_args__dropout": 0.1},  # a setting that a later version has brought
    ],
    ids=str,
)
def test_harmless_changes_are_let_through(run, changes):
    check_changes(run, config(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model__init_args__optimizer__lr": 0.5}, r"model\.optimizer\.lr 0\.001 -> 0\.5"),
        ({"seed_everything": 7}, "seed_everything 0 -> 7"),
        ({"trainer__precision": "bf16-mixed"}, "trainer.precision '32-true' -> 'bf16-mixed'"),
        ({"data__init_args__max_length": 9}, "data.max_length None -> 9"),
        ({"model__class_path": "lit_llm.B"}, "model.class_path 'lit_llm.A' -> 'lit_llm.B'"),
        ({"trainer__callbacks__0__init_args__mode": 2}, "trainer.callbacks.0.mode 1 -> 2"),
        ({"data__init_args__max_length": [9]}, r"data\.max_length None -> None"),
        ({"trainer__callbacks": []}, "trainer.callbacks.length 2 -> None"),
        ({"model__init_args__optimizer": None}, "model.optimizer.lr 0.001 -> None"),
    ],
    ids=str,
)
def test_other_changes_are_named_and_refused(run, changes, message):
    with pytest.raises(ValueError, match=message) as refused:
        check_changes(run, config(**changes, trainer__max_epochs=3))
    assert "trainer.max_epochs" in str(refused.value)  # what may change is listed


def test_a_hidden_secret_is_given_again(run):
    (run / "config.yaml").write_text(yaml.safe_dump(config(model__init_args__token="***")))
    check_changes(run, config(model__init_args__token="hf_secret"))
    with pytest.raises(ValueError, match=r"give again: model\.token$"):
        check_changes(run, config(model__init_args__token="***"))


def _hold(directory, held, leave):
    with only_process(directory):
        held.set()
        leave.wait(30)


def test_one_process_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(resuming, "LOCK_SECONDS", 0)
    context = multiprocessing.get_context("fork")
    held, leave = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path, held, leave))
    other.start()
    assert held.wait(20)
    with (
        pytest.raises(ValueError, match="another process is training there"),
        only_process(tmp_path),
    ):
        pass
    monkeypatch.setenv("LOCAL_RANK", "1")  # another rank of the same run
    with only_process(tmp_path):
        leave.set()
    other.join()
    monkeypatch.delenv("LOCAL_RANK")
    with only_process(tmp_path):
        pass


def test_slurm_is_asked_for_the_job_again(tmp_path, monkeypatch):
    asked = tmp_path / "asked"
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {asked}\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    requeue()
    assert not asked.exists()
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    requeue()
    monkeypatch.setenv("SLURM_PROCID", "1")
    requeue()
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "20")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    requeue()
    assert asked.read_text() == "requeue 17\nrequeue 20_3\n"


def test_requeued_job_goes_on_with_its_run(run, monkeypatch):
    assert requeued_run(str(run)) is None
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert requeued_run(str(run)) == str(run)
    assert requeued_run(str(run / "other")) is None
    assert requeued_run(None) is None


def cut_back(run):
    for name in ("results.json", "predictions.jsonl"):
        (run / name).unlink()
    shutil.rmtree(checkpoints(run / "checkpoints")[0])


def test_requeued_words_end_as_the_undisturbed_run(experiment, tmp_path, monkeypatch):
    run = tmp_path / "run"
    stop = {
        "class_path": "lightning.pytorch.callbacks.EarlyStopping",
        "init_args": {"monitor": "val/loss", "patience": 9},
    }
    (tmp_path / "stop.yaml").write_text(yaml.safe_dump({"trainer": {"callbacks+": [stop]}}))
    experiment = [*experiment, "--config", str(tmp_path / "stop.yaml")]
    assert main(experiment) == 0
    whole = (run / "predictions.jsonl").read_bytes()
    cut_back(run)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert main(experiment) == 0  # the words alone: a list that a file appends to is not doubled
    assert (run / "predictions.jsonl").read_bytes() == whole
    resumed = json.loads((run / "environment.json").read_text())["resumed"]
    assert resumed[0]["command"] == experiment


def test_two_fresh_runs_are_the_same(experiment, tmp_path, monkeypatch):
    found = []
    for name in ("a", "b"):
        run = tmp_path / name
        assert main([*experiment[:-1], str(run)]) == 0
        with (run / "metrics.csv").open(newline="") as file:
            rows = [{**row, "train/tokens_per_second": ""} for row in csv.DictReader(file)]
        files = [run / "predictions.jsonl", run / "best" / "model.safetensors"]
        files.append(checkpoints(run / "checkpoints")[0] / "weights.safetensors")
        found.append([rows, *(path.read_bytes() for path in files)])
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model.optimizer.lr", "0.5"], "model.optimizer.lr 0.001 -> 0.5"),
        (["--seed_everything", "5"], "seed_everything 0 -> 5"),
    ],
)
def test_resume_never_ignores_what_is_said(experiment, tmp_path, words, message, capsys):
    run = tmp_path / "run"
    main(experiment)
    before = (run / "config.yaml").read_text()
    assert main(["fit", "--resume", str(run), *words]) == 1
    assert message in capsys.readouterr().err
    assert (run / "config.yaml").read_text() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("B-LOC", "B-ORG"), "label_names"),
        (("Ann", "Eve"), "training data"),
    ],
)
def test_resume_on_other_data_is_refused(experiment, tmp_path, change, message, capsys):
    run = tmp_path / "run"
    main(experiment)
    cut_back(run)
    for path in (tmp_path / "data").glob("*.txt"):
        path.write_text(path.read_text().replace(*change))
    assert main(["fit", "--resume", str(run)]) == 1
    errors = capsys.readouterr().err
    assert "this is another run's checkpoint" in errors
    assert message in errors


def test_broken_checkpoint_is_named_and_the_one_before_used(experiment, tmp_path, capsys):
    run = tmp_path / "run"
    main(experiment)
    whole = (run / "predictions.jsonl").read_bytes()
    newest = checkpoints(run / "checkpoints")[0]
    (newest / "state.pt").write_bytes(b"")
    (run / "results.json").unlink()
    with pytest.warns(UserWarning, match=f"passed over: .*{newest.name}/state.pt has 0 bytes"):
        assert main(["fit", "--resume", str(run)]) == 0
    assert (run / "predictions.jsonl").read_bytes() == whole


def test_refused_resume_leaves_a_run_that_was_killed_early(experiment, tmp_path):
    run = tmp_path / "run"
    main(experiment)
    for path in run.iterdir():
        if path.name not in ("config.yaml", "environment.json", ".lock"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert main(["fit", "--resume", str(run), "--seed_everything", "5"]) == 1
    assert (run / "config.yaml").exists()


def test_a_longer_run_goes_on_at_its_own_rate(experiment, tmp_path):
    rates = {}
    for name in ("short", "long"):
        run = tmp_path / name
        words = ["--trainer.max_epochs", {"short": "1", "long": "3"}[name]]
        assert main([*experiment[:-1], str(run), *words]) == 0
        if name == "short":
            assert main(["fit", "--resume", str(run), "--trainer.max_epochs", "3"]) == 0
        with (run / "metrics.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        column = next(key for key in rows[0] if key.startswith("lr-"))
        rates[name] = [row[column] for row in rows if row[column]]
    assert rates["short"][3:] == rates["long"][3:]


def test_run_killed_before_its_first_checkpoint_starts_again(experiment, tmp_path):
    run = tmp_path / "run"
    main(experiment)
    whole = (run / "predictions.jsonl").read_bytes()
    for name in ("results.json", "predictions.jsonl", "report.md"):
        (run / name).unlink()
    for name in ("checkpoints", "best"):
        shutil.rmtree(run / name)
    assert main(["fit", "--resume", str(run)]) == 0
    assert (run / "predictions.jsonl").read_bytes() == whole
