"""A run on a streamed corpus goes on from any of its checkpoints as if it had never stopped."""

import json
import os
import socket
import subprocess
import sys
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForPreTraining

from lit_llm.backbone.backbone import Backbone
from lit_llm.callbacks.checkpoints import Checkpoints
from lit_llm.checkpoint_io import STATE
from lit_llm.data.batch_config import BatchConfig
from lit_llm.data.corpus_source import CorpusSource
from lit_llm.data.masked_corpus import MaskedCorpus
from lit_llm.data.streaming import StreamingConfig
from lit_llm.objectives.masked_lm import MaskedLM
from lit_llm.optim import OptimizerConfig
from lit_llm.schedules import ScheduleConfig
from tests.helpers import Recorder, SeenItems, parameters_of, quick_trainer, save_tiny


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("bert"), AutoModelForPreTraining, ["x"], std=0.1)


def corpus(directory, block=7):
    texts = ["\n\n".join(f"w{i} w{j} w{i + j}" for j in range(1, 3 + i % 4)) for i in range(20)]
    for name, some in (("train", texts[4:]), ("val", texts[:4])):
        (directory / f"{name}.txt").write_text("\n---\n".join(some))
    train, val = (
        CorpusSource(str(directory / f"{name}.txt"), name, document_marker="---")
        for name in ("train", "val")
    )
    return MaskedCorpus(
        [train],
        validation_fraction=0.0,
        validation_sources=[val],
        streaming=StreamingConfig(documents_per_block=block, steps_per_epoch=3),
        max_length=24,
        batches=BatchConfig(tokens_per_batch=144, row_length=36, seed=1),
        cache_dir=str(directory / "cache"),
    )


def train(directory, source, resume=None, block=7, extra=(), **settings):
    """Seven steps of two batches, sentence order too: weights, losses, and the items of each."""
    directory.mkdir(exist_ok=True)
    torch.manual_seed(1)
    model = MaskedLM(
        Backbone(source),
        OptimizerConfig(lr=1e-2),
        ScheduleConfig("linear", warmup_fraction=0.3),
        sentence_objective="sop",
    )
    data, recorder = corpus(directory, block), Recorder()
    trainer = quick_trainer(
        directory,
        **{"max_epochs": -1, "max_steps": 7, "accumulate_grad_batches": 2, **settings},
        enable_checkpointing=True,
        logger=recorder,
        callbacks=[Checkpoints(every_n_steps=1, keep=None), SeenItems(), *extra],
    )
    trainer.fit(model, data, ckpt_path=resume, weights_only=True)
    seen = directory / f"seen-{trainer.global_rank}.jsonl"
    items = [json.loads(line)[1][1] for line in seen.read_text().splitlines()]
    return {
        "weights": parameters_of(model),
        "losses": recorder.values("train/loss"),
        "val": recorder.values("val/loss"),
        "items": items,
        "notices": data.notices["train"],
    }


def test_resumed_run_equals_the_uninterrupted_one_at_every_step(source, tmp_path):
    whole = train(tmp_path / "whole", source)
    assert len(whole["items"]) == 14
    assert len(whole["val"]) == 2  # after each epoch of three steps
    assert not list((tmp_path / "whole" / "cache").glob("block-*"))
    for step in (1, 3, 5):  # in an epoch, at its end
        checkpoint = tmp_path / "whole" / "checkpoints" / f"step-{step}"
        state = torch.load(checkpoint / STATE, weights_only=True)
        (loader,) = state["loops"]["fit_loop"]["state_dict"]["combined_loader"]
        assert (loader["epoch"], loader["position"]) == (step // 3, step % 3 * 2)
        resumed = train(tmp_path / f"from{step}", source, str(checkpoint))
        assert resumed["items"] == whole["items"][2 * step :], step
        assert resumed["losses"] == whole["losses"][step:]
        assert resumed["notices"] == whole["notices"]
        torch.testing.assert_close(resumed["weights"], whole["weights"], rtol=0, atol=0)


def test_a_longer_run_goes_on_where_the_shorter_one_ended(source, tmp_path):
    short = train(tmp_path / "short", source, max_steps=4)
    long = train(tmp_path / "long", source, max_steps=7)
    assert short["items"] == long["items"][:8]
    checkpoint = tmp_path / "short" / "checkpoints" / "step-4"
    assert train(tmp_path / "on", source, str(checkpoint))["items"] == long["items"][8:]


def test_blocks_of_another_size_are_another_run(source, tmp_path):
    train(tmp_path / "run", source, max_steps=1)
    checkpoint = tmp_path / "run" / "checkpoints" / "step-1"
    with pytest.raises(ValueError, match="another run's checkpoint: training data"):
        train(tmp_path / "other", source, str(checkpoint), block=8)


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    """The directory, and each rank's results of ``streaming_program``."""
    directory = tmp_path_factory.mktemp("ranks")
    save_tiny(directory / "model", AutoModelForPreTraining, ["x"], std=0.1)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-m", "tests.streaming_program", str(directory), port],
        cwd=root,
        env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return directory, [torch.load(directory / f"rank{r}.pt", weights_only=True) for r in range(2)]


@pytest.mark.ddp
def test_two_ranks_resume_with_documents_of_their_own(two_ranks):
    _, ranks = two_ranks
    for found in ranks:
        whole, resumed = found["whole"], found["resumed"]
        assert resumed["items"] == whole["items"][6:]
        torch.testing.assert_close(resumed["weights"], whole["weights"], rtol=0, atol=0)
    seen = [{i for batch in found["whole"]["items"] for i in batch} for found in ranks]
    assert not seen[0] & seen[1]
    first, second = (found["whole"]["weights"] for found in ranks)
    torch.testing.assert_close(first, second, rtol=0, atol=0)


@pytest.mark.ddp
def test_terms_on_two_ranks_are_divided_by_the_counts_of_both(two_ranks):
    """The first step's gradients are those of its four batches at once, by hand."""
    directory, ranks = two_ranks
    model = MaskedLM(Backbone(str(directory / "model")), sentence_objective="sop")
    model.build([])
    sums = {"masked": [0, 0], "sentence": [0, 0]}
    for rank in range(2):
        data = corpus(directory / "first")
        steps = {"max_epochs": -1, "max_steps": 7, "accumulate_grad_batches": 2}
        data.trainer = SimpleNamespace(
            lightning_module=model, global_rank=rank, world_size=2, **steps
        )
        data.setup("fit")
        for batch in islice(data.train_dataloader(), 2):
            for name, pair in model.terms(batch).items():
                sums[name] = [a + b for a, b in zip(sums[name], pair, strict=True)]
    (masked, sentence) = (total / count for total, count in sums.values())
    (masked + model.term_weights["sentence"] * sentence).backward()
    wanted = {name: p.grad for name, p in model.named_parameters()}
    for found in ranks:
        torch.testing.assert_close(found["gradients"], wanted, rtol=1e-4, atol=1e-6)
