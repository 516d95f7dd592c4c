"""Shared by all tests: no network, one thread, caches in a temporary place."""

import os
import socket
import time

os.environ.update(HF_HUB_OFFLINE="1", WANDB_MODE="disabled", TOKENIZERS_PARALLELISM="false")

import lightning.pytorch  # noqa: F401  its log handler keeps the stream it was made with
import pytest
import torch
import yaml

from tests.helpers import TAGGED

torch.set_num_threads(1)


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=10, help="runs to kill in each test of -m faults")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIT_LLM_CACHE", str(tmp_path / "cache"))
    for name in (
        "LIT_LLM_RUN_DIR",
        "LIT_LLM_PARENT",
        "PL_GLOBAL_SEED",
    ):  # what an earlier test's run left
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def attempts(monkeypatch):
    """Every address a connection is tried to; a pause before another try is a failure."""
    tried = []
    connect = socket.socket.connect

    def record(self, address):
        tried.append(address)
        return connect(self, address)

    def pause(seconds):
        raise AssertionError(f"waits {seconds} s to try again")

    monkeypatch.setattr(socket.socket, "connect", record)
    monkeypatch.setattr(time, "sleep", pause)
    return tried


@pytest.fixture
def experiment(tmp_path):
    """A configuration over a tiny data set: the words that train on it."""
    data = tmp_path / "data"
    data.mkdir()
    text = "\n\n".join(
        "\n".join(f"{word}\t{tag}" for word, tag in zip(words, tags, strict=True))
        for words, tags in TAGGED * 3
    )
    for name in ("train.txt", "dev.txt", "test.txt"):
        (data / name).write_text(text + "\n")
    config = {
        "model": {
            "class_path": "lit_llm.objectives.token_classification.TokenClassification",
            "init_args": {
                "backbone": {"source": "tiny", "tokenizer": "train:100"},
                "optimizer": {"lr": 1e-3},
            },
        },
        "data": {
            "class_path": "lit_llm.data.conll2003.CoNLL2003",
            "init_args": {"path": str(data), "batches": {"examples_per_batch": 3}},
        },
        "trainer": {"max_epochs": 2, "accelerator": "cpu", "precision": "32-true"},
    }
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump(config))
    quiet = ("--trainer.enable_progress_bar", "false", "--trainer.log_every_n_steps", "1")
    return ["fit", "--config", str(path), *quiet, "--run_dir", str(tmp_path / "run")]
