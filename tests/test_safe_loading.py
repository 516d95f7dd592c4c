"""Configurations, models and checkpoints of strangers: each tries to create a file, none does."""

import json
import os
import pickle
import shutil
import socket
import sys
from copy import deepcopy

import pytest
import torch
import yaml

from lit_llm.__main__ import main
from tests.references.malicious_checkpoints import Payload
from tests.references.tiny_experiment import tiny_experiment, write_config
from tests.references.tiny_runs import make_source

EVIL = """
import os
from transformers import BertConfig, BertModel, BertTokenizerFast

os.makedirs({canary!r}, exist_ok=True)


class Model(BertModel): pass
class Config(BertConfig): model_type = "evil"
class Tokenizer(BertTokenizerFast): pass
def run(*arguments, **settings): pass
"""
QUOTED = "class_path 'evil_module.Model' Option 'x' is not accepted"
LAMBDA = "lightning.pytorch.callbacks.LambdaCallback"
TOKENS = "lit_llm.objectives.token_classification.TokenClassification"
MKDIR = {"init_args": {"name": "CANARY"}}
SHELL = {"init_args": {"command": "mkdir CANARY", "args": "mkdir CANARY", "shell": True}}
CODE = "__import__('os').makedirs('CANARY')"


def callback(class_path, **init_args):
    return {"trainer": {"callbacks": [{"class_path": class_path, "init_args": init_args}]}}


def named(**settings):
    """Settings of the trainer, or of what stands beside it, as classes of a module in the path."""
    return {key: {"class_path": "evil_module.Model", "init_args": {}} for key in settings}


