"""SLURM jobs, through submitit; its local executor runs the same without a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from lit_llm.study.engines import Command, Job

_DAY_MINUTES = 24 * 60


class SubmititCommand(Command):
    """A command that SLURM may preempt: it writes its checkpoint and is queued again."""

    def checkpoint(self) -> Any:
        """What submitit asks for before the time limit or a preemption."""
        from submitit.helpers import DelayedSubmission

        self.stop()
        if self._process is not None:
            self._process.wait()
        return DelayedSubmission(SubmititCommand(self.job))

    def __getstate__(self) -> dict[str, Any]:
        return {"job": self.job, "stopped": False, "_process": None}


class SubmititEngine:
    """Jobs of a cluster.

    Args:
        jobs: how many at once, queued ones included.
        folder: where submitit keeps its scripts and logs.
        resources: submitit's parameters (``timeout_min``, ``gpus_per_node``, ``slurm_partition``,
            ...) for each stage, ``default`` for the others.
        cluster: ``slurm``, or ``local`` for processes of this machine.

    Raises:
        ValueError: submitit is not installed, finds no SLURM, or does not take a parameter.
    """

    def __init__(
        self,
        jobs: int,
        folder: Path,
        resources: Mapping[str, Mapping[str, Any]],
        cluster: str = "slurm",
    ) -> None:
        try:
            import submitit
        except ImportError:
            raise ValueError("--on slurm needs submitit: pip install 'lit_llm[slurm]'") from None
        self.slots = jobs
        self._pool = ThreadPoolExecutor(jobs)
        self._jobs: set[Any] = set()
        self._resources = resources
        self._make = partial(submitit.AutoExecutor, folder=folder, cluster=cluster)
        for stage in ("default", *resources):
            self._executor(stage, name=stage)

    def _executor(self, stage: str, name: str) -> Any:
        """One for each job: what one is given once it keeps."""
        default = {"timeout_min": _DAY_MINUTES, "name": name}
        chosen = {**self._resources.get("default", {}), **self._resources.get(stage, {})}
        try:
            executor = self._make()
            executor.update_parameters(**{**default, **chosen})
        except (AssertionError, NameError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"--on slurm with --resources for {stage}: {error}") from None
        return executor

    def submit(self, job: Job) -> Future[int]:
        """Queue a job; a thread waits for it."""
        executor = self._executor(job.stage, job.name.replace("/", "."))
        submitted = executor.submit(SubmititCommand(job))
        self._jobs.add(submitted)
        return self._pool.submit(self._wait, submitted)

    def _wait(self, submitted: Any) -> int:
        try:
            return int(max(submitted.results(), key=abs))
        finally:
            self._jobs.discard(submitted)

    def stop(self) -> None:
        """Cancel all jobs: SLURM sends them SIGTERM first."""
        for submitted in list(self._jobs):
            submitted.cancel()

    def close(self) -> None:
        """Nothing more will be submitted."""
        self._pool.shutdown()
