"""From a study to its cells: every stage of every variant with every seed, each one command."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lit_llm.study.columns import Column
from lit_llm.study.settings import combined, flags
from lit_llm.study.stages import REFERENCE, Stage
from lit_llm.study.study_file import Study
from lit_llm.study.variants import keys_of

Values = Mapping[str, str]
"""A variant: axis -> the name of its value. A stage has those of the axes it depends on."""


@dataclass(frozen=True)
class Cell:
    """One command of a study.

    Attributes:
        name: ``VARIANT/STAGE/seed=N``: its place among the runs and among the results.
        stage: as the cell's variant has it.
        values: the variant, on the axes that the stage depends on.
        seed: ``seed_everything``.
        needs: cells it reads from: stage -> cell name.
        run_dir: where its run goes.
        configs: its configuration files.
        words: the command, after ``lit-llm``.
        written: the same as the study has it, its parameters not filled in.
        settings: what configuration files and flags amount to; ``${stage}`` stands for what comes
            from an earlier stage.
        by_default: the same with the file's own parameters, whatever the command line gave.
    """

    name: str
    stage: Stage
    values: Values
    seed: int
    needs: Mapping[str, str]
    run_dir: Path
    configs: tuple[str, ...]
    words: tuple[str, ...]
    written: tuple[str, ...]
    settings: Mapping[str, Any]
    by_default: Mapping[str, Any]

    @property
    def group(self) -> str:
        """The cell without its seed."""
        return self.name.rpartition("/")[0]


@dataclass(frozen=True)
class Plan:
    """A study's cells in the order they are started.

    Attributes:
        study: what was planned.
        cells: by name; a cell stands after those it needs, one seed of every variant comes before
            the next seed of any.
        depends_on: the axes that change a stage, by stage.
    """

    study: Study
    cells: Mapping[str, Cell]
    depends_on: Mapping[str, tuple[str, ...]]


def plan_study(study: Study, runs: Path, allow_idle: bool = False) -> Plan:
    """Lay out a study.

    Args:
        study: as read.
        runs: the directory its runs go into.
        allow_idle: accept variants that change nothing.

    Raises:
        ValueError: a configuration file is missing, a variant changes nothing, a stage needs a
            seed that another was not run with or scores no run, or a column does not say which
            variant it means.
    """
    planner = _Planner(study, runs)
    referred = {name for stage in study.stages for name in _references(study, stage)}
    wanted = [
        (number, position, stage.name, values, seed)
        for position, stage in enumerate(study.stages.values())
        if stage.name not in referred  # the others run where one of these needs them
        for values in _variants(study, planner.depends_on[stage.name])
        for number, seed in enumerate(stage.seeds)
    ]
    for _, _, name, values, seed in sorted(wanted, key=lambda item: item[:2]):
        planner.add(name, values, seed)
    if not allow_idle:
        _refuse_idle_variants(
            planner, [s for name, s in study.stages.items() if name not in referred]
        )
    for column in study.columns:
        _check_column(study, column, planner.depends_on[column.stage])
    return Plan(study, planner.cells, planner.depends_on)


class _Planner:
    """Cells by name, each planned with all it needs."""

    def __init__(self, study: Study, runs: Path) -> None:
        self.study, self.runs = study, runs
        self.defaults: Mapping[str, Any] = study.document.content.get("parameters", {})
        self.depends_on = _dependencies(study)
        self.cells: dict[str, Cell] = {}

    def add(self, stage_name: str, values: Values, seed: int) -> str:
        """Plan a stage's cell, unless it is there already; its name."""
        values = {axis: values[axis] for axis in self.depends_on[stage_name]}
        name = f"{','.join(values.values()) or 'shared'}/{stage_name}/seed={seed}"
        if name not in self.cells:
            stage = self.study.stages[stage_name]
            for axis, value in values.items():
                stage = stage.changed(self.study.axes[axis][value].get(stage_name, {}))
            if stage.command != "fit" and not stage.settings.get("run"):
                raise self.study.document.fault(
                    ("stages", stage_name),
                    f"say which run it scores in {name}: 'run: ${{STAGE}}' among its settings",
                )
            needs = {
                reference: self.add(reference, values, self._seed_for(stage, reference, seed))
                for reference in stage.references()
                if reference in self.study.stages
            }
            self.cells[name] = self._cell(name, stage, values, seed, needs)
        return name

    def _seed_for(self, stage: Stage, reference: str, seed: int) -> int:
        theirs = self.study.stages[reference].seeds
        if seed in theirs:
            return seed
        if len(theirs) == 1:
            return theirs[0]
        raise self.study.document.fault(
            ("stages", reference, "seeds"),
            f"{stage.name} with seed {seed} needs {reference} with that seed, or one for all; it "
            f"has {', '.join(map(str, theirs))}",
        )

    def _cell(
        self, name: str, stage: Stage, values: Values, seed: int, needs: Mapping[str, str]
    ) -> Cell:
        parameters = self.study.parameters
        run_dir = self.runs / name
        directories = {reference: str(self.runs / needed) for reference, needed in needs.items()}
        configs = tuple(str(_filled(config, parameters)) for config in stage.configs)

        def words(configs: Iterable[str], names: Mapping[str, Any]) -> tuple[str, ...]:
            settings = {key: _filled(value, names) for key, value in stage.settings.items()}
            files = [word for config in configs for word in ("--config", config)]
            ours = ("--seed_everything", str(seed), "--run_dir", str(run_dir))
            return (stage.command, *files, *flags(settings), *ours)

        try:
            settings = _amounts_to(stage, parameters, seed)
            by_default = settings
            if parameters != self.defaults:
                by_default = _amounts_to(stage, self.defaults, seed, configs)
        except ValueError as error:
            raise ValueError(
                f"{error} (configs of {name} in {self.study.path}; paths begin where lit-llm is "
                "started)"
            ) from None
        return Cell(
            name=name,
            stage=stage,
            values=values,
            seed=seed,
            needs=needs,
            run_dir=run_dir,
            configs=configs,
            words=words(configs, {**parameters, **directories}),
            written=words(stage.configs, directories),
            settings=settings,
            by_default=by_default,
        )


