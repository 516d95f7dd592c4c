from types import SimpleNamespace

import pytest
from transformers import AutoModelForTokenClassification

from lit_llm.batch import PackedBatch
from lit_llm.callbacks.checkpoints import Checkpoints
from lit_llm.callbacks.throughput import Throughput
from tests.helpers import STEADY, TAGS, save_tiny
from tests.references.small_fits import fit_words


def test_totals_count_tokens_and_filler():
    callback, logged = Throughput(), {}
    module = SimpleNamespace(log=lambda name, value, **kwargs: logged.update({name: value}))
    trainer = SimpleNamespace(log_every_n_steps=1)
    batch = PackedBatch.pack([{"input_ids": [1, 2, 3]}, {"input_ids": [4, 5]}], [[0, 1]], 8, 0)
    for index in range(2):
        callback.on_train_batch_start(trainer, module, batch, index)
        callback.on_train_batch_end(trainer, module, None, batch, index)
    summary = callback.summary()
    assert (summary["examples"], summary["tokens"], summary["slots"]) == (4, 10, 16)
    assert summary["filler_fraction"] == pytest.approx(6 / 16)
    assert summary["tokens_per_second"] == pytest.approx(10 / summary["seconds"])
    assert logged["train/tokens_per_second"] > 0


def test_on_a_gpu_every_step_counts_and_the_logged_ones_wait(monkeypatch):
    waited, logged = [], []
    monkeypatch.setattr("torch.cuda.synchronize", lambda: waited.append(True))
    module = SimpleNamespace(log=lambda name, value, **kwargs: logged.append(value))
    batch = SimpleNamespace(
        num_examples=2, num_tokens=5, input_ids=SimpleNamespace(is_cuda=True, numel=lambda: 8)
    )
    callback = Throughput()
    for index in range(7):
        callback.on_train_batch_start(None, module, batch, index)
        callback.on_train_batch_end(
            SimpleNamespace(log_every_n_steps=3), module, None, batch, index
        )
    assert callback.totals["tokens"] == 35
    assert callback.totals["examples"] == 14
    assert len(waited) == len(logged) == 2


def test_summary_before_any_step_is_finite():
    assert Throughput().summary()["tokens_per_second"] == 0


def test_evaluations_have_their_cost_also_after_a_resume(tmp_path):
    source = save_tiny(tmp_path / "source", AutoModelForTokenClassification, TAGS)
    settings = {"val_check_interval": 2, "enable_checkpointing": True}

    def fit(name, resume=None):
        counter, saving = Throughput(), Checkpoints(every_n_steps=1, keep=None)
        fit_words(tmp_path / name, source, [counter, saving], STEADY, resume=resume, **settings)
        assert counter.evaluations[-1]["tokens"] == counter.totals["tokens"]
        return [
            {name: value for name, value in found.items() if name != "seconds"}
            for found in counter.evaluations
        ]

    whole = fit("whole")
    assert [found["step"] for found in whole] == [2, 4, 6, 8]
    assert set(whole[0]) >= {"step", "tokens", "val/entity_f1", "val/loss"}
    for step in (1, 4, 7):
        assert fit(f"from-{step}", tmp_path / "whole" / "checkpoints" / f"step-{step}") == whole
