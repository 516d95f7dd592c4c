"""``lit-llm run``: bring a study to its end, and print its table."""

from __future__ import annotations

import argparse
import fnmatch
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from rich.console import Console

from lit_llm.argument_parser import CommandParser, exit_code
from lit_llm.strict_yaml import Document
from lit_llm.study.drawing import commands, graph, summary
from lit_llm.study.engines import Engine, LocalEngine
from lit_llm.study.ledger import Ledger, Verdict
from lit_llm.study.overview import Overview, duration
from lit_llm.study.plan import Cell, Plan, plan_study
from lit_llm.study.runner import Runner
from lit_llm.study.study_file import Study, read_study

DESCRIPTION = """\
Run what is not done of a study: stages x variants x seeds, each a command in a process of its own.

  lit-llm run experiments/quickstart/study.yaml
  lit-llm run STUDY --jobs 4              four at once, threads and GPUs shared out
  lit-llm run STUDY --dry-run             print the commands that remain; they can be pasted
  lit-llm run STUDY --plan                draw what hangs on what
  lit-llm run STUDY --smoke               everything for two steps, kept apart from the results
  lit-llm run STUDY --on slurm --resources FILE

Runs go to runs/STUDY/, their figures to results/ beside study.yaml (X.results/ beside X.yaml).
These can be committed, and count as done on another machine. Start it again to go on after an
interruption.
"""

SMOKE = {
    "trainer.max_epochs": 1,
    "trainer.limit_train_batches": 2,
    "trainer.limit_val_batches": 2,
    "trainer.limit_test_batches": 2,
    "trainer.accumulate_grad_batches": 1,
    "trainer.check_val_every_n_epoch": 1,
    "trainer.val_check_interval": 1.0,
    "wandb.mode": "disabled",
}
"""What ``--smoke`` changes in every training stage."""

ENGINES = ("local", "slurm", "slurm-local", "ray")
_LOCK_SECONDS = 5

Resources = Mapping[str, Mapping[str, Any]]
"""Parameters of a stage's jobs, as the engine has them, by stage or under ``default``."""


def study_arguments(parser: argparse.ArgumentParser) -> None:
    """What ``run`` and ``table`` have in common."""
    add = parser.add_argument
    add("study", metavar="STUDY", help="study.yaml, or its directory")
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="one of its parameters")
    beside = "default: results/ beside study.yaml, X.results/ beside X.yaml"
    add("--results", type=Path, metavar="DIR", help=beside)
    add("--runs", type=Path, metavar="DIR", help="default: runs/STUDY")


def open_study(options: argparse.Namespace) -> tuple[Study, Path, Path]:
    """The study that a command line names, where its results are kept and its runs go.

    Raises:
        ValueError: the file, or a ``--set``, is not right.
    """
    given = {}
    for text in options.set:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--set {text}: NAME=VALUE was expected")
        given[name] = value
    study = read_study(Path(options.study), given)
    runs = options.runs or Path("runs") / study.name
    own = "results" if study.path.stem == "study" else f"{study.path.stem}.results"
    return study, options.results or study.path.parent / own, runs


def main(words: list[str]) -> int:
    """Run ``lit-llm run``; the process's exit code.

    Args:
        words: the command line after ``run``.
    """
    try:
        return exit_code("run", lambda: _run(_parsed(words)))
    except KeyboardInterrupt:
        return 130


def _parsed(words: list[str]) -> argparse.Namespace:
    parser = CommandParser("run", DESCRIPTION)
    study_arguments(parser)
    add = parser.add_argument
    add("--dry-run", "--dry_run", action="store_true", help="print the commands, run none")
    add("--plan", action="store_true", help="draw the graph, run nothing")
    add("--jobs", type=int, default=None, metavar="N", help="commands at once; default: 1")
    add("--only", action="append", metavar="PATTERN", help="cells such as '*/finetune/seed=0'")
    add("--smoke", action="store_true", help="two steps of every stage, in runs/STUDY-smoke")
    kept = "finished runs keep the checkpoints they could have been resumed from"
    add("--keep-checkpoints", "--keep_checkpoints", action="store_true", help=kept)
    add("--on", choices=ENGINES, default="local", help="where; default: local")
    add("--resources", type=Path, metavar="FILE", help="YAML: stage -> its job's parameters")
    options = parser.parse_args(words)
    if options.jobs is not None and options.jobs < 1:
        raise ValueError(f"--jobs {options.jobs}: at least 1 was expected")
    return options


def _run(options: argparse.Namespace) -> int:
    started = time.monotonic()
    study, results, runs = open_study(options)
    resources = _resources(options, study)
    plan = plan_study(study, runs)
    if options.smoke:
        runs = runs.with_name(f"{runs.name}-smoke")
        results = runs / "results"
        plan = plan_study(_smoke(study), runs, allow_idle=True)
    cells = _chosen(plan, options.only)
    console = Console(stderr=True)
    with console.status("looking at what is done"):
        ledger = Ledger(plan, results, runs)
        verdicts = _verdicts(ledger, cells, options.smoke)
    if options.dry_run:
        for line in commands(cells, verdicts):
            print(line)
        return 0
    if options.plan:
        Console().print(graph(study.name, cells, verdicts))
        return 0
    console.print(f"{study.name}: {summary(verdicts)}", highlight=False)
    for name, verdict in verdicts.items():
        if ledger.records[name] is not None and verdict.kind == "run" and not options.smoke:
            console.print(f"again: {name} ({verdict.why})", highlight=False, markup=False)
    code = 0
    if {verdict.kind for verdict in verdicts.values()} != {"done"}:
        runs.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(runs / ".lock", timeout=_LOCK_SECONDS):
                if options.smoke:
                    _forget(cells, results)
                ledger = Ledger(plan, results, runs)  # another run may just have ended
                verdicts = _verdicts(ledger, cells)
                code = _execute(options, cells, ledger, verdicts, console, resources)
        except Timeout:
            raise ValueError(f"{runs}: another lit-llm run is at work on this study") from None
        console.print(f"after {duration(time.monotonic() - started)}", highlight=False)
    if code < 128 and any(ledger.records.values()):
        from lit_llm.tables.write import write_table

        print(write_table(ledger), end="")
    return code


