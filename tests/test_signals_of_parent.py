"""A command ends when the program that started it does, however that went."""

import os
import signal
import subprocess
import sys
import time

import pytest

from lit_llm.signals_of_parent import WITH_PARENT, end_with_parent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child")
CHILD = f"""
import os, subprocess, time
from lit_llm.signals_of_parent import end_with_parent
end_with_parent()
handed_on = subprocess.check_output(["sh", "-c", "echo -n ${WITH_PARENT}"], text=True)
print(os.getpid(), repr(handed_on), flush=True)
time.sleep(60)
"""
PARENT = """
import os, subprocess, sys
environment = {**os.environ, sys.argv[2]: str(os.getpid())}
words = [sys.executable, "-c", sys.argv[1]]
subprocess.Popen(words, env=environment, start_new_session=True).wait()
"""


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_child_is_gone_soon_after_its_parent_and_tells_nobody_else(signum):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD, WITH_PARENT], stdout=subprocess.PIPE, text=True
    )
    child, handed_on = parent.stdout.readline().split()
    assert handed_on == "''"
    assert is_running(child)
    parent.send_signal(signum)
    parent.wait()
    deadline = time.monotonic() + 10
    while is_running(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    parent.stdout.close()


def test_child_whose_parent_was_gone_before_it_asked_ends_at_once():
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        env={**os.environ, WITH_PARENT: "0"},
        capture_output=True,
        timeout=30,
    )
    assert (done.returncode, done.stdout) == (143, b"")


def test_without_the_variable_nothing_happens(monkeypatch):
    monkeypatch.delenv(WITH_PARENT, raising=False)
    end_with_parent()
