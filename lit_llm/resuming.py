"""Going on with a run: what may have changed, who may write, and what a cluster does meanwhile."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout
from lightning.pytorch.utilities import rank_zero_info

from lit_llm.ranks import is_first_process
from lit_llm.run_directory import LOCK
from lit_llm.secrets import MASK

CHANGEABLE = (
    "trainer.max_epochs",
    "trainer.max_steps",
    "trainer.max_time",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
    "trainer.default_root_dir",
    "trainer.log_every_n_steps",
    "trainer.enable_progress_bar",
    "trainer.profiler",
    "trainer.logger",
    "data.path",
    "data.unlabelled.path",
    "data.cache_dir",
    "data.batches.num_workers",
    "data.batches.eval_tokens_per_batch",
    "wandb",
)
"""Settings that may differ when a run is resumed."""

CHANGEABLE_CALLBACKS = (
    "lit_llm.callbacks.checkpoints.Checkpoints",
    "lit_llm.callbacks.early_stopping.EarlyStopping",
    "lit_llm.callbacks.budget.Budget",
)
"""Callbacks whose settings may differ too: when to save, and when to end."""

PARENT = "LIT_LLM_PARENT"
"""Environment variable: the process that starts the other ranks, where none did from outside."""

LOCK_SECONDS = 15  # loader workers hold a killed process's lock for a few seconds


def check_changes(run_dir: Path, config: Mapping[str, Any]) -> None:
    """Compare a configuration with that of the run it goes on with; say what differs.

    Raises:
        ValueError: a setting differs that must not; the message names all of them.
    """
    text = (run_dir / "config.yaml").read_text(encoding="utf-8")
    before, now = _flat(yaml.safe_load(text)), _flat(config)
    if hidden := sorted(key for key, value in now.items() if MASK in str(value)):
        raise ValueError(
            f"--resume {run_dir}: secrets are not written down, so give again: {', '.join(hidden)}"
        )
    changed = {
        key
        for key, value in before.items()
        if (key not in now or now[key] != value) and MASK not in str(value)
    }
    said = [f"{key} {before.get(key)!r} -> {now.get(key)!r}" for key in sorted(changed)]
    refused = [line for key, line in zip(sorted(changed), said, strict=True) if not _may(key, now)]
    if refused:
        raise ValueError(
            f"--resume {run_dir}: a resumed run keeps its settings, and these differ: "
            f"{'; '.join(refused)}. These may: {', '.join(CHANGEABLE)}. For others start a new run"
        )
    if said:
        rank_zero_info(f"changed since the run began: {'; '.join(said)}")


def _flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted keys as they are typed on the command line; lists by length and position."""
    flat: dict[str, Any] = {}
    if isinstance(config, list):
        flat[f"{prefix}.length"] = len(config)
        config = dict(enumerate(config))
    for key, value in config.items():
        name = prefix if key == "init_args" else f"{prefix}.{key}".lstrip(".")
        if isinstance(value, Mapping | list) and value:
            flat |= _flat(value, name)
        else:
            flat[name] = value
    return flat


def _may(key: str, flat: Mapping[str, Any]) -> bool:
    if any(key == name or key.startswith(f"{name}.") for name in CHANGEABLE):
        return True
    callback = re.match(r"trainer\.callbacks\.\d+", key)
    return callback is not None and flat.get(f"{callback[0]}.class_path") in CHANGEABLE_CALLBACKS


@contextmanager
def only_process(run_dir: Path) -> Iterator[None]:
    """Let one process at a time train in a directory; its other ranks are let through.

    Raises:
        ValueError: another one does.
    """
    if not is_first_process():
        yield
        return
    lock = FileLock(run_dir / LOCK, timeout=LOCK_SECONDS)
    try:
        with lock:
            yield
    except Timeout:
        raise ValueError(f"{run_dir}: another process is training there") from None


def requeued_run(run_dir: str | None) -> str | None:
    """The run that SLURM starts again with the words it was started with."""
    again = int(os.environ.get("SLURM_RESTART_COUNT", "0")) > 0
    return run_dir if again and run_dir and (Path(run_dir) / "config.yaml").exists() else None


def requeue() -> None:
    """Ask SLURM, if this is one of its jobs, to start the interrupted job again."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None or not is_first_process():
        return
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        rank_zero_info(f"job {job} was not requeued: {error}")


def leave_after_parent(seconds: float = 30.0) -> None:
    """Let the process that started this rank end first: it is killed when a rank fails."""
    parent = int(os.environ.get(PARENT, "0"))
    deadline = time.monotonic() + seconds
    while os.getppid() == parent and time.monotonic() < deadline:
        time.sleep(0.05)
