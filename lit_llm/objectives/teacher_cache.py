"""A teacher's scores of a whole training split, computed once and kept on disk."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from lightning.pytorch.utilities import rank_zero_info
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lit_llm.batch import PackedBatch
from lit_llm.durable import flush
from lit_llm.losses.linear_soft_targets import Scores
from lit_llm.objectives.teacher import Teacher

CACHE_VERSION = 1
"""Raise by hand when the same inputs must give other scores."""

ITEMS_OF_A_SHARD = 2048
_WAIT_SECONDS = 0.2


def cached(teacher: Teacher, trainer: Any, device: torch.device) -> TeacherCache:
    """What a teacher says of all training items, computed where nobody has done it yet.

    Args:
        teacher: already on ``device``; of classes.
        trainer: of the student's run; it says which data, and in which precision.
        device: where the teacher runs.
    """
    data = trainer.datamodule
    parts = [teacher.identity(), data.fingerprints["train"], str(trainer.precision)]
    text = json.dumps([CACHE_VERSION, *parts], sort_keys=True)
    directory = data.cache_dir / f"teacher-{hashlib.sha256(text.encode()).hexdigest()[:24]}"
    sizes = data.targets_of_items()

    def score(items: range) -> Tensor:
        found: dict[int, Tensor] = {}
        with trainer.precision_plugin.forward_context():
            for batch in data.packed_pass(items):
                scores = teacher.logits(batch.to(device)).cpu()
                ids = batch.item_ids.tolist()
                each = torch.split(scores, sizes[items.start :][ids].tolist())  # type: ignore[no-untyped-call]
                found |= dict(zip(ids, each, strict=True))
        return torch.cat([found[item] for item in range(len(items))])

    return TeacherCache(directory, sizes, score)


class TeacherCache:
    """Scores of classes at the targets of every training item, in half precision.

    Each shard is computed by whichever process comes first, ranks and other runs alike, and
    written whole or not at all: what was killed goes on where it was, and ends with the same bytes.

    Args:
        directory: named after all that the scores depend on.
        num_targets: (B,), targets of each item.
        score: of a range of items, their scores (targets, C), in the items' order.

    Raises:
        OSError: a shard cannot be written.
    """

    def __init__(
        self, directory: Path, num_targets: np.ndarray[Any, Any], score: Callable[[range], Tensor]
    ) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._ends = np.cumsum(num_targets)
        count = len(num_targets)
        ranges = [
            range(start, min(start + ITEMS_OF_A_SHARD, count))
            for start in range(0, count, ITEMS_OF_A_SHARD)
        ]
        files = {directory / f"{r.start:09d}.safetensors": r for r in ranges}
        missing = {file: items for file, items in files.items() if not self._is_whole(file, items)}
        if missing:
            rank_zero_info(
                f"teacher: scoring {sum(map(len, missing.values())):,} of {count:,} items, once"
            )
        self._complete(missing, score)
        with torch.autocast("cpu", enabled=False):  # a CPU's does not know half precision
            self._scores = torch.cat([load_file(file)["scores"] for file in files])

    def logits(self, batch: PackedBatch) -> Tensor:
        """Scores of the batch's targets, (M, C)."""
        items = batch.item_ids.cpu().numpy()
        ends = self._ends[items]
        starts = np.where(items > 0, self._ends[items - 1], 0)
        rows = np.concatenate([np.arange(a, b) for a, b in zip(starts, ends, strict=True)])
        return self._scores[rows].to(batch.input_ids.device).float()

    def scores(self, batch: PackedBatch) -> Scores:
        """Not of vocabularies."""
        raise NotImplementedError

    def _is_whole(self, file: Path, items: range) -> bool:
        try:
            found = load_file(file)["scores"]
        except (OSError, SafetensorError, KeyError):
            return False
        return len(found) == self._num_rows(items)

    def _num_rows(self, items: range) -> int:
        before = self._ends[items.start - 1] if items.start else 0
        return int(self._ends[items.stop - 1] - before)

    def _complete(self, missing: dict[Path, range], score: Callable[[range], Tensor]) -> None:
        """Compute what nobody else is at, until nothing is missing."""
        while missing:
            before = len(missing)
            for file, items in list(missing.items()):
                try:
                    with FileLock(f"{file}.lock", timeout=0):
                        if not self._is_whole(file, items):
                            _write(file, score(items))
                except Timeout:  # somebody else is
                    continue
                del missing[file]
            if len(missing) == before:
                time.sleep(_WAIT_SECONDS)


def _write(file: Path, scores: Tensor) -> None:
    for leftover in file.parent.glob(f".{file.name}-*"):
        leftover.unlink()  # of a process that was killed: we hold its lock
    staging = file.with_name(f".{file.name}-{os.getpid()}")
    save_file({"scores": scores.to(torch.float16).contiguous()}, staging)
    flush(staging)
    os.replace(staging, file)
    flush(file.parent)