DENIED = "may not be imported from a configuration"
CONFIGS = {
    "model is os.system": ({"model": {"class_path": "os.system", **SHELL}}, f"os.system {DENIED}"),
    "model is os.makedirs": ({"model": {"class_path": "os.makedirs", **MKDIR}}, DENIED),
    "data is Popen": ({"data": {"class_path": "subprocess.Popen", **SHELL}}, f"Popen {DENIED}"),
    "callback is eval": (callback("builtins.eval", source=CODE), f"builtins.eval {DENIED}"),
    "callback is exec": (callback("builtins.exec", source=CODE), f"builtins.exec {DENIED}"),
    "callable by path": (
        callback(LAMBDA, on_fit_start="os.system"),
        f"on_fit_start: os.system {DENIED}",
    ),
    "callable of ours": (
        callback(LAMBDA, on_fit_start="lit_llm.cli.os.system"),
        "posix.system may",
    ),
    "callable of a stranger": (callback(LAMBDA, on_fit_start="evil_module.run"), DENIED),
    "callable of torch": (callback(LAMBDA, on_fit_start="torch.hub.load"), DENIED),
    "callable class": (
        callback(LAMBDA, on_fit_start={"class_path": "subprocess.Popen", **SHELL}),
        f"subprocess.Popen {DENIED}",
    ),
    "callable is code": (callback(LAMBDA, on_fit_start=CODE), "Not a valid subclass of Callback"),
    "attribute of our module": (
        {"model": {"class_path": "lit_llm.cli.os.makedirs", **MKDIR}},
        f"os.makedirs {DENIED}",
    ),
    "attribute of torch": (
        callback("torch.nn.functional.importlib.import_module", name="evil_module"),
        f"importlib.import_module {DENIED}",
    ),
    "attribute that is none": (
        callback("torch.nn.functional.os.makedirs", name="CANARY"),
        "module 'torch.nn.functional' has no attribute 'os'",
    ),
    "attribute of Lightning": (
        callback("lightning.pytorch.trainer.trainer.os.system", command="mkdir CANARY"),
        f"posix.system {DENIED}",
    ),
    "model of a stranger": (named(model=1), f"evil_module.Model {DENIED}"),
    "data of a stranger": (named(data=1), f"evil_module.Model {DENIED}"),
    "callback of a stranger": (callback("evil_module.Model"), f"evil_module.Model {DENIED}"),
    "logger of a stranger": ({"trainer": named(logger=1)}, f"evil_module.Model {DENIED}"),
    "strategy of a stranger": ({"trainer": named(strategy=1)}, f"evil_module.Model {DENIED}"),
    "plugin of a stranger": ({"trainer": {"plugins": [*named(p=1).values()]}}, DENIED),
    "profiler of a stranger": ({"trainer": named(profiler=1)}, f"evil_module.Model {DENIED}"),
    "accelerator of a stranger": ({"trainer": named(accelerator=1)}, DENIED),
    "strategy by name": ({"trainer": {"strategy": "evil_module.Model"}}, "invalid strategy name"),
    "profiler by name": ({"trainer": {"profiler": "evil_module.Model"}}, "it can only be one of"),
    "model by name": ({"model": "evil_module.Model"}, f"evil_module.Model {DENIED}"),
    "backbone of a stranger": (
        {"model": {"class_path": TOKENS, "init_args": named(backbone=1)}},
        f"evil_module.Model {DENIED}",
    ),
    "optimizer of a stranger": (
        {"model": {"class_path": TOKENS, "init_args": {"optimizer": "evil_module.run"}}},
        f"evil_module.run {DENIED}",
    ),
    "schedule is os.system": (
        {"model": {"class_path": TOKENS, "init_args": {"schedule": {"class_path": "os.system"}}}},
        f"os.system {DENIED}",
    ),
    "Lightning's optimizer": (named(optimizer=1), "optimizer.class_path: there is no such setting"),
    "message that quotes a stranger": ({"model": QUOTED}, "model.x: there is no such setting"),
    "include": ({"include": "/etc/passwd"}, "include: there is no such setting"),
    "interpolation": ({"seed_everything": "${oc.env:HOME}"}, "seed_everything: expected a"),
    "settings behind a URL": ({"trainer": "http://127.0.0.1:9/a.yaml"}, "Unable to load config"),
    "model behind a URL": (
        {"model": {"class_path": TOKENS, "init_args": {"backbone": {"source": "http://host/a"}}}},
        "'http://host/a': there is no such directory",
    ),
    "dict_kwargs": (
        {"data": {"class_path": "lit_llm.data.toy_ner.ToyNER", "dict_kwargs": {"path": "CANARY"}}},
        "dict_kwargs is not accepted",
    ),
}
TAGS = [
    "!!python/object/apply:os.makedirs [CANARY]",
    "!!python/object/new:os.makedirs [CANARY]",
    "!!python/object:evil_module.Model {}",
    "!!python/name:evil_module.run",
    "!!python/module:evil_module",
    "!include evil_module.py",
]


