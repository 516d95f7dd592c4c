"""What a teacher says of a whole training split, computed once and kept on disk."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lit_llm.batch import PackedBatch
from lit_llm.durable import flush
from lit_llm.losses.linear_top_k_targets import TopK
from lit_llm.objectives.kept_words import KeptWords, as_top_k
from lit_llm.objectives.teacher import Teacher, kept_path

CACHE_VERSION = 1
"""Raise by hand when the same inputs must give other scores."""

ITEMS_OF_A_SHARD = 2048
_WAIT_SECONDS = 0.2

Answers = dict[str, Tensor]
"""What is kept of each target, (M, ...), by name."""


def cached(
    teacher: Teacher, trainer: Any, device: torch.device, words: KeptWords | None = None
) -> TeacherCache:
    """What a teacher says of all training items, computed where nobody has done it yet.

    Args:
        teacher: already on ``device``.
        trainer: of the student's run; it says which data, and in which precision.
        device: where the teacher runs.
        words: what is kept of a vocabulary; without it, all scores of classes are.

    Raises:
        ValueError: items are served in no fixed form, or there are fewer words than are to be kept.
        OSError: a shard cannot be written.
    """
    data = trainer.datamodule
    parts = [teacher.identity(), data.fingerprints["train"], str(trainer.precision)]
    if not teacher.reads_alike:
        return _read_otherwise(teacher, trainer, parts)
    variants = data.num_variants()
    sizes = np.repeat(data.targets_of_items(), variants)
    if words is not None:
        parts += [asdict(words), data.variant_options()]
        words.announce(teacher.num_words, int(sizes.sum()))

    def answer(batch: PackedBatch) -> Answers:
        if words is None:
            return {"scores": teacher.logits(batch).to(torch.float16).cpu()}
        return words.of(teacher.scores(batch), len(batch.target("positions")))

    @torch.no_grad()
    def score(entries: range) -> Answers:
        with trainer.precision_plugin.forward_context():
            batches = data.packed_pass(entries)
            pairs = ((batch.item_ids.tolist(), answer(batch.to(device))) for batch in batches)
            return _in_order(pairs, sizes[entries.start : entries.stop])

    cache = TeacherCache(kept_path(data, [CACHE_VERSION, *parts]), sizes, score, variants)
    if words is not None:
        rank_zero_info(
            f"teacher: {words.top_k} of {teacher.num_words:,} words hold {cache.kept_mass:.3f} of "
            "the mass on average"
        )
    return cache


def _read_otherwise(teacher: Teacher, trainer: Any, parts: list[Any]) -> TeacherCache:
    """Scores of each text or word of all training examples, as the teacher reads them."""
    data = trainer.datamodule
    if getattr(data, "context", "none") != "none":
        raise ValueError(
            f"data.context: {data.context} is cut by each model in its own way, and the teacher "
            "reads otherwise than the student: set it to none, or give the student the teacher's "
            "tokenizer"
        )
    examples = data.examples("train")
    sizes = np.array([data.units_of(example) for example in examples], np.int64)
    tokenizers = [model.backbone.tokenizer_state() for model in teacher.models]
    directory = kept_path(data, [CACHE_VERSION, *parts, tokenizers])

    def score(entries: range) -> Answers:
        with trainer.precision_plugin.forward_context():
            scores = teacher.unit_scores(data, [examples[i] for i in entries])
        return {"scores": scores.to(torch.float16).cpu()}

    return TeacherCache(directory, sizes, score, by_unit=True)


class TeacherCache:
    """A teacher's answers at the targets of every training item, in half precision.

    Each shard is computed by whichever process comes first, ranks and other runs alike, and
    written whole or not at all: what was killed goes on where it was, and ends with the same bytes.
    Shards are memory-mapped.

    Args:
        directory: named after all that the answers depend on.
        num_targets: (E,), targets of each entry: of each item, in each of its fixed forms.
        score: of a range of entries, their answers, in the entries' order.
        variants: fixed forms of an item; a batch says which in ``mask_variants``.
        by_unit: an entry is an example, and a target one of its texts or words: what a batch's
            ``unit_ids`` name.

    Attributes:
        kept_mass: of a vocabulary's likeliest words, the mean of the mass that they hold over all
            targets; None for scores of classes.

    Raises:
        OSError: a shard cannot be written.
    """

    def __init__(
        self,
        directory: Path,
        num_targets: NDArray[np.int64],
        score: Callable[[range], Answers],
        variants: int = 1,
        by_unit: bool = False,
    ) -> None:
        self.directory, self._by_unit = directory, by_unit
        directory.mkdir(parents=True, exist_ok=True)
        self._ends, self._variants, self._size = np.cumsum(num_targets), variants, ITEMS_OF_A_SHARD
        count = len(num_targets)
        ranges = [
            range(start, min(start + self._size, count)) for start in range(0, count, self._size)
        ]
        files = {directory / f"{r.start:09d}.safetensors": r for r in ranges}
        missing = {file: items for file, items in files.items() if not self._is_whole(file, items)}
        if missing:
            rank_zero_info(
                f"teacher: scoring {sum(map(len, missing.values())):,} of {count:,} items, once"
            )
        self._complete(missing, score)
        self._shards = [load_file(file) for file in files]
        self.kept_mass = self._kept_mass()

    def logits(self, batch: PackedBatch) -> Tensor:
        """Scores of the batch's targets, (M, C)."""
        return self._of(batch)["scores"].to(batch.input_ids.device).float()

    def scores(self, batch: PackedBatch) -> TopK:
        """The likeliest words at the batch's targets."""
        return as_top_k(self._of(batch), batch.input_ids.device)

    def _of(self, batch: PackedBatch) -> Answers:
        """The answers at a batch's targets, which follow each other item by item."""
        if self._by_unit:
            places = [self._place_of_unit(unit) for unit in batch.target("unit_ids").tolist()]
        else:
            entries = batch.item_ids * self._variants
            if self._variants > 1:
                entries = entries + batch.target("mask_variants")
            places = [self._place(entry) for entry in entries.tolist()]
        first = self._shards[0]
        with torch.autocast("cpu", enabled=False):  # in bfloat16 it joins no halves
            return {
                name: torch.cat(
                    [first[name][:0], *(self._shards[shard][name][rows] for shard, rows in places)]
                )
                for name in first
            }

    def _place(self, entry: int) -> tuple[int, slice]:
        """An entry's shard, and its rows in it."""
        shard = entry // self._size
        before = self._start(shard * self._size)
        return shard, slice(self._start(entry) - before, int(self._ends[entry]) - before)

    def _place_of_unit(self, unit: int) -> tuple[int, slice]:
        """A text's or word's shard, and its row in it."""
        shard = int(np.searchsorted(self._ends, unit, "right")) // self._size
        row = unit - self._start(shard * self._size)
        return shard, slice(row, row + 1)

    def _start(self, entry: int) -> int:
        return int(self._ends[entry - 1]) if entry else 0

    def _kept_mass(self) -> float | None:
        if "log_rest" not in self._shards[0]:
            return None
        rest = sum(float(shard["log_rest"].double().exp().sum()) for shard in self._shards)
        return 1 - rest / max(int(self._ends[-1]), 1)

    def _is_whole(self, file: Path, items: range) -> bool:
        try:
            found = load_file(file)
        except (OSError, SafetensorError):
            return False
        rows = int(self._ends[items.stop - 1]) - self._start(items.start)
        return bool(found) and all(len(tensor) == rows for tensor in found.values())

    def _complete(self, missing: dict[Path, range], score: Callable[[range], Answers]) -> None:
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


def _in_order(pairs: Iterable[tuple[list[int], Answers]], sizes: NDArray[np.int64]) -> Answers:
    """Answers of batches of entries, as those of all entries one after the other.

    Args:
        pairs: of each batch its entries, counted from 0, and its answers.
        sizes: (E,), targets of each entry.
    """
    ends, found = np.cumsum(sizes), dict[str, Tensor]()
    for entries, answers in pairs:
        rows = np.concatenate([np.arange(ends[e] - sizes[e], ends[e]) for e in entries])
        for name, tensor in answers.items():
            if name not in found:
                found[name] = tensor.new_empty((int(ends[-1]), *tensor.shape[1:]))
            found[name][torch.from_numpy(rows)] = tensor
    return found


def _write(file: Path, answers: Answers) -> None:
    for leftover in file.parent.glob(f".{file.name}-*"):
        leftover.unlink()  # of a process that was killed: we hold its lock
    staging = file.with_name(f".{file.name}-{os.getpid()}")
    save_file({name: tensor.contiguous() for name, tensor in answers.items()}, staging)
    flush(staging)
    os.replace(staging, file)
    flush(file.parent)
