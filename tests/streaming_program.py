"""What test_streaming.py asks of two ranks: ``python -m tests.streaming_program DIR PORT``."""

import multiprocessing
import os
import sys
from pathlib import Path

import torch

from tests.helpers import Gradients
from tests.test_streaming import train

RANKS = {"devices": 2, "strategy": "ddp"}


def results(directory, rank):
    """A run, the one that goes on from its third step, and the gradients of the first step."""
    model, place = str(directory / "model"), directory / f"rank{rank}"
    whole = train(directory / "whole", model, **RANKS)
    checkpoint = str(directory / "whole" / "checkpoints" / "step-3")
    resumed = train(directory / "resumed", model, checkpoint, **RANKS)
    gradients = Gradients()
    train(directory / "first", model, extra=[gradients], max_steps=1, **RANKS)
    found = {"whole": whole, "resumed": resumed, "gradients": gradients.last}
    torch.save(found, place.with_suffix(".pt"))


def run_rank(directory, rank, port):
    """One process, in the environment that a cluster would give it."""
    os.environ.update(
        LOCAL_RANK=str(rank), NODE_RANK="0", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    torch.set_num_threads(1)
    results(directory, rank)


if __name__ == "__main__":
    fork = multiprocessing.get_context("fork")
    ranks = [
        fork.Process(target=run_rank, args=(Path(sys.argv[1]), rank, sys.argv[2]))
        for rank in range(2)
    ]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    sys.exit(max(abs(process.exitcode or 0) for process in ranks))
