"""Where a run's numbers go: a CSV file we own, and Weights & Biases."""

from __future__ import annotations

import csv
import inspect
import io
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from lit_llm.durable import replace_text
from lit_llm.ranks import is_first_process
from lit_llm.secrets import redacted


class MetricsCSV(Logger):
    """One row per logged step in ``metrics.csv``: ``step``, then every metric seen so far.

    A resumed run drops the rows past its checkpoint and appends, so each step stands once.

    Args:
        path: the file; an existing one is continued.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._rows: dict[int, dict[str, Any]] = {}
        self._columns: list[str] = ["step"]
        self._open_step: int | None = None
        self._new_columns = True
        self._on_disk: set[int] = set()
        if self.path.exists():
            with self.path.open(newline="") as file:
                reader = csv.DictReader(file)
                self._columns = list(reader.fieldnames or ["step"])
                whole = (row for row in reader if None not in row.values())  # not cut by a crash
                self._rows = {int(row["step"]): dict(row) for row in whole}

    @property
    def name(self) -> str:
        """The file's stem."""
        return self.path.stem

    @property
    def version(self) -> str:
        """Always empty: the run directory is the version."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run directory."""
        return str(self.path.parent)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: ``config.yaml`` is the record."""

    def truncate(self, step: int) -> None:
        """Forget the rows after ``step``, the checkpoint a run goes on from."""
        self._rows = {k: row for k, row in self._rows.items() if k <= step}
        self._rewrite()

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add values to the row of ``step``; the row is written when the next one begins."""
        key = int(step or 0)
        if key != self._open_step:
            self.save()
            self._open_step = key
        self._new_columns |= any(name not in self._columns for name in metrics)
        self._columns += [name for name in metrics if name not in self._columns]
        self._rows.setdefault(key, {"step": key}).update(metrics)

    @rank_zero_only
    def save(self) -> None:
        """Write the open row: appended, or the whole file anew when it has a new column."""
        if self._open_step is None:
            return
        last = max(self._rows)
        if self._new_columns or self._open_step in self._on_disk or self._open_step != last:
            self._rewrite()
        else:
            with self.path.open("a", newline="") as file:
                csv.DictWriter(file, self._columns).writerow(self._rows[self._open_step])
                file.flush()
                os.fsync(file.fileno())
            self._on_disk.add(self._open_step)
        self._open_step = None

    def finalize(self, status: str) -> None:
        """Write what is left."""
        self.save()

    def _rewrite(self) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self._columns)
        writer.writeheader()
        writer.writerows(self._rows[key] for key in sorted(self._rows))
        replace_text(self.path, text.getvalue())
        self._on_disk = set(self._rows)
        self._new_columns = False


@dataclass(frozen=True)
class WandbConfig:
    """Weights & Biases.

    Attributes:
        mode: ``auto`` is online when you are logged in, otherwise offline in the run directory;
            ``WANDB_MODE`` in the environment goes before this.
        project: its name there.
        group: runs that belong together.
        tags: free words.
    """

    mode: str = "auto"
    project: str = "lit_llm"
    group: str | None = None
    tags: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.mode not in ("auto", "online", "offline", "disabled"):
            raise ValueError(f"wandb.mode is auto, online, offline or disabled, not {self.mode!r}")


def wandb_mode(config: WandbConfig) -> str:
    """The mode in force; never asks anybody anything."""
    mode = os.environ.get("WANDB_MODE") or config.mode
    if mode != "auto":
        return mode
    return "online" if _logged_in() else "offline"


def _logged_in() -> bool:
    import wandb

    if "prompt" in inspect.signature(wandb.login).parameters:  # newer ones warn of ``wandb.api``
        # Whether there is a key, not whether the server knows it: a node may have no network.
        return bool(wandb.login(prompt=False, verify=False))
    return bool(wandb.api.api_key)


def wandb_logger(
    config: WandbConfig, run_dir: Path, hyper_parameters: dict[str, Any]
) -> WandbLogger | None:
    """The logger, with the resolved configuration logged once; None when disabled.

    A resumed run goes on in the same W&B run: its id is kept in ``wandb/id``.

    Secrets do not get there: what we hand over is redacted, and W&B is told not to look at the
    command line, the console, the source tree or its remote by itself.
    """
    mode = wandb_mode(config)
    if mode == "disabled":
        return None
    import wandb

    silent = wandb.Settings(
        mode=mode,  # WANDB_MODE, which Lightning sets, is too late once W&B was asked for a key
        x_disable_meta=True,
        x_save_requirements=False,
        console="off",
        disable_git=True,
        disable_code=True,
        save_code=False,
    )
    shown = {
        "name": os.environ.get("WANDB_NAME") or run_dir.name,
        "id": _wandb_id(run_dir) if is_first_process() else None,
        "project": config.project,
        "group": config.group,
        "tags": config.tags or None,
        "config": hyper_parameters,
    }
    return WandbLogger(
        save_dir=run_dir, offline=mode == "offline", settings=silent, **redacted(shown)
    )


def _wandb_id(run_dir: Path) -> str:
    path = run_dir / "wandb" / "id"
    if not path.exists() or not path.read_text():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(uuid.uuid4().hex[:12])
    return path.read_text()
