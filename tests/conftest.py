"""Shared by all tests: no network, one thread, caches in a temporary place."""

import os
import socket
import time

os.environ.update(HF_HUB_OFFLINE="1", WANDB_MODE="disabled", TOKENIZERS_PARALLELISM="false")

import lightning.pytorch  # noqa: F401  its log handler keeps the stream it was made with
import pytest
import torch

torch.set_num_threads(1)


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=10, help="runs to kill in each test of -m faults")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIT_LLM_CACHE", str(tmp_path / "cache"))
    for name in ("LIT_LLM_RUN_DIR", "PL_GLOBAL_SEED"):  # what an earlier test's run left
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
