"""Shared by all tests: no network, one thread, caches in a temporary place."""

import os

os.environ.update(HF_HUB_OFFLINE="1", WANDB_MODE="disabled", TOKENIZERS_PARALLELISM="false")

import lightning.pytorch  # noqa: F401  its log handler keeps the stream it was made with
import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIT_LLM_CACHE", str(tmp_path / "cache"))
    for name in ("LIT_LLM_RUN_DIR", "PL_GLOBAL_SEED"):  # what an earlier test's run left
        monkeypatch.delenv(name, raising=False)
