"""A command that another program started ends when that program does."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

WITH_PARENT = "LIT_LLM_WITH_PARENT"
"""Environment variable: the process that its commands are not to outlive."""

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Have the kernel send SIGTERM when the parent is gone, however it went (Linux only)."""
    parent = os.environ.pop(WITH_PARENT, None)
    if parent is None or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):
        sys.exit(128 + signal.SIGTERM)  # it went before we asked
