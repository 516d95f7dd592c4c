"""A study whose commands need not run: their run directories are faked."""

import json
from pathlib import Path

from lit_llm.study.ledger import Ledger
from lit_llm.study.plan import plan_study
from lit_llm.study.study_file import read_study

CHAIN = """\
parameters: {data: DATA}
seeds: [0, 1]
stages:
  start: {settings: {data.path: "${data}"}, seeds: [0]}
  finetune: {settings: {trainer.max_epochs: 2}}
  score: {command: test, settings: {run: "${finetune}"}}
variants:
  scratch: {}
  started: {finetune.model.source: "${start}"}
table: {columns: {dev: {stage: finetune, metric: val/f1}, test: test/f1}}
"""
"""Nine commands: one start for both seeds, two variants of finetune, each of them scored."""


def write_study(directory: Path, text: str = CHAIN) -> Path:
    """Write ``study.yaml``, and the data it may name; the study's path."""
    data = directory / "data"
    if not data.exists():
        data.mkdir(parents=True)
        (data / "train.txt").write_text("Anna\tB-PER\n")
    path = directory / "study.yaml"
    path.write_text(text.replace("DATA", str(data)))
    return path


def planned(directory: Path, text: str = CHAIN, **parameters):
    """The plan of a study; its runs go to ``directory/runs``."""
    return plan_study(read_study(write_study(directory, text), parameters), directory / "runs")


def opened(directory: Path, text: str = CHAIN, **parameters) -> Ledger:
    """What is done of a study, as a new process finds it."""
    plan = planned(directory, text, **parameters)
    return Ledger(plan, directory / "results", directory / "runs")


def fake_run(cell, metrics=None, best="weights", commit="0" * 40, packages=None, **facts):
    """Leave in a run directory what a finished command leaves; ``best`` may be None."""
    cell.run_dir.mkdir(parents=True, exist_ok=True)
    (cell.run_dir / "config.yaml").write_text("seed_everything: 0\n")
    if best is not None:
        (cell.run_dir / "best").mkdir(exist_ok=True)
        (cell.run_dir / "best" / "model.safetensors").write_text(best)
    environment = {"commit": commit, "packages": packages or {"torch": "2.13.0"}}
    (cell.run_dir / "environment.json").write_text(json.dumps(environment))
    (cell.run_dir / "report.md").write_text("# Run\n")
    results = {"metrics": {"val/f1": 0.5, "test/f1": 0.5} if metrics is None else metrics, **facts}
    (cell.run_dir / "results.json").write_text(json.dumps(results))


def run(ledger: Ledger, name: str, /, **left):
    """Start a cell, fake its run, and keep its figures; where an earlier run was moved."""
    cell = ledger.plan.cells[name]
    _, moved = ledger.start(cell, ledger.verdict(cell))
    fake_run(cell, **left)
    ledger.finish(cell, 1.0)
    return moved


def run_all(ledger: Ledger, /, **left) -> Ledger:
    """The same for every cell that is not done; the ledger."""
    for name, cell in ledger.plan.cells.items():
        if ledger.verdict(cell).kind != "done":
            run(ledger, name, **left)
    return ledger


def kinds(ledger: Ledger) -> dict[str, str]:
    """What a forecast says of each cell, in a word."""
    return {name: verdict.kind for name, verdict in ledger.forecast().items()}
