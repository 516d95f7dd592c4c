"""The words of a command line, as LightningCLI gets them."""

import json
import sys

import pytest

from lit_llm.check_settings import _ReadOnly
from lit_llm.cli_options import own_options, split_configs
from tests.references.tiny_experiment import tiny_experiment, write_config


@pytest.fixture
def parsed(tmp_path, monkeypatch):
    """The configuration that a command line amounts to; nothing is built."""
    monkeypatch.setattr(sys, "argv", ["lit-llm"])
    config = tiny_experiment(tmp_path)
    config["model"]["init_args"]["backbone"]["init_from"] = "somewhere"
    config["model"]["init_args"]["backbone"]["hidden_dropout"] = 0.3
    path = write_config(tmp_path / "experiment.yaml", config)

    def parse(*words):
        _, rest = own_options([*words, "--config", path], "fit", {"--run_dir": ""})
        return _ReadOnly(rest, None).config

    return parse


NULLS = [
    ["--model.backbone.init_from", "null"],
    ["--model.backbone.init_from=null"],
    ["--model.init_args.backbone.init_from", "null"],
]


@pytest.mark.parametrize("words", NULLS, ids=" ".join)
def test_null_in_a_nested_setting_is_null(words, parsed):
    backbone = parsed(*words, "--model.backbone.source", "mini").model.init_args.backbone
    assert (backbone.init_from, backbone.source, backbone.hidden_dropout) == (None, "mini", 0.3)


def test_several_nulls_and_other_flags_keep_their_values(parsed):
    config = parsed(
        *("--model.backbone.init_from", "null", "--model.backbone.hidden_dropout=null"),
        *("--data.batches.seed", "null", "--data.batches.examples_per_batch", "5"),
        *("--trainer.max_epochs", "7", "--seed_everything", "3"),
    )
    backbone = config.model.init_args.backbone
    assert (backbone.init_from, backbone.hidden_dropout, backbone.source) == (None, None, "tiny")
    batches = config.data.init_args.batches
    assert (batches.seed, batches.examples_per_batch) == (None, 5)
    assert (config.trainer.max_epochs, config.seed_everything) == (7, 3)


def test_configs_come_before_flags_and_nulls_between(tmp_path):
    a, b = (write_config(tmp_path / name, {"trainer": {}}) for name in ("a.yaml", "b.yaml"))
    words = ["--x", "1", "--config", a, "--model.a.b.c=null", "-c", b, "--run_dir", "there"]
    options, rest = own_options([*words, "--model.lr", "null"], "fit", {"--run_dir": ""})
    assert options.run_dir == "there"
    null = json.dumps({"model": {"init_args": {"a": {"b": {"c": None}}}}})
    configs = ["--config", a, "--config", b, "--config", null]
    assert rest == [*configs, "--x", "1", "--model.lr", "null"]


def test_configs_and_other_words_are_told_apart():
    words = ["--config", "a", "--b", "c", "-c", "d", "--config=e"]
    assert split_configs(words) == (["a", "d", "e"], ["--b", "c"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--run_dir"], "expected one argument"),
        (["--config"], "expected one argument"),
        (["--config", "none.yaml"], "--config none.yaml: there is no such file"),
    ],
)
def test_words_that_lack_something_are_refused(words, message):
    with pytest.raises(ValueError, match=message):
        own_options(words, "fit", {"--run_dir": ""})