@pytest.fixture
def canary(tmp_path, monkeypatch):
    """What must not come to be; a module that would create it stands in the working directory."""
    path = tmp_path / "canary"
    (tmp_path / "evil_module.py").write_text(EVIL.format(canary=str(path)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield path
    assert not path.exists()
    assert "evil_module" not in sys.modules


@pytest.fixture
def refused(tmp_path, canary, capsys, monkeypatch):
    """Starts a training that must fail with one sentence, and without asking the network."""
    asked = []
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: asked.append(address))

    def check(config, message, *words):
        assert main(["fit", "--config", config, "--run_dir", str(tmp_path / "run"), *words]) == 1
        *before, said = capsys.readouterr().err.splitlines()
        assert said.startswith("lit-llm fit: ")
        assert message in said
        assert not [line for line in before if line.startswith(("lit-llm", "Traceback"))]
        assert not (tmp_path / "run").exists()
        assert asked == []

    return check


def with_canary(config, canary):
    return yaml.safe_load(yaml.safe_dump(config).replace("CANARY", str(canary)))


@pytest.mark.parametrize("name", CONFIGS)
def test_hostile_configuration_is_refused(tmp_path, canary, refused, name):
    change, message = CONFIGS[name]
    config = tiny_experiment(tmp_path)
    for key, value in with_canary(deepcopy(change), canary).items():
        merged = key == "trainer" and isinstance(value, dict)
        config[key] = {**config[key], **value} if merged else value
        if key == "model" and isinstance(value, dict) and value["class_path"] == TOKENS:
            given = value["init_args"]
            config[key]["init_args"] = {
                "backbone": {"source": "tiny", "tokenizer": "train"}
            } | given
    refused(write_config(tmp_path / "a.yaml", config), message)


@pytest.mark.parametrize("tag", TAGS)
def test_tag_of_python_is_no_yaml(tmp_path, canary, refused, tag):
    text = yaml.safe_dump(tiny_experiment(tmp_path)) + f"seed_everything: {tag}\n"
    (tmp_path / "a.yaml").write_text(text.replace("CANARY", str(canary)))
    refused(str(tmp_path / "a.yaml"), "this is not YAML: could not determine a constructor")


def test_configuration_that_is_a_pickle_or_a_url_is_refused(tmp_path, canary, refused):
    (tmp_path / "a.yaml").write_bytes(pickle.dumps(Payload(canary)))
    refused(str(tmp_path / "a.yaml"), "a.yaml: this is not YAML")
    refused("http://127.0.0.1:9/a.yaml", "http://127.0.0.1:9/a.yaml: there is no such file")


def test_flag_is_refused_like_a_file(tmp_path, canary, refused):
    config = write_config(tmp_path / "a.yaml", tiny_experiment(tmp_path))
    refused(config, f"evil_module.Model {DENIED}", "--model", "evil_module.Model")
    refused(config, DENIED, "--trainer.callbacks+=evil_module.Model")


def test_configuration_of_a_stranger_s_run_is_refused(tmp_path, canary, capsys):
    run = tmp_path / "run"
    (run / "best").mkdir(parents=True)
    config = {"model": {"class_path": "evil_module.Model", "init_args": {"backbone": {}}}}
    write_config(run / "config.yaml", {**tiny_experiment(tmp_path), **config})
    assert main(["fit", "--resume", str(run)]) == 1
    assert main(["test", "--run", str(run)]) == 1
    assert main(["predict", "--run", str(run), "--text", "a"]) == 1
    errors = capsys.readouterr().err
    assert errors.count("--allow_import evil_module") == 3
    assert "Traceback" not in errors


def test_package_of_one_s_own_is_let_in(tmp_path, monkeypatch, capsys):
    (tmp_path / "trusted").mkdir()
    (tmp_path / "trusted" / "__init__.py").touch()
    text = "from lit_llm.data.conll2003 import CoNLL2003\n\n\nclass Mine(CoNLL2003): pass\n"
    (tmp_path / "trusted" / "data.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    config = tiny_experiment(tmp_path)
    config["data"]["class_path"] = "trusted.data.Mine"
    path = write_config(tmp_path / "a.yaml", config)
    words = ["fit", "--config", path, "--run_dir", str(tmp_path / "run")]
    assert main(words) == 1
    assert "trusted" not in sys.modules
    assert "pass --allow_import trusted" in capsys.readouterr().err
    assert main([*words, "--allow_import", "trusted"]) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["data"] == "Mine"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return make_source(tmp_path_factory.mktemp("good"), "bert", plain=True)


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def pickle_alone(model, payload):
    (model / "model.safetensors").unlink()
    torch.save({"weight": payload}, model / "pytorch_model.bin")


def pickle_beside_other_weights(model, payload):
    (model / "model.safetensors").rename(model / "head.safetensors")
    torch.save({"weight": payload}, model / "pytorch_model.bin")


def pickle_in_the_index(model, payload):
    pickle_beside_other_weights(model, payload)
    index = {"metadata": {}, "weight_map": {"weight": "pytorch_model.bin"}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))


def index_that_leads_elsewhere(model, payload):
    (model / "model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": {"weight": "../good/model.safetensors"}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))


def pickle_called_safetensors(model, payload):
    torch.save({"weight": payload}, model / "model.safetensors")


