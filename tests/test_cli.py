"""The commands, from the words on the command line to the files of a run."""

import csv
import json
import math

import pytest
import torch
import yaml
from transformers import AutoModelForTokenClassification, AutoTokenizer

from lit_llm.__main__ import main
from tests.helpers import TAGGED


def steps(run):
    with (run / "metrics.csv").open(newline="") as file:
        return [int(row["step"]) for row in csv.DictReader(file) if row["train/loss"]]


def test_fit_leaves_a_whole_run_directory(experiment, tmp_path):
    assert main(experiment) == 0
    run = tmp_path / "run"
    names = {path.name for path in run.iterdir()}
    assert names >= {
        "config.yaml",
        "environment.json",
        "metrics.csv",
        "checkpoints",
        "best",
        "results.json",
        "predictions.jsonl",
        "report.md",
    }
    results = json.loads((run / "results.json").read_text())
    assert results["schema"] == 1
    assert results["steps"] == 6
    assert {"val/entity_f1", "test/entity_f1", "test/loss"} <= results["metrics"].keys()
    assert results["tables"]["test"]["tags"]["tags"]["B-PER"]["support"] == 9
    predictions = [json.loads(line) for line in (run / "predictions.jsonl").open()]
    assert [p["gold"] for p in predictions] == [tags for _, tags in TAGGED * 3]
    assert all(len(p["prediction"]) == len(p["gold"]) for p in predictions)
    assert steps(run) == [0, 1, 2, 3, 4, 5]
    assert "Entity level" in (run / "report.md").read_text()


