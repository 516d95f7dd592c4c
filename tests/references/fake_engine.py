"""A study's commands without their hours: threads that leave what a command would have left."""

import io
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from rich.console import Console

from lit_llm.study.ledger import Ledger
from lit_llm.study.overview import Overview
from lit_llm.study.plan import plan_study
from lit_llm.study.runner import Runner
from lit_llm.study.study_file import read_study

STUDY = """\
seeds: [0, 1]
stages:
  start: {settings: {trainer.max_epochs: 1}, seeds: [0]}
  finetune: {settings: {trainer.max_epochs: 2}}
  score: {command: test, settings: {run: "${finetune}"}}
variants:
  scratch: {}
  started: {finetune.model.backbone.source: "${start}"}
table:
  columns: {test loss: test/loss}
"""
CELLS = [
    "scratch/finetune/seed=0",
    "scratch/score/seed=0",
    "shared/start/seed=0",
    "started/finetune/seed=0",
    "started/score/seed=0",
    "scratch/finetune/seed=1",
    "scratch/score/seed=1",
    "started/finetune/seed=1",
    "started/score/seed=1",
]
"""Its cells, in the order they are started one by one."""


def leave_results(run_dir: Path, weights: str | None = "weights") -> None:
    """What ``fit`` leaves in its run directory; ``weights=None``: what ``test`` leaves."""
    run_dir.mkdir(parents=True, exist_ok=True)
    results = {"metrics": {"test/loss": 0.5, "val/loss": 0.25}, "precision": "32-true"}
    (run_dir / "results.json").write_text(json.dumps(results))
    (run_dir / "report.md").write_text("# Run\n")
    facts = {"commit": "0123456789abcdef", "packages": {"torch": "2.0"}}
    (run_dir / "environment.json").write_text(json.dumps(facts))
    if weights is not None:
        (run_dir / "best").mkdir(exist_ok=True)
        (run_dir / "best" / "model.txt").write_text(weights)
        (run_dir / "checkpoints").mkdir(exist_ok=True)
        (run_dir / "checkpoints" / "state").write_text("state")


class FakeEngine:
    """An engine for tests.

    Args:
        slots: how many jobs it says to take at once.
        acts: what a cell does instead, by name: a number is its exit code, text the weights it
            leaves, a callable is called with the job and the engine and gives an exit code;
            an exception is raised. All but text leave no results.
    """

    def __init__(self, slots=1, acts=None):
        self.slots, self.acts = slots, acts or {}
        self.jobs = {}
        self.running = self.most = 0
        self.stops, self.closed = 0, False
        self.asked = threading.Event()  # to stop
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(16)  # more than slots: too many at once would be seen

    def submit(self, job):
        name = job.name.partition("/")[2]
        self.jobs[name] = job
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        return self._pool.submit(self._run, name, job)

    def _run(self, name, job):
        act = self.acts.get(name, "weights")
        try:
            time.sleep(0.002)
            if isinstance(act, Exception):
                raise act
            if callable(act):
                return act(job, self)
            if isinstance(act, int):
                return act
            directory = Path(job.words[job.words.index("--run_dir") + 1])
            leave_results(directory, act if job.words[0] == "fit" else None)
            return 0
        finally:
            with self._lock:
                self.running -= 1

    def stop(self):
        self.stops += 1
        self.asked.set()

    def close(self):
        self.closed = True
        self._pool.shutdown()


class Machine:
    """Stands for the processes that ``lit-llm run`` starts.

    Attributes:
        engines: one for each time a study was run.
        acts: see ``FakeEngine``.
        faults: what is wrong with the settings of run directories that have the key in their name.
        checked: commands whose settings were read last.
    """

    def __init__(self):
        self.engines, self.acts, self.faults, self.checked = [], {}, {}, []

    def engine(self, slots):
        self.engines.append(FakeEngine(slots, self.acts))
        return self.engines[-1]

    def check(self, words, input, **options):
        assert words[1:] == ["-m", "lit_llm.check_settings"]
        self.checked = json.loads(input)
        found = [
            next((fault for part, fault in self.faults.items() if part in command[-1]), None)
            for command in self.checked
        ]
        return SimpleNamespace(returncode=0, stdout=json.dumps(found), stderr="")

    @property
    def names(self):
        """Cells that the last engine started."""
        return list(self.engines[-1].jobs) if self.engines else []


@dataclass
class Outcome:
    """How a study went.

    Attributes:
        code: exit code.
        said: all that was printed.
        names: cells whose commands were started, in order.
        states: of all cells.
        engine: that ran them.
        ledger: as it stands.
        freed: bytes of checkpoints that were removed.
    """

    code: int
    said: str
    names: list[str]
    states: dict[str, str]
    engine: FakeEngine
    ledger: Ledger
    freed: int


def open_ledger(directory: Path, text: str = STUDY) -> Ledger:
    """The ledger of a study in a directory."""
    (directory / "study.yaml").write_text(text)
    study = read_study(directory)
    runs = directory / "runs"
    return Ledger(plan_study(study, runs), directory / "results", runs)


def run_study(
    directory: Path, slots=1, text: str = STUDY, keeps_checkpoints=False, **acts
) -> Outcome:
    """Run a study in a directory. ``acts``: see ``FakeEngine``; names as in ``CELLS``."""
    ledger, engine = open_ledger(directory, text), FakeEngine(slots, acts)
    console = Console(file=io.StringIO(), width=500)
    overview = Overview(console, ledger.plan.cells, slots, {})
    runner = Runner(ledger, engine, overview, keeps_checkpoints)
    code = runner.run()
    said = console.file.getvalue()
    names, states = list(engine.jobs), overview.states
    return Outcome(code, said, names, states, engine, ledger, runner.freed)
