"""One system measured once: ``python -m experiments.distillation_speed.one JSON OUT_JSON``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch

from experiments.distillation_speed.settings import TRAINERS, Settings
from experiments.speed.one import environment


def main() -> None:
    settings = Settings(**json.loads(sys.argv[1]))
    if settings.threads:
        torch.set_num_threads(settings.threads)
    before = environment(settings.of_student().device)
    # Only the measured system is imported: the other's modules would count as its memory.
    if settings.system in TRAINERS:
        from experiments.distillation_speed.hugging_face import measure
    else:
        from experiments.distillation_speed.ours import measure
    row = {**asdict(settings), **before, **measure(settings)}
    Path(sys.argv[2]).write_text(json.dumps(row), encoding="utf-8")


if __name__ == "__main__":
    main()
