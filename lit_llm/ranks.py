"""Which of a run's processes this is, before torch.distributed knows."""

from __future__ import annotations

import os

_NAMES = ("RANK", "SLURM_PROCID", "LOCAL_RANK")


def is_first_process() -> bool:
    """Whether this process writes the run directory: rank 0 of torchrun, SLURM or Lightning."""
    rank = next((os.environ[name] for name in _NAMES if name in os.environ), "0")
    return rank == "0" and ("RANK" in os.environ or os.environ.get("NODE_RANK", "0") == "0")