def huge_header(model, payload):
    (model / "model.safetensors").write_bytes((2**60).to_bytes(8, "little") + b"{}")


def code_for_the_model(model, payload):
    shutil.copy(model.parent / "evil_module.py", model / "evil.py")
    auto_map = {"AutoConfig": "evil.Config", "AutoModelForTokenClassification": "evil.Model"}
    edit(model / "config.json", model_type="evil", auto_map=auto_map)


def code_on_the_hub(model, payload):
    auto_map = {"AutoConfig": "evil/model--evil.Config"}
    edit(model / "config.json", model_type="evil", auto_map=auto_map)


def code_in_a_setting(model, payload):
    edit(model / "config.json", dtype=f"{CODE}".replace("CANARY", payload.canary))


def tokenizer_is_a_pickle(model, payload):
    (model / "tokenizer.json").write_bytes(pickle.dumps(payload))


REFUSED_MODELS = {
    pickle_alone: "pytorch_model.bin is a pickle, which can run code",
    pickle_beside_other_weights: "pytorch_model.bin is a pickle, which can run code",
    pickle_in_the_index: "names 'pytorch_model.bin', no safetensors file beside it",
    index_that_leads_elsewhere: "names '../good/model.safetensors', no safetensors file beside it",
    pickle_called_safetensors: "model.safetensors is no whole safetensors file",
    huge_header: "model.safetensors is no whole safetensors file",
    code_for_the_model: "contains custom code which must be executed",
    code_on_the_hub: "config.json is no model of transformers",
    code_in_a_setting: "config.json is no model of transformers",
    tokenizer_is_a_pickle: "its tokenizer cannot be read",
}


def code_for_a_known_model(model, payload):
    code_for_the_model(model, payload)
    edit(model / "config.json", model_type="bert")


def code_for_the_tokenizer(model, payload):
    shutil.copy(model.parent / "evil_module.py", model / "tokenizer.py")
    auto_map = {"AutoTokenizer": ["tokenizer.Tokenizer", "tokenizer.Tokenizer"]}
    edit(model / "tokenizer_config.json", tokenizer_class="Tokenizer", auto_map=auto_map)


def tokenizer_by_path(model, payload):
    edit(model / "tokenizer_config.json", tokenizer_class="evil_module.Tokenizer")


def leftovers_of_a_trainer(model, payload):
    for name in ("training_args.bin", "optimizer.pt", "scheduler.pt", "pytorch_model.bin"):
        torch.save(payload, model / name)
    for name in ("__init__.py", "modeling_bert.py", "conftest.py"):
        shutil.copy(model.parent / "evil_module.py", model / name)


IGNORED_IN_MODELS = [
    code_for_a_known_model,
    code_for_the_tokenizer,
    tokenizer_by_path,
    leftovers_of_a_trainer,
]


def experiment_with(model, tmp_path):
    config = tiny_experiment(tmp_path)
    config["model"]["init_args"]["backbone"] = {"source": str(model)}
    return write_config(tmp_path / "a.yaml", config)


@pytest.mark.parametrize("spoil", REFUSED_MODELS, ids=lambda spoil: spoil.__name__)
def test_hostile_model_is_refused(tmp_path, canary, refused, good, spoil):
    shutil.copytree(good, tmp_path / "model")
    spoil(tmp_path / "model", Payload(canary))
    refused(experiment_with(tmp_path / "model", tmp_path), REFUSED_MODELS[spoil])


@pytest.mark.parametrize("add", IGNORED_IN_MODELS, ids=lambda add: add.__name__)
def test_code_that_no_model_needs_is_ignored(tmp_path, canary, good, add):
    shutil.copytree(good, tmp_path / "model")
    add(tmp_path / "model", Payload(canary))
    config = experiment_with(tmp_path / "model", tmp_path)
    assert main(["fit", "--config", config, "--run_dir", str(tmp_path / "run")]) == 0
    assert not [path for path in (tmp_path / "run" / "best").iterdir() if path.suffix == ".py"]
    assert not os.path.lexists(canary)
