"""A study's settings are read before hours go by; nothing is built, nothing is written."""

import io
import json
import re
import sys

import pytest

from lit_llm import check_settings
from tests.references.tiny_experiment import tiny_experiment, write_config


@pytest.fixture
def words(tmp_path, monkeypatch):
    """A command that can be read."""
    monkeypatch.setattr(sys, "argv", ["lit-llm"])
    path = write_config(tmp_path / "experiment.yaml", tiny_experiment(tmp_path))
    return ["--config", path, "--seed_everything", "1", "--run_dir", str(tmp_path / "run")]


def test_what_can_be_read_has_no_fault_and_leaves_nothing(words, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    missing = ["--model.backbone.source", "runs/of/a/stage/to/come"]
    assert check_settings.fault([*words, *missing]) is None
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        (["--trainer.max_epoch", "3"], "trainer.max_epoch.*did you mean max_epochs"),
        (["--model.backbone.sorce", "tiny"], "sorce"),
        (["--trainer.max_epochs", "three"], "max_epochs.*three"),
        (["--config", "none.yaml"], "none.yaml: there is no such file"),
        (["--model.class_path", "os.system"], "os.system may not be imported"),
    ],
)
def test_fault_names_the_setting(wrong, fault, words):
    assert re.search(fault, check_settings.fault([*words, *wrong]))


def test_list_of_commands_comes_back_as_a_list_of_faults(words, monkeypatch, capsys):
    commands = [words, [*words, "--trainer.max_epoch=3"], words]
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(commands)))
    check_settings.main()
    first, second, third = json.loads(capsys.readouterr().out)
    assert first is None
    assert "did you mean max_epochs" in second
    assert third is None
