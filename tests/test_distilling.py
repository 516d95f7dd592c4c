"""From the command line: a run teaches another, which is then a run like any other."""

import json

import pytest
import yaml

from lit_llm.__main__ import main
from tests.references.tiny_experiment import tiny_experiment, write_config


@pytest.fixture
def taught(tmp_path, monkeypatch):
    """The configuration of a student whose teacher has been trained."""
    monkeypatch.chdir(tmp_path)
    config = tiny_experiment(tmp_path)
    assert main(["fit", "--config", write_config(tmp_path / "t.yaml", config), *to("teacher")]) == 0
    config["model"]["init_args"]["backbone"]["tokenizer"] = "teacher"
    config["model"] = {
        "class_path": "lit_llm.objectives.distillation.Distillation",
        "init_args": {"student": config["model"], "teacher": "teacher", "alpha": 0.7},
    }
    return config


def to(run_dir):
    return ["--run_dir", str(run_dir)]


def results(path):
    return json.loads((path / "results.json").read_text())


def check_comparison(student, teacher, report):
    """What the run says of its teacher is what the teacher's own run says."""
    found = student["distillation"]
    ours, theirs = found["student"], found["teacher"]
    assert theirs["metrics"] == pytest.approx(teacher["metrics"], abs=1e-6)
    assert ours["parameters"] == student["num_parameters"]
    assert theirs["bytes"] == 4 * theirs["parameters"] == 4 * teacher["num_parameters"]
    for model in (ours, theirs):
        assert model["latency_ms"] > 0
        assert model["tokens_per_second"] > 0
    assert found["speedup"]["latency"] == theirs["latency_ms"] / ours["latency_ms"]
    key = "test/entity_f1"
    if teacher["metrics"][key]:
        assert found["retained"][key] == student["metrics"][key] / theirs["metrics"][key]
    predictions = [
        [json.loads(line) for line in (report.parents[1] / name / "predictions.jsonl").open()]
        for name in ("student", "teacher")
    ]
    same = [
        one == other
        for a, b in zip(*predictions, strict=True)
        for one, other in zip(a["prediction"], b["prediction"], strict=True)
    ]
    assert found["agreement"]["test"] == sum(same) / len(same)
    text = report.read_text()
    assert "## Student and teacher" in text
    assert "both say the same of" in text


def test_a_distilled_run_is_scored_read_and_taught_from_like_any_other(taught, tmp_path, capsys):
    words = ["fit", "--config", write_config(tmp_path / "s.yaml", taught)]
    assert main([*words, *to("student")]) == 0
    found = results(tmp_path / "student")
    assert found["num_parameters"] == results(tmp_path / "teacher")["num_parameters"]
    check_comparison(found, results(tmp_path / "teacher"), tmp_path / "student" / "report.md")
    assert main(["test", "--run", "student"]) == 0
    again = results(tmp_path / "student" / "test")["metrics"]
    assert again["test/loss"] == pytest.approx(found["metrics"]["test/loss"])
    saved = yaml.safe_load((tmp_path / "student" / "test" / "config.yaml").read_text())
    assert saved["model"]["class_path"].endswith("TokenClassification")
    (tmp_path / "text.txt").write_text("Ann sees Bonn .\n")
    capsys.readouterr()
    assert main(["predict", "--run", "student", "--file", "text.txt"]) == 0
    assert "Ann sees Bonn" in capsys.readouterr().out
    assistant = ["--model.teacher", "student", "--model.student.backbone.tokenizer", "student"]
    assert main([*words, *assistant, *to("second")]) == 0


def test_a_student_can_be_cut_out_of_its_teacher(taught, tmp_path):
    backbone = {"source": "teacher", "keep_layers": [1], "keep_width": {"hidden_size": 64}}
    taught["model"]["init_args"]["student"]["init_args"]["backbone"] = backbone
    config = write_config(tmp_path / "s.yaml", taught)
    assert main(["fit", "--config", config, *to("student")]) == 0
    assert main(["test", "--run", "student"]) == 0
    small, large = (results(tmp_path / name) for name in ("student", "teacher"))
    assert small["num_parameters"] < large["num_parameters"]
    saved = yaml.safe_load((tmp_path / "student" / "test" / "config.yaml").read_text())
    assert saved["model"]["init_args"]["backbone"]["keep_width"] is None  # done already
    scored = results(tmp_path / "student" / "test")["metrics"]["test/loss"]
    assert scored == pytest.approx(small["metrics"]["test/loss"])


@pytest.mark.parametrize("matches", [False, True])
def test_it_resumes_with_its_teacher(taught, tmp_path, matches):
    if matches:  # a map from one width to the other learns, too
        taught["model"]["init_args"]["match"] = [{"what": "hidden_states", "layers": "top"}]
        student = taught["model"]["init_args"]["student"]
        student["init_args"]["backbone"]["source"] = "mini"
    taught["trainer"]["max_epochs"] = 4
    whole = write_config(tmp_path / "whole.yaml", taught)
    taught["trainer"]["max_epochs"] = 2
    half = write_config(tmp_path / "half.yaml", taught)
    constant = ["--model.student.schedule.name", "constant"]
    constant += ["--model.student.schedule.warmup_fraction", "0"]
    assert main(["fit", "--config", whole, *constant, *to("whole")]) == 0
    assert main(["fit", "--config", half, *constant, *to("half")]) == 0
    assert main(["fit", "--resume", "half", "--trainer.max_epochs", "4"]) == 0
    ours, theirs = (results(tmp_path / name)["metrics"] for name in ("half", "whole"))
    assert ours == theirs


def test_a_teacher_of_other_labels_stops_before_training(taught, tmp_path, capsys):
    for name in ("train", "dev", "test"):
        file = tmp_path / "data" / f"{name}.txt"
        file.write_text(file.read_text().replace("LOC", "CITY"))
    config = write_config(tmp_path / "s.yaml", taught)
    assert main(["fit", "--config", config, *to("student")]) == 1
    message = capsys.readouterr().err
    assert "teacher has the labels" in message
    assert "B-CITY" in message
    assert not (tmp_path / "student").exists()


def test_a_teacher_with_another_tokenizer_teaches_and_is_compared(taught, tmp_path, caplog):
    student = taught["model"]["init_args"]["student"]["init_args"]
    student["backbone"]["tokenizer"] = "train:bpe:60"
    config = write_config(tmp_path / "s.yaml", taught)
    assert main(["fit", "--config", config, *to("student")]) == 0
    assert "reads the examples in its own way, once" in caplog.text
    found, teacher = (results(tmp_path / name) for name in ("student", "teacher"))
    theirs = found["distillation"]["teacher"]
    for name in ("test/entity_f1", "val/word_accuracy"):
        assert theirs["metrics"][name] == pytest.approx(teacher["metrics"][name])
    assert theirs["metrics"].keys() == {n for n in teacher["metrics"] if "loss" not in n}
    assert 0 <= found["distillation"]["agreement"]["test"] <= 1