def _verdicts(
    ledger: Ledger, cells: Mapping[str, Cell], afresh: bool = False
) -> dict[str, Verdict]:
    """On the cells that were chosen; ``afresh``: nothing of them counts as done."""
    found = ledger.forecast()
    return {name: Verdict("run", "new") if afresh else found[name] for name in cells}


def _forget(cells: Mapping[str, Cell], results: Path) -> None:
    for name, cell in cells.items():
        shutil.rmtree(results / name, ignore_errors=True)
        shutil.rmtree(cell.run_dir, ignore_errors=True)


def _execute(
    options: argparse.Namespace,
    cells: Mapping[str, Cell],
    ledger: Ledger,
    verdicts: Mapping[str, Verdict],
    console: Console,
    resources: Resources,
) -> int:
    remain = [cells[name] for name, v in verdicts.items() if v.kind in ("run", "resume")]
    _check_settings(ledger.plan.study, remain, console)
    engine = _engine(options, len(cells), ledger.runs, resources)
    seconds = {
        name: record["seconds"]
        for name, record in ledger.records.items()
        if name in cells and record is not None and record.get("seconds")
    }
    overview = Overview(console, cells, engine.slots, seconds)
    with overview.showing():
        runner = Runner(ledger, engine, overview, options.keep_checkpoints)
        code = runner.run()
    if runner.freed:
        freed = f"{runner.freed / 1e6:,.0f} MB of finished runs' checkpoints"
        console.print(f"removed {freed}; --keep-checkpoints keeps them", highlight=False)
    console.print(overview.counts(), highlight=False)
    return code


def _resources(options: argparse.Namespace, study: Study) -> Resources:
    """What ``--resources`` asks for, by stage."""
    if options.resources is None:
        return {}
    document = Document(options.resources)
    resources: Resources = document.content
    document.check_keys(resources, (), ("default", *study.stages))
    for stage, content in resources.items():
        if not isinstance(content, dict):
            raise document.fault((stage,), "parameters of its jobs were expected")
    if options.on == "local":
        raise ValueError("--resources is for --on slurm and --on ray")
    return resources


def _engine(options: argparse.Namespace, cells: int, runs: Path, resources: Resources) -> Engine:
    if options.on == "local":
        return LocalEngine(options.jobs or 1)
    if options.on == "ray":
        from lit_llm.study.ray_engine import RayEngine

        return RayEngine(options.jobs or cells, resources)
    from lit_llm.study.submitit_engine import SubmititEngine

    cluster = "slurm" if options.on == "slurm" else "local"
    return SubmititEngine(options.jobs or cells, runs / "submitit", resources, cluster)


def _chosen(plan: Plan, patterns: list[str] | None) -> dict[str, Cell]:
    """The cells that ``--only`` names, and those they need; without it all."""
    wanted: list[str] = []
    for pattern in patterns or ["*"]:
        found = fnmatch.filter(plan.cells, pattern)
        if not found:
            raise ValueError(f"--only {pattern}: no such cell; --dry-run lists them")
        wanted += found
    kept = set()
    while wanted:
        name = wanted.pop()
        kept.add(name)
        wanted += plan.cells[name].needs.values()
    return {name: cell for name, cell in plan.cells.items() if name in kept}


def _smoke(study: Study) -> Study:
    """The study for two steps of one seed."""
    stages: dict[str, Any] = {}
    for name, stage in study.stages.items():
        settings = {**stage.settings, **SMOKE} if stage.command == "fit" else stage.settings
        stages[name] = replace(stage, settings=settings, seeds=stage.seeds[:1])
    axes = {
        axis: {
            value: {
                stage: {k: v for k, v in change.items() if k not in SMOKE}
                for stage, change in changes.items()
            }
            for value, changes in values.items()
        }
        for axis, values in study.axes.items()
    }
    return replace(study, name=f"{study.name}-smoke", stages=stages, axes=axes)


def _check_settings(study: Study, cells: list[Cell], console: Console) -> None:
    """Have the settings of everything that will train read once, before hours go by.

    Raises:
        ValueError: a command's settings are not right; names the cell.
    """
    distinct: dict[str, Cell] = {}
    for cell in cells:
        if cell.stage.command == "fit":
            distinct.setdefault(cell.group, cell)
    if not distinct:
        return
    with console.status(f"reading the settings of {len(distinct)} commands"):
        done = subprocess.run(
            [sys.executable, "-m", "lit_llm.check_settings"],
            input=json.dumps([cell.words[1:] for cell in distinct.values()]),
            capture_output=True,
            text=True,
        )
    if done.returncode:
        raise ValueError(f"the settings could not be read: {done.stderr.strip()[-2000:]}")
    for cell, fault in zip(distinct.values(), json.loads(done.stdout), strict=True):
        if fault is not None:
            raise ValueError(f"{study.path}: {cell.group}: {fault}")
