"""What a student is beside its teacher: size, speed, quality, agreement."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info

from lit_llm.batch import PackedBatch
from lit_llm.durable import replace_text
from lit_llm.objectives.evaluation import Predictions
from lit_llm.objectives.layout import cut_short
from lit_llm.objectives.objective import Objective
from lit_llm.objectives.teacher import Teacher, kept_path, settings_of

COMPARISON_VERSION = 1
"""Raise by hand when the same teacher and data must give other figures."""

_LESS_IS_BETTER = frozenset({"loss", "perplexity", "bits_per_byte", "mse"})
_SOME = 200  # examples that a teacher is timed on which reads them in its own way


def compared(
    student: Objective, teacher: Teacher, trainer: Any, results: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Figures of both, on this machine and in the run's precision.

    Args:
        student: as it was scored.
        teacher: scored here, unless its answers are known.
        trainer: of the run; its first process measures time alone.
        results: the student's figures of each split, as ``Objective.results`` has them.

    Returns:
        ``student`` and ``teacher``: ``parameters``; ``bytes`` of their weights; ``latency_ms`` of
        one example (median); ``tokens_per_second`` of packed rows. ``teacher`` also has ``sources``
        and ``metrics``, which several language models have not. ``speedup``: of both speeds.
        ``retained``: the student's part of each metric of which more is better. ``agreement``: by
        split, the part of the units of which both say the same.
    """
    rank_zero_info("comparing the student with its teacher")
    device = trainer.strategy.root_device
    student.eval().to(device)
    for model in teacher.models:
        trainer.precision_plugin.convert_module(model)
    teacher.to(device)
    facts = _sizes_and_speeds(student, teacher, trainer, [*results][-1])
    facts |= {"retained": {}, "agreement": {}}
    identity = teacher.identity()  # reads every weight: once for all splits
    for split, result in results.items():
        scored = _scored(teacher, identity, student, trainer, split, result["records"])
        for name, value in scored["metrics"].items():
            facts["teacher"]["metrics"][f"{split}/{name}"] = value
            known = name in student.headline and name in result["metrics"]
            if known and name not in _LESS_IS_BETTER and value > 0:
                facts["retained"][f"{split}/{name}"] = result["metrics"][name] / value
        same = _agreement(_said(result["records"]), scored["said"])
        if same is not None:
            facts["agreement"][split] = same
    return facts


def _sizes_and_speeds(
    student: Objective, teacher: Teacher, trainer: Any, split: str
) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if trainer.is_global_zero:
        ours = {**_size([student]), **_speed([student], True, trainer, split)}
        theirs = {
            **_size(teacher.models),
            **_speed(teacher.models, teacher.reads_alike, trainer, split),
        }
        facts = {"student": ours, "teacher": {**theirs, "sources": teacher.sources, "metrics": {}}}
        facts["speedup"] = {
            "latency": theirs["latency_ms"] / ours["latency_ms"],
            "packed": ours["tokens_per_second"] / theirs["tokens_per_second"],
        }
    return dict(trainer.strategy.broadcast(facts))


def _size(models: Sequence[Objective]) -> dict[str, int]:
    """Backbone and head of a model, or of several."""
    weights = [parameter for model in models for parameter in model.kept_parameters()]
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

    def batches(model: Objective, single: bool) -> Iterable[PackedBatch]:
        if reads_alike:
            return data.timing_pass(split, single)  # type: ignore[no-any-return]
        examples = data.examples(split)
        places = np.linspace(0, len(examples) - 1, min(len(examples), _SOME)).astype(int)
        some = [examples[i] for i in places.tolist()]
        return data.packed_reading(model.backbone, some, single)  # type: ignore[no-any-return]

    def timed(model: Objective, single: bool) -> list[tuple[float, int]]:
        found = []
        for batch in batches(model, single):
            batch = batch.to(device)
            begun = _now(device)
            with trainer.precision_plugin.forward_context():
                model.terms(batch)
            found.append((_now(device) - begun, batch.num_tokens))
        warm = 5 if single else 1
        return found[warm:] or found

    latency = seconds_per_token = 0.0
    for model in models:
        latency += statistics.median(seconds for seconds, _ in timed(model, single=True))
        packed = timed(model, single=False)
        seconds_per_token += sum(s for s, _ in packed) / sum(tokens for _, tokens in packed)
    return {"latency_ms": 1000 * latency, "tokens_per_second": 1 / seconds_per_token}


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _scored(
    teacher: Teacher,
    identity: Any,
    student: Objective,
    trainer: Any,
    split: str,
    records: Sequence[Any],
) -> dict[str, Any]:
    """The teacher's metrics and what it said of a split; scored once for all students."""
    data = trainer.datamodule
    if len(teacher.models) > 1 and not student.label_names:
        return {"metrics": {}, "said": {}}
    parts = [COMPARISON_VERSION, identity, data.fingerprints[split]]
    parts += [str(trainer.precision), data.variant_options()]
    parts += [type(student).__name__, settings_of(student)]
    file = kept_path(data, parts, ".json")
    partial = cut_short(trainer, getattr(trainer, f"limit_{split}_batches"))
    known = None if partial or not file.exists() else json.loads(file.read_text(encoding="utf-8"))
    known = trainer.strategy.broadcast(known)
    if known is not None:
        return dict(known)
    with torch.no_grad(), trainer.precision_plugin.forward_context():
        if teacher.reads_alike:
            evaluation = teacher.evaluation(student, trainer)
            loop = trainer.validate_loop if split == "val" else trainer.test_loop
            for batch in islice(data.evaluation_loader(split), int(sum(loop.max_batches))):
                evaluation.add(batch.to(trainer.strategy.root_device))
            result = evaluation.result(data, split, partial)
        else:
            result = _scored_otherwise(teacher, student, trainer, split, records)
    found = {"metrics": result["metrics"], "said": _said(result["records"])}
    if not partial and trainer.is_global_zero:
        replace_text(file, json.dumps(found))
    return found


def _scored_otherwise(
    teacher: Teacher, student: Objective, trainer: Any, split: str, records: Sequence[Any]
) -> dict[str, Any]:
    """Of a teacher that reads otherwise: the examples that the student was scored on, no loss.

    The first process does it for all.
    """
    data, result = trainer.datamodule, None
    if trainer.is_global_zero:
        scored = {record["id"] for record in records}
        examples = [example for example in data.examples(split) if example["id"] in scored]
        found = teacher.unit_probabilities(data, examples, student).double().cpu().numpy()
        each = np.arange(len(found))
        predictions = Predictions(found, np.ones_like(each), each, float("nan"))
        result = student.score(predictions, examples)
    return dict(trainer.strategy.broadcast(result))


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
