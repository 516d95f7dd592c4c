"""What of a study is done, what can go on, and what has to run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lit_llm.run_directory import LOCK, write_json
from lit_llm.study.content import Hashes, file_sha256, must_exist, path_key
from lit_llm.study.plan import Cell, Plan
from lit_llm.study.record import (
    differences,
    inputs_of,
    keep,
    left_by,
    outputs_of,
    read_record,
    read_request,
    request,
)
from lit_llm.study.settings import BASE
from lit_llm.study.stages import REFERENCE
from lit_llm.study.starting import command, has_read, is_by_hand, replaced

_NOT_HERE = "what it left is not here"


@dataclass(frozen=True)
class Verdict:
    """What is to be done about a cell.

    Attributes:
        kind: ``done``; ``keep``: the run is finished, its figures are not copied yet; ``resume``;
            ``run``; ``wait``: done, unless a stage it needs leaves something else this time.
        why: for a reader; empty when done.
    """

    kind: str
    why: str = ""


class Ledger:
    """Compares what a plan asks for with what its runs and results hold.

    Args:
        plan: the study's cells.
        results: where finished cells are kept.
        runs: where run directories are.

    Raises:
        ValueError: a result was changed by hand.
    """

    def __init__(self, plan: Plan, results: Path, runs: Path) -> None:
        self.plan, self.results, self.runs = plan, results, runs
        self.hashes = Hashes(runs / ".hashes.json")
        self.records = {name: read_record(results / name) for name in plan.cells}
        self._outputs: dict[str, str | None] = {}  # of finished runs that are not kept yet
        configs = {str(BASE), *(config for cell in plan.cells.values() for config in cell.configs)}
        self._configs = {config: file_sha256(Path(config)) for config in configs}

    def verdict(self, cell: Cell, unsettled: Collection[str] = (), again: bool = False) -> Verdict:
        """What is to be done about a cell whose needs are settled.

        Args:
            cell: one of the plan's.
            unsettled: needed cells, by name, that will run before it.
            again: it has to run although its figures are there: what it left is not here.
        """
        waits = [need for need in cell.needs.values() if need in unsettled]
        record = self.records[cell.name]
        asked = self._request(cell)
        why = differences(record["request"], asked) if record else ["new"]
        if waits:
            later = {f"what {stage} left" for stage, need in cell.needs.items() if need in waits}
            if set(why) <= later and not again:
                return Verdict("wait", f"done, if {', '.join(waits)} leaves the same again")
            why = [reason for reason in why if reason not in later]
            return Verdict("run", "; ".join(why) or _NOT_HERE)
        if not why and not again:
            return Verdict("done")
        started = self._started(cell, asked)
        if started is not None and not differences(started, asked):
            if (cell.run_dir / "results.json").exists():
                if not again:
                    return Verdict("keep", "finished; its figures are not kept yet")
            elif (cell.run_dir / "config.yaml").exists() and cell.stage.command == "fit":
                return Verdict("resume", "interrupted")
        return Verdict("run", "; ".join(why) or _NOT_HERE)

    def is_here(self, cell: Cell) -> bool:
        """Whether what later stages read from a done cell is on this machine, unchanged."""
        record = self.records[cell.name]
        return record is not None and outputs_of(cell, self.hashes) == record["outputs"]

    def is_busy(self, cell: Cell) -> bool:
        """Whether a process, perhaps of a study that was killed, trains in the run directory."""
        if not (cell.run_dir / LOCK).exists():
            return False
        try:
            with FileLock(cell.run_dir / LOCK, timeout=0):
                return False
        except Timeout:
            return True

    def forecast(self, figures_only: bool = False) -> dict[str, Verdict]:
        """The verdict on every cell if the study were run now.

        Args:
            figures_only: a done cell stays done where what it left is on another machine and
                would have to be made again for the cells to come.
        """
        cells = self.plan.cells
        found: dict[str, Verdict] = {}
        again: set[str] = set()
        while True:
            found = {}
            for name, cell in cells.items():
                unsettled = {
                    need for need in cell.needs.values() if found[need].kind not in ("done", "keep")
                }
                found[name] = self.verdict(cell, unsettled, name in again)
                if found[name].kind == "keep":
                    self._outputs[name] = outputs_of(cell, self.hashes)
            if figures_only:
                self.hashes.save()
                return found
            missing = {
                need
                for name, cell in cells.items()
                if found[name].kind in ("run", "resume")
                for need in cell.needs.values()
                if found[need].kind == "done" and not self.is_here(cells[need])
            }
            if not missing:
                self.hashes.save()
                return found
            again |= missing

    def start(self, cell: Cell, verdict: Verdict) -> tuple[list[str], Path | None]:
        """Prepare a cell's run directory.

        Raises:
            ValueError: a configuration file has changed since the study was planned, or data that
                the earlier run was made from are not there.

        Returns:
            The command's words, and where an earlier run that does not count any more was moved.
        """
        for config in _configs_of(cell):
            if file_sha256(Path(config)) != self._configs[config]:
                raise ValueError(
                    f"{config} has changed since the study was planned: start it again"
                )
        asked = self._request(cell)
        resumes, moved = verdict.kind == "resume", None
        if not resumes:
            self._refuse_absent(cell, asked)
            moved = replaced(cell)
        if moved is not None:
            moved.parent.mkdir(parents=True)
            cell.run_dir.rename(moved)
        cell.run_dir.mkdir(parents=True, exist_ok=True)
        if not resumes or read_request(self._request_path(cell)) is None:
            write_json(self._request_path(cell), asked)
        return command(cell, resumes), moved

    def _refuse_absent(self, cell: Cell, asked: Mapping[str, Any]) -> None:
        """Nothing is run in place of what was made from data, for a path that leads nowhere."""
        record, started = self.records[cell.name], read_request(self._request_path(cell))
        made = [before for before in (record and record["request"], started) if before]
        inputs = {path_key(name) for before in made for name in before["inputs"]}
        for name, value in asked["settings"].items():
            if path_key(name) in inputs and must_exist(name, value):
                raise ValueError(
                    f"{name} = {value}: there is no such file or directory; if a hub id is meant, "
                    f"first move {self.results / cell.name} and {cell.run_dir} away"
                )

    def finish(self, cell: Cell, seconds: float | None) -> None:
        """Keep a finished cell's figures.

        Raises:
            ValueError: it left none.
        """
        asked = read_request(self._request_path(cell)) or self._request(cell)
        self.records[cell.name] = keep(cell, asked, self.results / cell.name, self.hashes, seconds)
        self._outputs.pop(cell.name, None)
        self.hashes.save()

    def log(self, cell: Cell) -> Path:
        """Where a cell's output goes."""
        return cell.run_dir.with_name(f"{cell.run_dir.name}.log")

    def _request_path(self, cell: Cell) -> Path:
        return cell.run_dir / ".request.json"  # goes where the run goes

    def _started(self, cell: Cell, asked: dict[str, Any]) -> dict[str, Any] | None:
        """What the run in a cell's directory was asked; None if that is not known."""
        started = read_request(self._request_path(cell))
        if started is not None:
            return started
        if not is_by_hand(cell):
            return None
        configs = [Path(config) for config in _configs_of(cell)]
        needs = [left_by(self.plan.cells[need]) for need in cell.needs.values()]
        read = (*configs, *inputs_of(cell, self._scored(cell)), *needs)
        return asked if has_read(cell, read) else None

    def _scored(self, cell: Cell) -> Cell | None:
        """The cell whose run this one scores."""
        found = REFERENCE.fullmatch(str(cell.settings.get("run")))
        need = found and cell.needs.get(found[1])
        return self.plan.cells[need] if need else None

    def _request(self, cell: Cell) -> dict[str, Any]:
        outputs = {stage: self._left_by(need) for stage, need in cell.needs.items()}
        return request(cell, outputs, self.hashes, self._scored(cell))

    def _left_by(self, name: str) -> str | None:
        if name in self._outputs:
            return self._outputs[name]
        record = self.records[name]
        return record["outputs"] if record else None


def _configs_of(cell: Cell) -> tuple[str, ...]:
    return (str(BASE), *cell.configs)
