"""``lit-llm run``: its flags, what it refuses and with which words, its exit codes."""

import json
import os
import shlex
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from filelock import FileLock

from lit_llm import run_command
from lit_llm.__main__ import main
from lit_llm.run_command import SMOKE
from lit_llm.study.engines import LocalEngine
from lit_llm.study.ledger import Ledger
from tests.references.fake_engine import CELLS, STUDY, Machine, run_study

ROOT = Path(__file__).parents[1]


@pytest.fixture
def machine(monkeypatch):
    machine = Machine()
    monkeypatch.setattr(run_command, "LocalEngine", machine.engine)
    monkeypatch.setattr(run_command.subprocess, "run", machine.check)
    return machine


@pytest.fixture
def run(machine, tmp_path, monkeypatch, capsys):
    """Call ``lit-llm run``; exit code, standard output, standard error with single spaces."""
    directory = tmp_path / "a study"
    directory.mkdir()
    (directory / "study.yaml").write_text(STUDY)
    monkeypatch.chdir(tmp_path)

    def call(*words, study=directory):
        code = main(["run", str(study), *words])
        shown = capsys.readouterr()
        return code, shown.out, " ".join(shown.err.split())

    return call


def test_study_is_run_to_its_table_and_again_only_printed(run, machine, tmp_path):
    code, table, said = run()
    assert (code, set(machine.names)) == (0, set(CELLS))
    assert "a study: 9 commands, 9 to run" in said
    assert "9 of 9 done after" in said
    assert "| scratch " in table
    assert "0.5000 ± 0.0000 (2)" in table
    assert (tmp_path / "a study" / "results" / "table.md").read_text() == table
    assert (tmp_path / "runs" / "a study" / CELLS[0] / "best").is_dir()
    code, again, said = run()
    assert (code, again, len(machine.engines)) == (0, table, 1)
    assert said == "a study: 9 commands, 9 done"


def test_settings_of_every_training_are_read_once_for_all_seeds(run, machine):
    run()
    groups = [Path(command[-1]).parent for command in machine.checked]
    stages = ("scratch/finetune", "shared/start", "started/finetune")
    assert groups == [Path("runs/a study", stage) for stage in stages]


def test_fault_in_the_settings_is_told_before_anything_starts(run, machine):
    machine.faults = {"started/finetune": "trainer.max_epoch: there is no such setting"}
    code, _, said = run()
    assert (code, machine.engines) == (1, [])
    fault = "started/finetune: trainer.max_epoch: there is no such setting"
    assert f"lit-llm run: {Path.cwd() / 'a study' / 'study.yaml'}: {fault}" in said


def test_reader_of_settings_that_breaks_is_reported(run, monkeypatch):
    broken = SimpleNamespace(returncode=1, stdout="", stderr="Traceback\nImportError: no torch\n")
    monkeypatch.setattr(run_command.subprocess, "run", lambda *words, **options: broken)
    code, _, said = run()
    assert code == 1
    assert "the settings could not be read: Traceback ImportError: no torch" in said


def test_dry_run_prints_commands_and_touches_nothing(run, machine, tmp_path):
    code, out, said = run("--dry-run")
    assert (code, said, machine.engines) == (0, "", [])
    lines = [shlex.split(line) for line in out.splitlines()]
    assert [words[-1] for words in lines] == [f"runs/a study/{name}" for name in CELLS]
    assert {words[0] for words in lines} == {"lit-llm"}
    assert [path.name for path in tmp_path.rglob("*")] == ["a study", "study.yaml"]
    assert run("--dry_run")[1] == out


def test_plan_draws_and_touches_nothing(run, machine, tmp_path):
    code, out, said = run("--plan")
    assert (code, said, machine.engines) == (0, "", [])
    assert "├── scratch/finetune  seeds 0 1: to run" in out
    assert [path.name for path in tmp_path.rglob("*")] == ["a study", "study.yaml"]


