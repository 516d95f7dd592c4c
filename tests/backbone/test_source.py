from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from transformers import AutoModel, AutoModelForTokenClassification

from lit_llm.backbone.backbone import Backbone
from lit_llm.backbone.source import Source, resolve_source


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """An empty hub cache and no network."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def run_directory(source, tmp_path):
    """A run: config.yaml and best/."""
    run = tmp_path / "run"
    shutil.copytree(source("bert"), run / "best")
    (run / "config.yaml").write_text("seed: 1\n")
    return run


@pytest.mark.parametrize("name", ["bert-bse", "google-bert/bert-base-cased", "gpt2-huge"])
def test_hub_id_without_network_fails_at_once_with_what_to_pass(name, offline, attempts):
    with pytest.raises(OSError, match=r"without a network.*pkg://.*tiny, mini.*gpt2-base"):
        Backbone(name)
    assert attempts == []


def test_unreachable_hub_fails_at_once(offline, attempts, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(OSError, match="without a network"):
        Backbone("some-org/some-model")
    assert attempts == [("127.0.0.1", 9)]


def test_hub_id_is_read_from_the_local_cache(offline, source):
    repo = offline / "models--some-org--some-model"
    shutil.copytree(source("bert"), repo / "snapshots" / "abc123")
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("abc123")
    backbone = Backbone("some-org/some-model")
    assert backbone.build(AutoModelForTokenClassification, num_labels=3) is not None
    assert backbone.config.model_type == "bert"


def test_directory_is_itself_and_a_run_is_its_best(source, run_directory):
    directory = Path(source("bert"))
    assert resolve_source(str(directory)) == Source(directory)
    assert resolve_source(str(run_directory)) == Source(run_directory / "best", is_run=True)
    assert resolve_source(str(run_directory / "best")).is_run


def test_run_without_best_is_refused(run_directory):
    shutil.rmtree(run_directory / "best")
    with pytest.raises(ValueError, match=r"no best/ yet.*--resume"):
        Backbone(str(run_directory))
    (run_directory / "best").mkdir()
    with pytest.raises(ValueError, match="the run saved no model"):
        Backbone(str(run_directory))


@pytest.mark.parametrize("path", ["./nowhere", "/no/where", "../a", "a/b/c", ""])
def test_missing_directory_is_refused_without_asking_the_hub(path):
    with pytest.raises(ValueError, match="no such directory"):
        resolve_source(path)


def test_directory_that_holds_no_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"neither config\.json nor best/"):
        resolve_source(str(tmp_path))


def test_package_directory_is_found_without_importing_it(source, tmp_path, monkeypatch):
    package = tmp_path / "a_package_of_weights"
    shutil.copytree(source("bert"), package / "some" / "model")
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert Backbone("pkg://a_package_of_weights/some/model").max_positions == 40
    with pytest.raises(ValueError, match=r"other holds no config.json"):
        resolve_source("pkg://a_package_of_weights/other")


@pytest.mark.parametrize("name", ["pkg://no_such_package/model", "pkg://", "pkg://a.b/c"])
def test_missing_package_is_refused(name):
    with pytest.raises(ValueError, match="no Python package"):
        resolve_source(name)


def test_size_is_no_place_for_a_tokenizer_or_weights(source):
    with pytest.raises(ValueError, match=r"backbone.tokenizer = 'tiny' is a size"):
        Backbone("mini", tokenizer="tiny")
    with pytest.raises(ValueError, match=r"backbone.init_from = 'tiny' is a size"):
        Backbone(source("bert"), init_from="tiny")


def test_pickle_is_refused_and_says_how_to_convert(source, tmp_path):
    directory = tmp_path / "pickled"
    shutil.copytree(source("bert"), directory)
    (directory / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"holds no \*.safetensors"):
        Backbone(str(directory)).build()
    torch.save({}, directory / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"is a pickle.*save_pretrained"):
        Backbone(str(directory)).build()


def test_weights_in_parts_are_read_and_a_missing_part_is_named(source, tmp_path):
    directory = tmp_path / "parts"
    shutil.copytree(source("bert"), directory)
    model = AutoModel.from_pretrained(directory)
    (directory / "model.safetensors").unlink()
    model.save_pretrained(directory, max_shard_size="2KB")
    parts = sorted(directory.glob("model-*.safetensors"))
    assert len(parts) > 1
    backbone = Backbone(str(directory))
    backbone.build()
    torch.testing.assert_close(
        backbone.model.get_input_embeddings().weight, model.get_input_embeddings().weight
    )
    parts[0].unlink()
    with pytest.raises(ValueError, match=f"{parts[0].name} is no whole safetensors file"):
        Backbone(str(directory)).build()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"model_type": "no_such_type"}', "no model of transformers"),
        ("{}", "no model of transformers"),
        ("not json", "no model of transformers"),
        ('{"model_type": "t5"}', "t5 is an encoder-decoder"),
        ('{"auto_map": {"AutoConfig": "x.Y"}, "model_type": "x"}', "no model of transformers"),
    ],
)
def test_configuration_that_gives_no_backbone_is_refused(text, message, source, tmp_path):
    shutil.copytree(source("bert"), tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        Backbone(str(tmp_path / "model"))
