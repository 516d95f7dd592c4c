"""What it costs a run to come to a score that is fixed beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lit_llm.study.columns import Column, Target

_KEYS = {"steps": "step", "tokens": "tokens", "seconds": "seconds"}


def target_score(target: Target, metric: str, runs: Sequence[Mapping[str, Any]]) -> float | None:
    """The score to reach: a part of the mean over runs of their best; None without runs.

    Args:
        target: which part, and what is better.
        metric: such as ``val/entity_f1``.
        runs: what ``results.json`` holds of each run of the row that is compared with.
    """
    best = max if target.mode == "max" else min
    tops = [best(scores) for scores in (_scores(run, metric) for run in runs) if scores]
    return target.part * sum(tops) / len(tops) if tops else None


def first_reached(
    target: Target, metric: str, score: float, run: Mapping[str, Any]
) -> float | None:
    """Steps, tokens or seconds up to the first evaluation that reaches the score; None if none.

    Args:
        target: the unit, and what is better.
        metric: such as ``val/entity_f1``.
        score: what is to be reached.
        run: what its ``results.json`` holds.
    """
    sign = 1 if target.mode == "max" else -1
    for found in run.get("evaluations", []):
        value = found.get(metric)
        if value is not None and sign * value >= sign * score:
            cost: float = found[_KEYS[target.unit]]
            return float(cost)
    return None


def has_scores(metric: str, run: Mapping[str, Any]) -> bool:
    """Whether a run was evaluated by the metric while it trained."""
    return bool(_scores(run, metric))


def in_words(column: Column, score: float, against: Sequence[str]) -> str:
    """What a column counts, a sentence."""
    assert column.target is not None
    return (
        f"{column.name}: {column.target.unit} of training up to the first evaluation with "
        f"{column.metric} at {score:.4f} or {'above' if column.target.mode == 'max' else 'below'}, "
        f"{column.target.part:g} of the mean best of {', '.join(against)}; a run that never gets "
        "there is censored, a median counts it as infinite."
    )


def _scores(run: Mapping[str, Any], metric: str) -> list[float]:
    values = [found.get(metric) for found in run.get("evaluations", [])]
    return [value for value in values if value is not None]
