"""Where a study's commands run: on this machine, or through SLURM or Ray."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from lit_llm.signals_of_parent import WITH_PARENT


@dataclass(frozen=True)
class Job:
    """One command to run.

    Attributes:
        name: for a queue's listing.
        stage: the study's stage, whose resources it gets.
        words: the command, after ``lit-llm``.
        log: file its output is appended to.
        environment: variables to set beside those it inherits.
    """

    name: str
    stage: str
    words: list[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)


class Engine(Protocol):
    """Runs commands. ``slots`` is how many it takes at once."""

    slots: int

    def submit(self, job: Job) -> Future[int]:
        """Start a job, now or when there is room; its exit code."""

    def stop(self) -> None:
        """Ask all jobs to write a checkpoint and end."""

    def close(self) -> None:
        """Nothing more will be submitted."""


class Command:
    """A job's process. It can be called on another machine, and ends when its caller does."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.stopped = False
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> int:
        """Run it; its exit code, negative for a signal."""
        self.job.log.parent.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, **self.job.environment, WITH_PARENT: str(os.getpid())}
        with self.job.log.open("ab") as log:
            log.write(f"\n$ lit-llm {' '.join(self.job.words)}\n".encode())
            log.flush()
            if self.stopped:
                return -signal.SIGTERM
            self._process = subprocess.Popen(
                [sys.executable, "-m", "lit_llm", *self.job.words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the study, which passes it on once
            )
            if self.stopped:  # meanwhile, when there was no process to ask yet
                self.stop()
            try:
                return self._process.wait()
            except BaseException:
                self.stop()
                self._process.wait()
                raise

    def stop(self) -> None:
        """Ask it to write a checkpoint and end."""
        self.stopped = True
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()


def cores() -> int:
    """Processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class LocalEngine:
    """Processes on this machine, threads and GPUs shared out among them.

    Args:
        jobs: how many at once.
    """

    def __init__(self, jobs: int) -> None:
        self.slots = jobs
        self._pool = ThreadPoolExecutor(jobs)
        self._free = list(range(jobs))
        self._commands: set[Command] = set()
        self._stopped = False
        self._lock = threading.Lock()

    def submit(self, job: Job) -> Future[int]:
        """Start a job."""
        return self._pool.submit(self._run, job)

    def _run(self, job: Job) -> int:
        with self._lock:
            slot = self._free.pop(0)
        shared = {"OMP_NUM_THREADS": str(max(1, cores() // self.slots)), **_gpus(slot, self.slots)}
        given = {k: v for k, v in shared.items() if k not in os.environ or k[:4] == "CUDA"}
        command = Command(Job(**{**vars(job), "environment": {**given, **job.environment}}))
        try:
            with self._lock:
                command.stopped = self._stopped
                self._commands.add(command)
            return command()
        finally:
            with self._lock:
                self._commands.discard(command)
                self._free.append(slot)

    def stop(self) -> None:
        """Ask all jobs to write a checkpoint and end; a second time: end them at once."""
        with self._lock:
            self._stopped = True
            for command in self._commands:
                (command.kill if command.stopped else command.stop)()

    def close(self) -> None:
        """Nothing more will be submitted."""
        self._pool.shutdown()


def _gpus(slot: int, slots: int) -> dict[str, str]:
    """The GPUs of one of several places; nothing if there is one place or no GPU."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        found = sorted(Path("/dev").glob("nvidia[0-9]*"))
        names = [str(number) for number in range(len(found))]
    else:
        names = [name for name in visible.split(",") if name]
    if slots == 1 or not names:
        return {}
    return {"CUDA_VISIBLE_DEVICES": ",".join(names[slot::slots] or [names[slot % len(names)]])}
