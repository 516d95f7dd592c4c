"""Run what is not done, each cell after those it needs, as many at once as the engine takes."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from types import FrameType
from typing import Any

from lit_llm.study.engines import Engine, Job
from lit_llm.study.ledger import Ledger, Verdict
from lit_llm.study.overview import Overview
from lit_llm.study.plan import Cell

_POLL_SECONDS = 0.5


class Runner:
    """Brings a study's cells from what they are to done.

    Args:
        ledger: what is done.
        engine: where commands run.
        overview: told of everything; its cells are those to be run.
        keeps_checkpoints: whether a finished run keeps what it could have been resumed from.

    Attributes:
        freed: bytes of finished runs' checkpoints that were removed.
    """

    def __init__(
        self, ledger: Ledger, engine: Engine, overview: Overview, keeps_checkpoints: bool = False
    ) -> None:
        self.ledger, self.engine, self.overview = ledger, engine, overview
        self.keeps_checkpoints, self.freed = keeps_checkpoints, 0
        self.cells = overview.cells
        self.order = {name: number for number, name in enumerate(self.cells)}
        self.pending = list(self.cells)
        self.done: set[str] = set()
        self.lost: set[str] = set()  # failed, or in need of one that did
        self.again: set[str] = set()
        self.ready: list[tuple[Cell, Verdict]] = []
        self.running: dict[Future[int], tuple[Cell, float]] = {}
        self.busy: list[Cell] = []  # something else trains there
        self.signal: str | None = None

    def run(self) -> int:
        """Run to the end, or until a signal; the process's exit code."""
        with self._noting_signals():
            while self.pending or self.ready or self.running or self.busy:
                if self.signal is None:
                    self._look_again()
                    self._settle()
                    self._start()
                elif not self.running:
                    break
                if self.running:
                    finished, _ = wait(
                        self.running, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED
                    )
                    for future in finished:
                        self._finish(future)
                elif self.busy:
                    time.sleep(_POLL_SECONDS)
        if self.signal is not None:
            return 128 + int(signal.Signals[self.signal])
        return 1 if self.lost else 0

    def _look_again(self) -> None:
        """Judge anew the cells that something else was at work on, once it has ended."""
        for cell in [cell for cell in self.busy if not self.ledger.is_busy(cell)]:
            self.busy.remove(cell)
            self.pending.append(cell.name)

    def _settle(self) -> None:
        """Judge every cell whose needs are settled."""
        changed = True
        while changed:
            changed = False
            for name in list(self.pending):
                cell = self.cells[name]
                lost = [need for need in cell.needs.values() if need in self.lost]
                if not lost and any(need not in self.done for need in cell.needs.values()):
                    continue
                self.pending.remove(name)
                changed = True
                if lost:
                    self.lost.add(name)
                    self.overview.block(cell, lost[0])
                    continue
                verdict = self.ledger.verdict(cell, again=name in self.again)
                if verdict.kind == "keep" and not self._keep(cell):
                    continue
                if verdict.kind in ("done", "keep"):
                    self.done.add(name)
                    self.overview.done(cell, verdict.why)
                elif not self._fetch_needs(cell):
                    self.ready.append((cell, verdict))

    def _keep(self, cell: Cell, seconds: float | None = None) -> bool:
        """Keep a finished cell's figures; False, and a failure, if it left none."""
        try:
            self.ledger.finish(cell, seconds)
        except (ValueError, OSError) as error:
            self._fail(cell, str(error))
            return False
        return True

    def _fail(self, cell: Cell, why: str) -> None:
        self.lost.add(cell.name)
        self.overview.fail(cell, why, self.ledger.log(cell))

    def _fetch_needs(self, cell: Cell) -> bool:
        """Send back what the cell reads from and is not on this machine; whether there was any."""
        absent = {need for need in cell.needs.values() if not self.ledger.is_here(self.cells[need])}
        if not absent:
            return False
        self.again |= absent
        unsettled = {cell.name}
        for name, other in self.cells.items():  # and all that hangs on it
            if name in absent or (set(other.needs.values()) & (absent | unsettled)):
                unsettled.add(name)
        settled = self.done & unsettled
        self.done -= settled
        self.ready = [item for item in self.ready if item[0].name not in unsettled]
        self.pending = [
            name
            for name in self.cells
            if name in self.pending or (name in unsettled and name not in self.lost)
        ]
        return True

    def _start(self) -> None:
        self.ready.sort(key=lambda item: self.order[item[0].name])
        while self.ready and len(self.running) < self.engine.slots and self.signal is None:
            cell, verdict = self.ready.pop(0)
            if self.ledger.is_busy(cell):
                self.overview.say(f"waits for another process at work in {cell.run_dir}")
                self.busy.append(cell)
                continue
            try:
                words, moved = self.ledger.start(cell, verdict)
            except (ValueError, OSError) as error:
                self._fail(cell, str(error))
                continue
            log = self.ledger.log(cell)
            if moved is not None:
                self.overview.say(f"moved an earlier run to {moved}")
            self.overview.start(cell, verdict.why, log)
            study = self.ledger.plan.study.name
            job = Job(
                name=f"{study}/{cell.name}",
                stage=cell.stage.name,
                words=words,
                log=log,
                environment={"WANDB_RUN_GROUP": study, "WANDB_NAME": cell.name},
            )
            try:
                self.running[self.engine.submit(job)] = (cell, time.monotonic())
            except Exception as error:  # an engine's own: the queue does not take it
                self._fail(cell, _sentence(error))

    def _finish(self, future: Future[int]) -> None:
        cell, started = self.running.pop(future)
        try:
            code = future.result()
            why = f"exit code {code}" if code > 0 else f"killed by signal {-code}"
        except Exception as error:  # an engine's own: the job was cancelled, the node is gone
            code = 1
            why = _sentence(error)
        if code == 0:
            if self._keep(cell, time.monotonic() - started):
                self.done.add(cell.name)
                self.again.discard(cell.name)
                self._free(cell)
                self.overview.done(cell)
        elif self.signal is not None:
            self.overview.stop(cell)
        else:
            self._fail(cell, why)

    def _free(self, cell: Cell) -> None:
        """Remove a finished run's checkpoints, six times its weights; ``best/`` stays."""
        checkpoints = cell.run_dir / "checkpoints"
        has_both = checkpoints.is_dir() and (cell.run_dir / "best").is_dir()
        if self.keeps_checkpoints or not has_both:
            return
        size = sum(file.stat().st_size for file in checkpoints.rglob("*") if file.is_file())
        try:
            shutil.rmtree(checkpoints)
        except OSError as error:
            self.overview.say(f"{checkpoints} could not be removed: {error}")
        else:
            self.freed += size

    @contextmanager
    def _noting_signals(self) -> Iterator[None]:
        def note(signum: int, frame: FrameType | None) -> None:
            name = signal.Signals(signum).name
            if self.signal is None:
                self.overview.say(f"{name}: stages write their checkpoints; once more ends them")
            self.signal = name
            self.engine.stop()

        before: dict[str, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for name in ("SIGINT", "SIGTERM", "SIGUSR1"):
                before[name] = signal.signal(signal.Signals[name], note)
        try:
            yield
        finally:
            for name, handler in before.items():
                signal.signal(signal.Signals[name], handler)
            self.engine.close()


def _sentence(error: Exception) -> str:
    return str(error).strip().split("\n")[-1] or type(error).__name__
