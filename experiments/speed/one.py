"""One system measured once: ``python -m experiments.speed.one SETTINGS_JSON OUT_JSON``."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from experiments.speed.settings import Settings

PACKAGES = ("torch", "transformers", "accelerate", "lightning")


def environment(device: str) -> dict[str, Any]:
    """What else the figures depend on."""
    name = torch.cuda.get_device_name() if device == "cuda" else _cpu_name()
    return {
        "device_name": name,
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0],
        "versions": {package: version(package) for package in PACKAGES},
    }


def _cpu_name() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else "unknown"


def main() -> None:
    settings = Settings(**json.loads(sys.argv[1]))
    if settings.threads:
        torch.set_num_threads(settings.threads)
    before = environment(settings.device)
    # Only the measured system is imported: the other's modules would count as its memory.
    if settings.system.startswith("ours"):
        from experiments.speed.ours import measure
    else:
        from experiments.speed.hugging_face import measure
    row = {**asdict(settings), **before, **measure(settings)}
    Path(sys.argv[2]).write_text(json.dumps(row), encoding="utf-8")


if __name__ == "__main__":
    main()
