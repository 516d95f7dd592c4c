from types import SimpleNamespace

import pytest

from lit_llm.batch import PackedBatch
from lit_llm.callbacks.throughput import Throughput


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
