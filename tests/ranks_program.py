"""What test_two_ranks.py compares: the same work done by worlds of different size.

``python -m tests.ranks_program DIR 1 2 3`` makes ``DIR/world1-rank0.pt`` and so on. The ranks are
forked, so that the imports, most of the time, are paid for once.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback

from lit_llm.backbone.backbone import Backbone
from lit_llm.batch import PackedBatch
from lit_llm.data.batch_config import BatchConfig
from lit_llm.objectives.causal_lm import CausalLM
from lit_llm.objectives.masked_lm import MaskedLM
from lit_llm.objectives.sequence_classification import SequenceClassification
from lit_llm.objectives.token_classification import TokenClassification
from lit_llm.optim import OptimizerConfig
from tests.helpers import (
    CONSTANT,
    TAGS,
    Gradients,
    Recorder,
    Sentences,
    Texts,
    parameters_of,
    quick_trainer,
    sentences,
    texts,
)
from tests.references.language_corpus import language_corpus

LABELS = ["bad", "good"]
LANGUAGE = ["causal", "none", "sop"]
# One row of 128 tokens a batch, two long sentences a row: nine examples make five batches.
ONE_ROW = BatchConfig(eval_tokens_per_batch=128)
# Read in one to five windows each, which lie on different ranks.
TEXT_LENGTHS = [60, 3, 35, 12, 70, 8, 20, 50, 1]


def results(directory: Path, world_size: int) -> dict[str, Any]:
    """Two optimizer steps, and the evaluation of 1 to 9 examples by both objectives."""
    torch.set_num_threads(1)
    settings = {"devices": world_size, "strategy": "ddp" if world_size > 1 else "auto"}
    evaluations = {}
    words = TokenClassification(Backbone(str(directory / "token")))
    reviews = SequenceClassification(Backbone(str(directory / "text")))
    for n in range(1, 10):
        tagged = Sentences(max_length=64, batches=ONE_ROW, test=sentences([25] * n))
        labels = (LABELS * 5)[:n]
        labelled = Texts("windows", 40, ONE_ROW, test=texts(TEXT_LENGTHS[:n], labels))
        for kind, model, data, names in (
            ("token", words, tagged, TAGS),
            ("text", reviews, labelled, LABELS),
        ):
            data.label_names = names
            trainer = quick_trainer(directory, **settings)
            trainer.test(model, data, verbose=False)
            logged = {name: value.item() for name, value in trainer.callback_metrics.items()}
            found = model.results["test"]
            evaluations[kind, n] = (found["metrics"], found["records"], logged, found["tables"])
    language = {task: train_language(directory, task, settings) for task in LANGUAGE}
    return {
        "training": train(directory, settings),
        "evaluations": evaluations,
        "language": language,
    }


def train_language(directory: Path, task: str, settings: dict[str, Any]) -> dict[str, Any]:
    """An epoch of a language model, four rows a batch: what is asked of whom, and what it gives."""
    sgd = OptimizerConfig("sgd", lr=0.1)
    if task == "causal":
        model: Any = CausalLM(Backbone(str(directory / "causal")), sgd, CONSTANT)
    else:
        backbone = Backbone(str(directory / "masked"))
        model = MaskedLM(backbone, sgd, CONSTANT, sentence_objective=task)
    recorder, targets = Recorder(), Targets()
    trainer = quick_trainer(
        directory, max_epochs=1, logger=recorder, callbacks=[targets], **settings
    )
    trainer.fit(model, language_corpus(directory, task))
    return {
        "targets": targets.found,
        "parameters": parameters_of(model),
        "losses": recorder.values("train/loss"),
        "scores": model.results["val"]["metrics"],
    }


class Targets(Callback):
    """For each batch and item: which of its tokens are scored, and what stands in the item."""

    def __init__(self) -> None:
        self.found: dict[tuple[int, int], tuple[list[int], list[int]]] = {}

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: PackedBatch, batch_idx: int
    ) -> None:
        flat, at = batch.input_ids.flatten(), batch.targets["positions"]
        for item, start, length in zip(
            batch.item_ids.tolist(),
            batch.segment_starts.tolist(),
            batch.segment_lengths.tolist(),
            strict=True,
        ):
            inside = at[(at >= start) & (at < start + length)] - start
            tokens = flat[start : start + length].tolist()
            self.found[batch_idx, item] = (inside.tolist(), tokens)


def train(directory: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Batches of 2, 2 and 1 sentences of 1 to 14 words, two batches to a step."""
    # Neither Adam nor clipping, which would both hide a wrong factor on the gradients.
    sgd = OptimizerConfig("sgd", lr=0.1)
    model = TokenClassification(Backbone(str(directory / "token")), sgd, CONSTANT)
    data = Sentences(
        train=sentences([3, 9, 1, 14, 6]), batches=BatchConfig(examples_per_batch=2, seed=0)
    )
    data.label_names = TAGS
    recorder, gradients = Recorder(), Gradients()
    trainer = quick_trainer(
        directory,
        max_epochs=1,
        accumulate_grad_batches=2,
        logger=recorder,
        callbacks=[gradients],
        **settings,
    )
    trainer.fit(model, data)
    return {
        "parameters": parameters_of(model),
        "gradients": gradients.last,
        "steps": trainer.global_step,
        "losses": recorder.values("train/loss"),
    }


Work = Callable[[Path, int], Any]
"""What every rank of a world does: of a directory and the world's size."""


def run_rank(work: Work, directory: Path, world_size: int, rank: int, port: int) -> None:
    """One process of a world, in the environment that a cluster would give it."""
    os.environ.update(
        LOCAL_RANK=str(rank), NODE_RANK="0", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    os.environ["LIT_LLM_CACHE"] = str(directory / f"cache{world_size}")
    torch.save(work(directory, world_size), directory / f"world{world_size}-rank{rank}.pt")


def run_world(work: Work, directory: Path, world_size: int) -> bool:
    """Whether all ranks came through."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    fork = multiprocessing.get_context("fork")
    ranks = [
        fork.Process(target=run_rank, args=(work, directory, world_size, rank, port))
        for rank in range(world_size)
    ]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    return all(process.exitcode == 0 for process in ranks)


def main(work: Work) -> None:
    """Read ``DIR WORLD_SIZE ...`` from the command line, and do it."""
    where, worlds = Path(sys.argv[1]), [int(word) for word in sys.argv[2:]]
    sys.exit(0 if all(run_world(work, where, world_size) for world_size in worlds) else 1)


if __name__ == "__main__":
    main(results)
