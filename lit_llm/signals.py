"""Signals ask for a stop; the training loop stops between two optimizer steps."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, ClassVar

from lightning.pytorch import Trainer


class Interrupted(BaseException):
    """Training was stopped by a signal, after its checkpoint was written.

    Attributes:
        signum: the signal; a process exits with 128 + this number.
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.signum = int(signal.Signals[name])


class StopSignals:
    """Handlers that note the first signal and let a second one stop the process at once.

    SIGUSR1 is what SLURM is asked to send before a time limit (``--signal=USR1@90``).
    """

    NAMES: ClassVar[tuple[str, ...]] = ("SIGTERM", "SIGINT", "SIGUSR1")

    def __init__(self) -> None:
        self.received: str | None = None
        self._before: dict[int, Any] = {}

    def install(self) -> None:
        """Take the signals over, in the main thread; elsewhere nothing changes."""
        self.received = None
        if threading.current_thread() is threading.main_thread() and not self._before:
            for name in self.NAMES:
                signum = signal.Signals[name]
                self._before[signum] = signal.signal(signum, self._note)

    def restore(self) -> None:
        """Hand the signals back to who had them."""
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        self._before = {}

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self.received is not None:
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
        self.received = signal.Signals(signum).name


@contextmanager
def stopping_at_once() -> Iterator[None]:
    """Outside the training loop nothing is lost: a signal raises ``Interrupted`` where it comes."""
    before: dict[str, Any] = {}

    def stop(signum: int, frame: FrameType | None) -> None:
        name = signal.Signals(signum).name
        raise Interrupted(name, f"stopped by {name} outside the training loop")

    if threading.current_thread() is threading.main_thread():
        before = {n: signal.signal(signal.Signals[n], stop) for n in StopSignals.NAMES}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(signal.Signals[name], handler)


class NoSignals:
    """In place of Lightning's own handlers, which run collectives inside a signal handler."""

    received_sigterm = False

    def register_signal_handlers(self) -> None:
        """Nothing."""

    def teardown(self) -> None:
        """Nothing."""


def leave_signals_alone(trainer: Trainer) -> None:
    """Keep Lightning from installing signal handlers of its own."""
    trainer._signal_connector = NoSignals()  # type: ignore[assignment]