def test_only_runs_what_is_named_and_what_that_needs(run, machine):
    code, table, said = run("--only", "started/score/seed=1", "--only", "shared/*")
    assert (code, machine.names) == (0, [CELLS[2], CELLS[7], CELLS[8]])
    assert "3 of 3 done" in said
    assert (
        "Not finished: scratch/score/seed=0, scratch/score/seed=1, started/score/seed=0." in table
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--only", "finetune"], "--only finetune: no such cell; --dry-run lists them"),
        (["--only", "*/score/*", "--only", "*/scor/*"], "--only */scor/*: no such cell;"),
        (["--jobs", "0"], "--jobs 0: at least 1 was expected"),
        (["--jobs", "two"], "argument --jobs: invalid int value: 'two'"),
        (["--set", "data"], "--set data: NAME=VALUE was expected"),
        (["--set", "data=x"], "--set data: "),
        (["--dry"], "--dry"),
        (["--on", "cloud"], "invalid choice: 'cloud'"),
        (["--resources", "none.yaml"], "none.yaml: there is no such file"),
        (["--resources", "r.yaml"], "--resources is for --on slurm and --on ray"),
        (["--resources", "flat.yaml"], "flat.yaml:1: default: parameters of its jobs were"),
        (["--resources", "typo.yaml", "--on", "slurm", "--dry-run"], "did you mean finetune?"),
        (["--resources", "flat.yaml", "--plan"], "flat.yaml:1: default: parameters of its jobs"),
    ],
)
def test_what_cannot_be_is_a_sentence_and_code_1(words, sentence, run, machine):
    Path("r.yaml").write_text("default: {num_cpus: 1}\n")
    Path("flat.yaml").write_text("default: 3\n")
    Path("typo.yaml").write_text("finetun: {timeout_min: 3}\n")
    code, out, said = run(*words)
    assert (code, out) == (1, "")
    assert said.startswith("lit-llm run: ") or "9 to run lit-llm run: " in said
    assert sentence in said
    assert "Traceback" not in said
    assert machine.names == []


@pytest.mark.parametrize("command", ["run", "table"])
def test_missing_study_is_named(command, capsys):
    assert main([command, "no/study.yaml"]) == 1
    assert capsys.readouterr().err == f"lit-llm {command}: no/study.yaml: there is no such file\n"


def test_failure_has_code_1_and_the_table_of_the_rest(run, machine):
    machine.acts = {CELLS[0]: 3}
    code, table, said = run("--jobs", "2")
    assert (code, machine.engines[0].slots) == (1, 2)
    assert "7 of 9 done, 1 failed, 1 not run" in said
    assert "Not finished: scratch/score/seed=0." in table
    machine.acts = {}
    assert run()[0] == 0
    assert machine.names == CELLS[:2]


def test_signal_has_its_code_and_no_table(run, machine):
    def interrupted(job, engine):
        os.kill(os.getpid(), signal.SIGTERM)
        engine.asked.wait(10)
        return -15

    machine.acts = {CELLS[2]: interrupted}
    code, table, said = run()
    assert (code, table) == (143, "")
    assert f"stopped {CELLS[2]}" in said


def test_change_is_named_before_what_it_touches_runs_again(run, machine):
    run()
    Path("a study/study.yaml").write_text(STUDY.replace("max_epochs: 2", "max_epochs: 3"))
    code, _, said = run()
    assert code == 0
    assert f"again: {CELLS[0]} (trainer.max_epochs 2 -> 3)" in said
    assert sorted(machine.names) == sorted(name for name in CELLS if "/finetune/" in name)


def test_smoke_run_is_short_and_kept_apart(run, machine, tmp_path):
    code, table, _ = run("--smoke")
    assert (code, len(machine.names)) == (0, 5)
    assert all(name.endswith("seed=0") for name in machine.names)
    for job in machine.engines[0].jobs.values():
        assert job.words[-1].startswith("runs/a study-smoke/")
        assert ("--trainer.limit_train_batches" in job.words) == (job.words[0] == "fit")
        if job.words[0] == "fit":
            assert job.words[job.words.index("--trainer.max_epochs") + 1] == "1"
    assert "0.5000 (1)" in table
    assert not (tmp_path / "a study" / "results").exists()
    assert not (tmp_path / "runs" / "a study").exists()


def test_smoke_run_starts_anew_each_time(run, machine, tmp_path):
    run("--smoke")
    kept = tmp_path / "runs" / "a study-smoke" / "kept.txt"
    kept.write_text("somebody's")
    code, _, said = run("--smoke", "--only", "shared/*")
    assert (code, machine.names) == (0, [CELLS[2]])
    assert "again" not in said
    _, out, _ = run("--smoke", "--dry-run")
    assert sum(line.startswith("lit-llm ") for line in out.splitlines()) == 5
    assert "0.5000 (1)" in run("--smoke")[1]
    assert len(machine.names) == 5
    assert kept.exists()
    assert not (kept.parent / "replaced").exists()


def test_smoke_agrees_with_the_configuration_of_that_name():
    content = yaml.safe_load((ROOT / "configs" / "smoke.yaml").read_text())
    flat = {f"{room}.{key}": value for room, part in content.items() for key, value in part.items()}
    shared = SMOKE.keys() & flat.keys()
    assert len(shared) >= 5
    assert {key: SMOKE[key] for key in shared} == {key: flat[key] for key in shared}


def test_second_run_of_the_same_study_is_refused(run, machine, monkeypatch):
    monkeypatch.setattr(run_command, "_LOCK_SECONDS", 0.05)
    Path("runs/a study").mkdir(parents=True)
    with FileLock("runs/a study/.lock"):
        code, _, said = run()
    assert (code, machine.engines) == (1, [])
    assert "lit-llm run: runs/a study: another lit-llm run is at work on this study" in said
    assert run()[0] == 0


