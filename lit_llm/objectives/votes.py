"""What one rank wants, settled for all ranks at no collective of its own."""

from __future__ import annotations

from collections.abc import Set

import torch
from torch import Tensor

from lit_llm.signals import StopSignals

REQUESTS = ("save", "end", *StopSignals.NAMES)
"""What a rank can ask of all ranks; it travels with the loss."""


def settle(
    requests: Set[str], sums: Tensor | None, world_size: int, device: torch.device
) -> tuple[frozenset[str], list[float]]:
    """Add up numbers over the ranks, and gather what any of them asks for.

    Every rank must call it as often as the others.

    Args:
        requests: of ``REQUESTS``, this rank's.
        sums: (n,), float64, on the device; None for no numbers.
        world_size: how many ranks there are.
        device: where ranks talk to each other.

    Returns:
        What some rank asked for, and the n sums over all ranks.
    """
    if sums is None and world_size == 1:
        return frozenset(requests), []
    asked = [float(name in requests) for name in REQUESTS]
    votes = torch.tensor(asked, dtype=torch.float64, device=device)
    votes = votes if sums is None else torch.cat([sums, votes])
    if world_size > 1:
        torch.distributed.all_reduce(votes)
    found: list[float] = votes.tolist()
    counts = found[-len(REQUESTS) :]
    return (
        frozenset(name for name, n in zip(REQUESTS, counts, strict=True) if n),
        found[: -len(REQUESTS)],
    )
