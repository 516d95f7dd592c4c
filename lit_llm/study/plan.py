"""From a study to its cells: every stage of every variant with every seed, each one command."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lit_llm.study.settings import combined, flags
from lit_llm.study.stages import REFERENCE, Stage
from lit_llm.study.strict_yaml import Keys
from lit_llm.study.study_file import Study

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
        words: the command, after ``lit-llm``.
        written: the same as the study has it, its parameters not filled in.
        settings: what configuration files and flags amount to; ``${stage}`` stands for what comes
            from an earlier stage.
    """

    name: str
    stage: Stage
    values: Values
    seed: int
    needs: Mapping[str, str]
    run_dir: Path
    words: tuple[str, ...]
    written: tuple[str, ...]
    settings: Mapping[str, Any]

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
        ValueError: a configuration file is missing, a variant changes nothing, or a stage needs a
            seed that another was not run with.
    """
    depends_on = _dependencies(study)
    found: dict[str, Cell] = {}
    referred = {name for stage in study.stages for name in _references(study, stage)}
    wanted = [
        (number, position, stage, values, seed)
        for position, stage in enumerate(study.stages.values())
        if stage.name not in referred  # the others run where one of these needs them
        for values in _variants(study, depends_on[stage.name])
        for number, seed in enumerate(stage.seeds)
    ]
    for _, _, stage, values, seed in sorted(wanted, key=lambda item: item[:2]):
        _add(study, runs, depends_on, found, stage.name, values, seed)
    if not allow_idle:
        _refuse_idle_variants(study)
    return Plan(study, found, depends_on)


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


def _add(
    study: Study,
    runs: Path,
    depends_on: Mapping[str, tuple[str, ...]],
    found: dict[str, Cell],
    name: str,
    values: Values,
    seed: int,
) -> Cell:
    """The cell of a stage, planned with all it needs unless it is there already."""
    values = {axis: values[axis] for axis in depends_on[name]}
    place = f"{','.join(values.values()) or 'shared'}/{name}/seed={seed}"
    if place in found:
        return found[place]
    stage = _in_variant(study, name, values)
    needs = {}
    for reference in stage.references():
        if reference in study.stages:
            their_seed = _seed_for(study, stage, reference, seed)
            needs[reference] = _add(
                study, runs, depends_on, found, reference, values, their_seed
            ).name
    found[place] = _cell(study, runs, place, stage, values, seed, needs)
    return found[place]


def _in_variant(study: Study, name: str, values: Values) -> Stage:
    stage = study.stages[name]
    for axis, value in values.items():
        stage = stage.changed(study.axes[axis][value].get(name, {}))
    return stage


def _seed_for(study: Study, stage: Stage, reference: str, seed: int) -> int:
    theirs = study.stages[reference].seeds
    if seed in theirs:
        return seed
    if len(theirs) == 1:
        return theirs[0]
    raise study.document.fault(
        ("stages", reference, "seeds"),
        f"{stage.name} with seed {seed} needs {reference} with that seed, or one for all; it has "
        f"{', '.join(map(str, theirs))}",
    )


def _cell(
    study: Study,
    runs: Path,
    place: str,
    stage: Stage,
    values: Values,
    seed: int,
    needs: Mapping[str, str],
) -> Cell:
    run_dir = runs / place
    configs = [str(_filled(config, study.parameters)) for config in stage.configs]
    settings = {k: _filled(v, study.parameters) for k, v in stage.settings.items()}
    directories = {reference: str(runs / needed) for reference, needed in needs.items()}
    ours = ("--seed_everything", str(seed), "--run_dir", str(run_dir))

    def words(configs: Iterable[str], settings: Mapping[str, Any]) -> tuple[str, ...]:
        given = flags({key: _filled(value, directories) for key, value in settings.items()})
        files = [word for config in configs for word in ("--config", config)]
        return (stage.command, *files, *given, *ours)

    try:
        combination = combined(configs, {**settings, "seed_everything": seed})
    except ValueError as error:
        raise ValueError(
            f"{error} (configs of {place} in {study.path}; paths begin where lit-llm is started)"
        ) from None
    return Cell(
        name=place,
        stage=stage,
        values=values,
        seed=seed,
        needs=needs,
        run_dir=run_dir,
        words=words(configs, settings),
        written=words(stage.configs, stage.settings),
        settings=combination,
    )


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


def _refuse_idle_variants(study: Study) -> None:
    """Two values of an axis must differ in some stage."""
    for axis, values in study.axes.items():
        seen: dict[str, list[Any]] = {}
        for value, changes in values.items():
            effect = _effect(study, changes)
            same = [other for other, theirs in seen.items() if theirs == effect]
            if same:
                keys: Keys = ("variants", value)
                if "grid" in study.document.content:
                    keys = ("grid", axis, value)
                raise study.document.fault(
                    keys, f"this variant changes nothing: it is the same as {same[0]!r}"
                )
            seen[value] = effect


def _effect(study: Study, changes: Mapping[str, Mapping[str, Any]]) -> list[Any]:
    """What all stages amount to under one axis's changes alone."""
    stages = [stage.changed(changes.get(stage.name, {})) for stage in study.stages.values()]
    return [
        combined(
            [str(_filled(config, study.parameters)) for config in stage.configs],
            {key: _filled(value, study.parameters) for key, value in stage.settings.items()},
        )
        for stage in stages
    ]
