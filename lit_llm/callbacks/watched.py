"""A logged metric that a callback acts on, and the step from which it may act."""

from __future__ import annotations

from lightning.pytorch import Trainer


def watched(trainer: Trainer, monitor: str, key: str) -> float:
    """The metric's value in this evaluation; that of the first rank on all of them.

    Args:
        trainer: has just evaluated.
        monitor: name of the metric.
        key: the setting that names it, for messages.

    Raises:
        ValueError: the metric was not logged; the message names those that were.
    """
    if monitor not in trainer.callback_metrics:
        known = ", ".join(sorted(trainer.callback_metrics))
        raise ValueError(f"{key}: {monitor!r} is not logged; there is {known}")
    value: float = trainer.strategy.broadcast(float(trainer.callback_metrics[monitor]))
    return value


def next_step(trainer: Trainer) -> int:
    """The first optimizer step of which no batch has been gone through yet."""
    return trainer.global_step + int(trainer.fit_loop._should_accumulate())


def evaluates_a_fit(trainer: Trainer) -> bool:
    """Whether this is a run's own evaluation, and no trial of it."""
    return trainer.state.fn == "fit" and not trainer.sanity_checking