def test_best_opens_in_transformers_with_the_same_probabilities(experiment, tmp_path):
    main(experiment)
    best = tmp_path / "run" / "best"
    model, tokenizer = (
        kind.from_pretrained(best) for kind in (AutoModelForTokenClassification, AutoTokenizer)
    )
    words = TAGGED[0][0]
    encoded = tokenizer(words, is_split_into_words=True, return_tensors="pt")
    first = [encoded.word_ids().index(i) for i in range(len(words))]
    with torch.no_grad():
        expected = model(**encoded).logits[0, first].softmax(-1)
    line = (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()[0]
    actual = torch.tensor(json.loads(line)["probabilities"])
    torch.testing.assert_close(actual, expected, atol=2e-5, rtol=0)


def test_test_and_validate_repeat_the_scores_of_fit(experiment, tmp_path):
    main(experiment)
    run = tmp_path / "run"
    first = json.loads((run / "results.json").read_text())["metrics"]
    for command, split in (("test", "test"), ("validate", "val")):
        assert main([command, "--run", str(run)]) == 0
        again = json.loads((run / command / "results.json").read_text())["metrics"]
        assert again == {k: v for k, v in first.items() if k.startswith(split)}


def test_losses_of_training_examples_rank_a_curriculum(experiment, tmp_path, capsys):
    assert main(experiment) == 0
    run = tmp_path / "run"
    assert main(["validate", "--run", str(run), "--split", "train"]) == 0
    assert json.loads((run / "train" / "results.json").read_text())["metrics"]["train/loss"] > 0
    lines = (run / "train" / "predictions.jsonl").read_text().splitlines()
    first, *others = (json.loads(line) for line in lines)
    assert len(others) == len(TAGGED * 3) - 1
    labels = json.loads((run / "results.json").read_text())["label_names"]
    surprise = [
        -math.log(row[labels.index(tag)])
        for row, tag in zip(first["probabilities"], first["gold"], strict=True)
    ]
    assert first["loss"] == pytest.approx(sum(surprise) / len(surprise), abs=1e-3)
    curriculum = {"score": "file", "path": str(run / "train" / "predictions.jsonl")}
    words = [*experiment[:-1], str(tmp_path / "second")]
    assert main([*words, "--data.batches.curriculum", json.dumps(curriculum)]) == 0
    for split in ("dev", "test"):
        assert main(["validate", "--run", str(run), "--split", split]) == 1
        assert f"--split is val or train, not '{split}'" in capsys.readouterr().err


def test_run_directory_in_use_is_refused(experiment, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    assert main(experiment) == 1
    assert "is not empty" in capsys.readouterr().err
    assert (tmp_path / "run" / "notes.txt").exists()


def test_resume_goes_on_to_the_end(experiment, tmp_path):
    run = tmp_path / "run"
    assert main([*experiment, "--trainer.max_epochs", "1"]) == 0
    assert steps(run) == [0, 1, 2]
    assert main(["fit", "--resume", str(run), "--trainer.max_epochs", "3"]) == 0
    assert steps(run) == list(range(9))
    assert json.loads((run / "results.json").read_text())["steps"] == 9


def test_early_stopping_says_when(experiment, tmp_path):
    stop = {
        "class_path": "lightning.pytorch.callbacks.EarlyStopping",
        "init_args": {"monitor": "val/loss", "patience": 1, "min_delta": 100.0},
    }
    config = tmp_path / "stop.yaml"
    config.write_text(yaml.safe_dump({"trainer": {"max_epochs": 9, "callbacks+": [stop]}}))
    assert main([*experiment, "--config", str(config)]) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["stopped_early"] == {"monitor": "val/loss", "step": 6}
    assert results["best"]["step"] <= 6  # the base callbacks are still there


def test_a_budget_that_is_used_up_is_recorded(experiment, tmp_path):
    budget = {"class_path": "lit_llm.callbacks.budget.Budget", "init_args": {"tokens": 1}}
    config = tmp_path / "budget.yaml"
    config.write_text(yaml.safe_dump({"trainer": {"callbacks+": [budget]}}))
    assert main([*experiment, "--config", str(config)]) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["steps"] == results["budget_used_up"]["step"] == 1
    assert results["budget_used_up"]["tokens"] == results["train"]["tokens"]


def test_callback_named_again_replaces_the_first(experiment, tmp_path):
    name = "lit_llm.callbacks.checkpoints.Checkpoints"
    again = {"class_path": name, "init_args": {"every_n_steps": 2, "keep": None}}
    config = tmp_path / "often.yaml"
    config.write_text(yaml.safe_dump({"trainer": {"callbacks+": [again]}}))
    assert main([*experiment, "--config", str(config)]) == 0
    written = (tmp_path / "run" / "checkpoints").iterdir()
    assert {path.name for path in written} == {"step-2", "step-3", "step-4", "step-6"}
    callbacks = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["trainer"][
        "callbacks"
    ]
    assert [callback["class_path"] for callback in callbacks].count(name) == 1


def test_failed_start_leaves_no_run_directory(experiment, tmp_path, capsys):
    assert main([*experiment, "--data.max_length", "1000"]) == 1
    assert "above the backbone's 512 positions" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--data.max_lenght", "3"],
            "data.max_lenght: there is no such setting; did you mean max_",
        ),
        (
            ["--trainer.max_epoch", "3"],
            "--trainer.max_epoch 3: there is no such flag; did you mean",
        ),
        (["--trainer.max_epochs", "x"], "trainer.max_epochs: expected a int; got x"),
        (["--model.optimizer.lr", "fast"], "model.optimizer.lr: expected a float"),
        (["--model.optimizer.lr", "-1"], "optimizer.lr must be above 0, not -1.0"),
        (["--model.backbone.source", "bert-bse"], "pass a local directory"),
        (["--data.class_path", "os.path.join"], "pass --allow_import os"),
        (["--config", "nowhere.yaml"], "--config nowhere.yaml: there is no such file"),
        (["--data.path", "/nowhere"], "/nowhere: no such directory"),
        (["--resume", "elsewhere"], "give one of them"),
    ],
)
def test_bad_words_get_one_sentence(experiment, words, message, capsys):
    assert main([*experiment, *words]) == 1
    errors = capsys.readouterr().err
    assert message in errors
    assert "Traceback" not in errors
    assert "usage:" not in errors


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: [\n", "bad.yaml:2: this is not YAML"),
        ("modle: 1\n", "modle: there is no such setting; did you mean model? ("),
        ("- a\n", "keys and values were expected"),
        ("trainer:\n  max_epoch: 3\n", "bad.yaml:2"),
    ],
)
def test_bad_configuration_names_file_and_line(experiment, text, message, tmp_path, capsys):
    (tmp_path / "bad.yaml").write_text(text)
    assert main([*experiment, "--config", str(tmp_path / "bad.yaml")]) == 1
    assert message in capsys.readouterr().err


def test_flags_may_stand_before_configs(experiment, tmp_path):
    words = ["fit", "--trainer.max_epochs", "1", *experiment[1:]]
    assert main(words) == 0
    assert json.loads((tmp_path / "run" / "results.json").read_text())["epochs"] == 1


def test_unknown_command_and_missing_run_are_refused(tmp_path, capsys):
    assert main(["frobnicate"]) == 2
    assert main(["test", "--run", str(tmp_path)]) == 1
    assert main(["test"]) == 1
    assert main(["fit"]) == 1
    errors = capsys.readouterr().err
    assert "there is no command 'frobnicate'" in errors
    assert "there is no config.yaml in it" in errors
    assert "say which run" in errors
    assert "say what to train" in errors
