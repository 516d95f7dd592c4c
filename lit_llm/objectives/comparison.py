"""What a student is beside its teacher: size, speed, quality, agreement."""

from __future__ import annotations

import hashlib
import json
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn

from lit_llm.batch import PackedBatch
from lit_llm.durable import replace_text
from lit_llm.objectives.evaluation import Predictions
from lit_llm.objectives.layout import cut_short
from lit_llm.objectives.objective import Objective
from lit_llm.objectives.teacher import Teacher

COMPARISON_VERSION = 1
"""Raise by hand when the same teacher and data must give other figures."""

_LESS_IS_BETTER = frozenset({"loss", "perplexity", "bits_per_byte", "mse"})
_SINGLE, _PACKED = (5, 40), (1, 6)  # batches passed over first, and all of them
_SOME = 500  # examples that a teacher is timed on which reads them in its own way


def compared(
    student: Objective, teacher: Teacher, trainer: Any, results: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Figures of both, on this machine and in the run's precision.

    Args:
        student: as it was scored.
        teacher: scored here, unless its answers are known.
        trainer: of the run; each rank scores its share of the data.
        results: the student's figures of each split, as ``Objective.results`` has them.

    Returns:
        ``student`` and ``teacher``: ``parameters``; ``bytes`` of their weights; ``latency_ms`` of
        one example (median); ``tokens_per_second`` of packed rows. ``teacher`` also has ``sources``
        and ``metrics``. ``speedup``: of both speeds. ``retained``: the student's part of each
        metric of which more is better. ``agreement``: by split, the part of the units of which both
        say the same.
    """
    rank_zero_info("comparing the student with its teacher")
    device, last = trainer.strategy.root_device, [*results][-1]
    student.eval().to(device)
    teacher.to(device)
    facts: dict[str, Any] = {}
    for name, models, alike in (
        ("student", [student], True),
        ("teacher", teacher.models, teacher.reads_alike),
    ):
        facts[name] = {**_size(models), **_speed(models, alike, trainer, last)}
    ours, theirs = facts["student"], facts["teacher"]
    theirs |= {"sources": teacher.sources, "metrics": {}}
    facts["speedup"] = {
        "latency": theirs["latency_ms"] / ours["latency_ms"],
        "packed": ours["tokens_per_second"] / theirs["tokens_per_second"],
    }
    facts |= {"retained": {}, "agreement": {}}
    for split, result in results.items():
        scored = _scored(teacher, student, trainer, split)
        for name, value in scored["metrics"].items():
            theirs["metrics"][f"{split}/{name}"] = value
            if name in student.headline and name not in _LESS_IS_BETTER and value > 0:
                facts["retained"][f"{split}/{name}"] = result["metrics"][name] / value
        same = _agreement(_said(result["records"]), scored["said"])
        if same is not None:
            facts["agreement"][split] = same
    return facts


def _size(models: Sequence[Objective]) -> dict[str, int]:
    """Backbone and head of a model, or of several."""
    parts = [part for m in models for part in (m.backbone, m.head) if part is not None]
    weights = list(nn.ModuleList(parts).parameters())
    return {
        "parameters": sum(p.numel() for p in weights),
        "bytes": sum(p.numel() * p.element_size() for p in weights),
    }


@torch.no_grad()
def _speed(
    models: Sequence[Objective], reads_alike: bool, trainer: Any, split: str
) -> dict[str, float]:
    """Of a single example, and of packed rows; several models one after the other."""
    data, device = trainer.datamodule, trainer.strategy.root_device

    def batches(model: Objective, tokens_per_batch: int | None) -> Iterable[PackedBatch]:
        if reads_alike:
            return data.evaluation_loader(split, tokens_per_batch)  # type: ignore[no-any-return]
        examples = data.examples(split)
        some = [examples[i] for i in range(min(len(examples), _SOME))]
        return data.packed_reading(model.backbone, some, tokens_per_batch)  # type: ignore[no-any-return]

    def timed(
        model: Objective, tokens_per_batch: int | None, warm: int, most: int
    ) -> list[tuple[float, int]]:
        found = []
        for batch in islice(batches(model, tokens_per_batch), most):
            batch = batch.to(device)
            begun = _now(device)
            with trainer.precision_plugin.forward_context():
                model.terms(batch)
            found.append((_now(device) - begun, batch.num_tokens))
        return found[warm:] or found

    latency = seconds_per_token = 0.0
    for model in models:
        latency += statistics.median(seconds for seconds, _ in timed(model, 1, *_SINGLE))
        seconds, tokens = (
            sum(column) for column in zip(*timed(model, None, *_PACKED), strict=True)
        )
        seconds_per_token += seconds / tokens
    return {"latency_ms": 1000 * latency, "tokens_per_second": 1 / seconds_per_token}


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _scored(teacher: Teacher, student: Objective, trainer: Any, split: str) -> dict[str, Any]:
    """The teacher's metrics and what it said of a split; scored once for all students."""
    data = trainer.datamodule
    parts = [teacher.identity(), data.fingerprints[split], str(trainer.precision)]
    text = json.dumps([COMPARISON_VERSION, type(student).__name__, *parts], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:24]
    file: Path = data.cache_dir / f"teacher-{digest}.json"
    partial = cut_short(trainer, getattr(trainer, f"limit_{split}_batches"))
    known = None if partial or not file.exists() else json.loads(file.read_text(encoding="utf-8"))
    known = trainer.strategy.broadcast(known)
    if known is not None:
        return dict(known)
    with torch.no_grad(), trainer.precision_plugin.forward_context():
        if teacher.reads_alike:
            evaluation = teacher.evaluation(student, trainer)
            for batch in islice(data.evaluation_loader(split), _most(trainer, split)):
                evaluation.add(batch.to(trainer.strategy.root_device))
            result = evaluation.result(data, split, partial)
        else:
            scores_UC = teacher.unit_scores(data, data.examples(split))
            result = student.score(_predictions(student, scores_UC), data.examples(split))
    found = {"metrics": result["metrics"], "said": _said(result["records"])}
    if not partial and trainer.is_global_zero:
        replace_text(file, json.dumps(found))
    return found


def _predictions(student: Objective, scores_UC: Tensor) -> Predictions:
    """What was said of each unit, without a loss."""
    probabilities = student.probabilities(scores_UC).double().cpu().numpy()
    each = np.arange(len(probabilities))
    return Predictions(probabilities, np.ones_like(each), each, float("nan"))


def _most(trainer: Any, split: str) -> int:
    """Batches of a split that the run looks at."""
    batches = trainer.num_val_batches if split == "val" else trainer.num_test_batches
    return int(sum(batches))


def _said(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Each example's prediction: of tagged words a list, whose parts are compared one by one."""
    return {
        str(r["id"]): [r["prediction"]] if "words" not in r else r["prediction"] for r in records
    }


def _agreement(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> float | None:
    """The part of the units of which both say the same; None where numbers are predicted."""

    def pairs() -> Iterator[tuple[Any, Any]]:
        for name in ours.keys() & theirs.keys():
            yield from zip(ours[name], theirs[name], strict=True)

    found = [one == other for one, other in pairs() if not isinstance(one, float)]
    return sum(found) / len(found) if found else None
