"""Tasks of a Ray cluster, or of Ray on this machine alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from lit_llm.study.engines import Command, Job, cores


class RayEngine:
    """Ray tasks.

    ``RAY_ADDRESS`` names the cluster; without it Ray is started here.

    Args:
        jobs: how many at once.
        resources: Ray's options for each stage, ``default`` for the others: ``num_cpus``,
            ``num_gpus``, ``resources``, ...

    Raises:
        ValueError: Ray is not installed, or does not take an option.
    """

    def __init__(self, jobs: int, resources: Mapping[str, Mapping[str, Any]]) -> None:
        try:
            import ray
        except ImportError:
            raise ValueError("--on ray needs Ray: pip install 'lit_llm[ray]'") from None
        self.slots = jobs
        self._ray = ray
        self._resources = resources
        self._running: set[Any] = set()
        for stage in ("default", *resources):
            self._task(stage, self._options(stage))
        here: dict[str, Any] = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": cores()}
        ray.init(include_dashboard=False, log_to_driver=False, configure_logging=False, **here)

    def submit(self, job: Job) -> Future[int]:
        """Queue a job."""
        options = {"name": job.name, **self._options(job.stage)}
        threads = {"OMP_NUM_THREADS": str(max(1, int(options["num_cpus"] or 0)))}
        command = Command(Job(**{**vars(job), "environment": {**threads, **job.environment}}))
        task = self._task(job.stage, options).remote(command)
        self._running.add(task)
        future: Future[int] = task.future()
        future.add_done_callback(lambda _: self._running.discard(task))
        return future

    def _options(self, stage: str) -> dict[str, Any]:
        default = {"num_cpus": max(1, cores() // self.slots), "max_retries": 0}
        return {**default, **self._resources.get("default", {}), **self._resources.get(stage, {})}

    def _task(self, stage: str, options: Mapping[str, Any]) -> Any:
        try:
            return self._ray.remote(_run).options(**options)
        except (TypeError, ValueError) as error:
            raise ValueError(f"--resources for {stage}: {error}") from None

    def stop(self) -> None:
        """Interrupt all tasks: each ends its command first."""
        for task in list(self._running):
            self._ray.cancel(task)

    def close(self) -> None:
        """Leave the cluster, or shut down the one started here."""
        self._ray.shutdown()


def _run(command: Command) -> int:
    return command()