def _amounts_to(
    stage: Stage,
    parameters: Mapping[str, Any],
    seed: int,
    configs: Iterable[str] | None = None,
) -> dict[str, Any]:
    settings = {key: _filled(value, parameters) for key, value in stage.settings.items()}
    settings["seed_everything"] = seed
    if configs is None:
        configs = (str(_filled(config, parameters)) for config in stage.configs)
    return combined(configs, settings)


def _references(study: Study, name: str) -> list[str]:
    """The stages that a stage refers to, in any variant."""
    stage = study.stages[name]
    versions = [stage] + [
        stage.changed(changes.get(name, {}))
        for values in study.axes.values()
        for changes in values.values()
    ]
    found = (reference for version in versions for reference in version.references())
    return [reference for reference in dict.fromkeys(found) if reference in study.stages]


def _dependencies(study: Study) -> dict[str, tuple[str, ...]]:
    """The axes that each stage depends on: by changes of its own, or through a reference."""
    depends_on: dict[str, tuple[str, ...]] = {}
    for name in study.stages:
        own = {
            axis
            for axis, values in study.axes.items()
            if any(name in changes for changes in values.values())
        }
        for reference in _references(study, name):
            own |= set(depends_on[reference])
        depends_on[name] = tuple(axis for axis in study.axes if axis in own)
    return depends_on


def _variants(study: Study, axes: tuple[str, ...]) -> Iterator[dict[str, str]]:
    for names in itertools.product(*(study.axes[axis] for axis in axes)):
        yield dict(zip(axes, names, strict=True))


def _filled(value: Any, names: Mapping[str, Any]) -> Any:
    """The value with ``${name}`` replaced where the name is known; a whole value keeps its type."""
    if isinstance(value, str):
        whole = REFERENCE.fullmatch(value)
        if whole and whole[1] in names:
            return names[whole[1]]
        return REFERENCE.sub(lambda found: _replacement(found[0], found[1], names), value)
    if isinstance(value, list):
        return [_filled(item, names) for item in value]
    if isinstance(value, dict):
        return {key: _filled(item, names) for key, item in value.items()}
    return value


def _replacement(text: str, reference: str, names: Mapping[str, Any]) -> str:
    name, slash, rest = reference.partition("/")
    return f"{names[name]}{slash}{rest}" if name in names else text


def _refuse_idle_variants(planner: _Planner, stages: Iterable[Stage]) -> None:
    """Two variants must differ in what is run for them.

    Args:
        planner: after it has planned them.
        stages: those no other refers to, each with all it needs.
    """
    study = planner.study
    effects: dict[str, str] = {}  # of cells
    seen: dict[tuple[str, ...], dict[str, str]] = {}
    for values in _variants(study, tuple(study.axes)):
        cells = [planner.add(stage.name, values, stage.seeds[0]) for stage in stages]
        other = seen.setdefault(tuple(_effect(planner.cells, c, effects) for c in cells), values)
        if other is not values:
            axis = next(axis for axis in values if values[axis] != other[axis])
            one, another = (",".join(names.values()) for names in (values, other))
            raise study.document.fault(
                keys_of(study.document, axis, values[axis]),
                f"this variant changes nothing: {one!r} runs the same as {another!r}; leave it out "
                "(under variants, instead of a grid, stands what you name)",
            )


def _effect(cells: Mapping[str, Cell], name: str, known: dict[str, str]) -> str:
    """All that decides what a cell leaves, its needs' included, as text."""
    if name not in known:
        needs = {stage: _effect(cells, need, known) for stage, need in cells[name].needs.items()}
        text = json.dumps([cells[name].settings, needs], sort_keys=True)
        known[name] = hashlib.sha256(text.encode()).hexdigest()
    return known[name]


def _check_column(study: Study, column: Column, depends_on: tuple[str, ...]) -> None:
    """A figure is that of one variant: rows and column together name it."""
    for axis in depends_on:
        if axis not in study.rows and axis not in column.where:
            raise study.document.fault(
                ("table", "columns", column.name),
                f"say which {axis} is meant ({axis}: one of {', '.join(study.axes[axis])}), or "
                "make it a row",
            )