def test_run_that_waited_for_another_sees_what_that_one_did(run, machine, monkeypatch, tmp_path):
    run_study(tmp_path / "a study", **{CELLS[0]: 1})
    lock = FileLock(tmp_path / "a study/runs/.lock", thread_local=False)
    lock.acquire()
    record = tmp_path / "a study" / "results" / CELLS[0] / "stage.json"
    forecast, calls = Ledger.forecast, []

    def judged(ledger, **options):
        calls.append(ledger)
        found = forecast(ledger, **options)
        if len(calls) == 1:  # the other one ends after this one has looked
            run_study(tmp_path / "a study")
            lock.release()
        return found

    monkeypatch.setattr(Ledger, "forecast", judged)
    places = ["--runs", "a study/runs", "--results", "a study/results"]
    code, table, _ = run(*places)
    assert (code, machine.names) == (0, [])
    assert json.loads(record.read_text())["seconds"] is not None
    assert "0.5000 ± 0.0000 (2)" in table


@pytest.fixture
def with_data(run, tmp_path):
    """One stage of the study reads data."""
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "train.txt").write_text("Anna O\n")
    text = "parameters: {data: corpus}\n" + STUDY
    text = text.replace("{trainer.max_epochs: 1}", '{trainer.max_epochs: 1, data.path: "${data}"}')
    (tmp_path / "a study" / "study.yaml").write_text(text)


@pytest.mark.parametrize("command", ["run", "table"])
def test_runs_that_cannot_be_written_are_no_hindrance_to_looking(command, run, with_data, capsys):
    run()
    Path("file").write_text("no directory")
    words = ["--dry-run"] if command == "run" else []
    assert main([command, "a study", "--runs", "file/runs", *words]) == 0
    assert capsys.readouterr().out


def test_data_that_are_not_there_fail_their_stages_and_move_nothing(
    run, machine, with_data, tmp_path
):
    assert run()[0] == 0
    code, _, said = run("--set", "data=typo")
    assert (code, machine.names) == (1, [])
    assert f"failed {CELLS[2]}: data.path = typo: there is no such file or directory;" in said
    assert "the end of" not in said
    assert "4 of 9 done, 1 failed, 4 not run" in said
    assert not list((tmp_path / "runs" / "a study").glob("replaced*"))
    code, _, said = run()
    assert said == "a study: 9 commands, 9 done"


@pytest.mark.parametrize("command", ["run", "table"])
@pytest.mark.parametrize("edit", [lambda file: file.write_text("{}"), lambda file: file.unlink()])
def test_result_changed_by_hand_is_refused(command, edit, run, machine, capsys):
    run()
    edit(Path("a study/results") / CELLS[0] / "results.json")
    assert main([command, "a study"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "restore it (git checkout" in " ".join(shown.err.split())
    assert "Traceback" not in shown.err
    assert len(machine.engines) == 1


def test_results_and_runs_can_be_elsewhere(run, tmp_path):
    assert run("--runs", "there", "--results", "kept")[0] == 0
    assert (tmp_path / "there" / CELLS[0] / "results.json").exists()
    assert (tmp_path / "kept" / "table.csv").exists()
    assert not (tmp_path / "runs").exists()


def test_parameter_typed_as_the_file_has_it_changes_nothing(run, machine):
    epochs = "parameters: {epochs: 2}\n" + STUDY.replace("max_epochs: 2", "max_epochs: '${epochs}'")
    Path("a study/study.yaml").write_text(epochs)
    run()
    assert run("--set", "epochs=2")[2] == "a study: 9 commands, 9 done"
    assert "(trainer.max_epochs 2 -> 3)" in run("--set", "epochs=3")[2]


@pytest.mark.parametrize("command", ["run", "table"])
def test_two_studies_in_one_directory_keep_their_results_apart(command, run, machine, capsys):
    directory = Path("a study")
    (directory / "other.yaml").write_text(STUDY.replace("max_epochs: 2", "max_epochs: 3"))
    run()
    code, table, _ = run(study=directory / "other.yaml")
    assert (code, table.startswith("# other\n")) == (0, True)
    assert len(machine.names) == 9
    assert run()[2] == "a study: 9 commands, 9 done"
    for name in ("results", "other.results"):
        assert len(list((directory / name).rglob("stage.json"))) == 9
    assert main([command, str(directory / "other.yaml")]) == 0
    assert capsys.readouterr().out == table
    assert (directory / "other.results" / "table.md").read_text() == table


def test_help_shows_the_ways_to_call_it(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["run", "--help"])
    assert stop.value.code == 0
    assert "lit-llm run STUDY --dry-run" in capsys.readouterr().out


def test_commands_run_here_one_after_the_other_unless_said_otherwise(tmp_path):
    engine = run_command._engine(run_command._parsed(["study"]), 9, tmp_path, {})
    assert isinstance(engine, LocalEngine)
    assert engine.slots == 1
    engine.close()
