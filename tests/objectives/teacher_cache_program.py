"""What test_teacher_cache.py starts, kills and starts again: a cache of slow scores."""

import sys
import time
from pathlib import Path

import numpy as np
import torch

from lit_llm.objectives import teacher_cache

SIZES = np.random.default_rng(0).integers(0, 6, 60)


def build(directory: Path, seconds: float = 0.0) -> list[int]:
    """Fill the cache; which shards this process computed."""
    teacher_cache.ITEMS_OF_A_SHARD = 4
    done = []

    def score(items: range) -> dict[str, torch.Tensor]:
        time.sleep(seconds)
        done.append(items.start)
        generator = torch.Generator().manual_seed(items.start)
        rows = int(SIZES[items.start : items.stop].sum())
        return {"scores": torch.randn(rows, 3, generator=generator).half()}

    teacher_cache.TeacherCache(directory, SIZES, score)
    return done


if __name__ == "__main__":
    print("begins", flush=True)
    print(len(build(Path(sys.argv[1]), float(sys.argv[2]))), flush=True)
