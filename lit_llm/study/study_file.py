"""``study.yaml``: stages, what varies, seeds and the table, read and checked."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lit_llm.study.strict_yaml import Document, Keys, did_you_mean

COMMANDS = ("fit", "validate", "test")
"""Commands a stage may be: each fills a ``--run_dir`` with a ``results.json``."""

REFERENCE = re.compile(r"\$\{([^}]*)\}")
"""``${name}``: an earlier stage's run directory, or one of the study's parameters."""

_NAME = re.compile(r"[A-Za-z0-9][\w.+=-]*")
_OURS = ("run_dir", "resume", "seed_everything", "config")
_SHARED = "shared"

Changes = Mapping[str, Mapping[str, Any]]
"""What a variant changes: stage -> setting (or ``configs``) -> value."""


@dataclass(frozen=True)
class Stage:
    """One step of a study: a ``lit-llm`` command.

    Attributes:
        name: its key in the file.
        command: one of ``COMMANDS``.
        configs: configuration files, later ones win.
        settings: flags without their dashes, such as ``trainer.max_epochs``.
        seeds: those it is run with.
    """

    name: str
    command: str
    configs: tuple[str, ...]
    settings: Mapping[str, Any]
    seeds: tuple[int, ...]

    def changed(self, changes: Mapping[str, Any]) -> Stage:
        """The stage as a variant has it."""
        configs, settings = self.configs, dict(self.settings)
        for key, value in changes.items():
            if key == "configs":
                configs = tuple(value)
            elif key == "configs+":
                configs = (*configs, *value)
            else:
                settings[key] = value
        return Stage(self.name, self.command, configs, settings, self.seeds)

    def references(self) -> list[str]:
        """Names in ``${...}``, in order, each once."""
        texts = itertools.chain(self.configs, _strings(list(self.settings.values())))
        found = (name for text in texts for name in REFERENCE.findall(text))
        return list(dict.fromkeys(name.split("/")[0] for name in found))


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: its heading.
        stage: whose results.
        metric: a key of ``metrics`` in ``results.json``, or a dotted path in the file.
        where: value of each axis that the rows do not name.
    """

    name: str
    stage: str
    metric: str
    where: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """A study as its file says it.

    Attributes:
        name: the directory the file stands in, or the file's own name if that is not ``study``.
        document: the file.
        stages: in order; a stage refers to earlier ones only.
        axes: what varies: axis -> value's name -> changes. Without variants there is none.
        parameters: values for ``${name}``.
        rows: axes that make the table's rows.
        columns: of the table.
    """

    name: str
    document: Document
    stages: Mapping[str, Stage]
    axes: Mapping[str, Mapping[str, Changes]]
    parameters: Mapping[str, Any]
    rows: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def path(self) -> Path:
        """The file it was read from."""
        return self.document.path


def read_study(path: Path, parameters: Mapping[str, Any] | None = None) -> Study:
    """Read a study.

    Args:
        path: the YAML file, or the directory that holds it as ``study.yaml``.
        parameters: values that replace the file's own.

    Raises:
        ValueError: names file, line and key, and what to do.
    """
    path = path / "study.yaml" if path.is_dir() else path
    document = Document(path)
    content = document.content
    document.check_keys(content, (), _TOP)
    stages = _stages(document)
    axes = _axes(document, stages)
    given = _parameters(document, stages, dict(parameters or {}))
    name = path.parent.resolve().name if path.stem == "study" else path.stem
    rows, columns = _table(document, stages, axes)
    study = Study(name, document, stages, axes, given, rows, columns)
    _check_references(study)
    return study


_TOP = ("stages", "variants", "grid", "seeds", "parameters", "table")


def _stages(document: Document) -> dict[str, Stage]:
    content = document.content.get("stages")
    if not isinstance(content, dict) or not content:
        raise document.fault(("stages",), "a study names at least one stage")
    all_seeds = _seeds(document, ("seeds",), document.content.get("seeds", [0]))
    stages = {}
    for name, stage in content.items():
        keys: Keys = ("stages", str(name))
        _check_name(document, keys, name)
        document.check_keys(stage, keys, ("command", "configs", "settings", "seeds"))
        command = stage.get("command", "fit")
        if command not in COMMANDS:
            raise document.fault(
                (*keys, "command"), f"a stage is one of {', '.join(COMMANDS)}, not {command!r}"
            )
        seeds = all_seeds
        if "seeds" in stage:
            seeds = _seeds(document, (*keys, "seeds"), stage["seeds"])
        configs = _configs(document, (*keys, "configs"), stage.get("configs", []))
        settings = stage.get("settings", {})
        _check_settings(document, (*keys, "settings"), settings)
        stages[str(name)] = Stage(str(name), command, configs, settings, seeds)
    return stages


def _seeds(document: Document, keys: Keys, content: Any) -> tuple[int, ...]:
    numbers = content if isinstance(content, list) else []
    if not numbers or any(type(seed) is not int or seed < 0 for seed in numbers):
        raise document.fault(
            keys, f"a list of numbers such as [0, 1, 2] was expected, not {content!r}"
        )
    twice = sorted({seed for seed in numbers if numbers.count(seed) > 1})
    if twice:
        raise document.fault(keys, f"seed {twice[0]} is given twice")
    return tuple(numbers)


def _configs(document: Document, keys: Keys, content: Any) -> tuple[str, ...]:
    if not isinstance(content, list) or any(not isinstance(item, str) for item in content):
        raise document.fault(keys, f"a list of configuration files was expected, not {content!r}")
    return tuple(content)


def _check_settings(document: Document, keys: Keys, content: Any) -> None:
    if not isinstance(content, dict):
        raise document.fault(keys, "settings such as 'trainer.max_epochs: 3' were expected")
    for key, value in content.items():
        where = (*keys, str(key))
        if str(key) in _OURS:
            remedy = (
                "use configs"
                if key == "config"
                else "use seeds"
                if "seed" in key
                else "leave it out"
            )
            raise document.fault(where, f"the study sets this itself: {remedy}")
        if isinstance(value, dict):
            raise document.fault(
                where, f"settings are written as flags are: {key}.{next(iter(value), 'KEY')}: VALUE"
            )


def _check_name(document: Document, keys: Keys, name: Any) -> None:
    if not _NAME.fullmatch(str(name)) or str(name) == _SHARED:
        raise document.fault(
            keys, f"a name is made of letters, digits and _ . + = - (and is not {_SHARED!r})"
        )


def _axes(document: Document, stages: Mapping[str, Stage]) -> dict[str, Mapping[str, Changes]]:
    content = document.content
    if "variants" in content and "grid" in content:
        raise document.fault(("grid",), "a study has variants or a grid, not both")
    if "variants" in content:
        return {"variant": _values(document, ("variants",), content["variants"], stages)}
    grid = content.get("grid", {})
    if not isinstance(grid, dict):
        raise document.fault(("grid",), "axes were expected, each with its values")
    axes: dict[str, Mapping[str, Changes]] = {}
    for name, values in grid.items():
        keys: Keys = ("grid", str(name))
        if isinstance(values, list):  # one setting and the values it takes
            axis = str(name).rpartition(".")[2]
            values = {str(value): {str(name): value} for value in values}
            if len(values) < len(grid[name]):
                raise document.fault(keys, "a value is given twice")
        else:
            axis = str(name)
        _check_name(document, keys, axis)
        if axis in axes:
            raise document.fault(keys, f"there are two axes {axis!r}: name one of them in full")
        axes[axis] = _values(document, keys, values, stages)
    return axes


def _values(
    document: Document, keys: Keys, content: Any, stages: Mapping[str, Stage]
) -> dict[str, Changes]:
    if not isinstance(content, dict) or not content:
        raise document.fault(keys, "names and what each changes were expected: 'NAME: {}'")
    values: dict[str, Changes] = {}
    for name, changes in content.items():
        where = (*keys, str(name))
        _check_name(document, where, name)
        if not isinstance(changes, dict):
            raise document.fault(
                where, "changes such as 'STAGE.SETTING: VALUE' were expected, or {}"
            )
        by_stage: dict[str, dict[str, Any]] = {}
        for key, value in changes.items():
            stage, _, setting = str(key).partition(".")
            here = (*where, str(key))
            if stage not in stages:
                raise document.fault(
                    here, f"there is no stage {stage!r}{did_you_mean(stage, stages)}"
                )
            if not setting:
                raise document.fault(
                    here, f"say which setting of {stage}: '{stage}.SETTING: VALUE'"
                )
            if setting in ("configs", "configs+"):
                value = list(_configs(document, here, value))
            else:
                _check_settings(document, where, {setting: value})
            by_stage.setdefault(stage, {})[setting] = value
        values[str(name)] = by_stage
    return values


def _parameters(
    document: Document, stages: Mapping[str, Stage], given: dict[str, Any]
) -> dict[str, Any]:
    content = document.content.get("parameters", {})
    document.check_keys(content, ("parameters",), content if isinstance(content, dict) else ())
    for name in content:
        _check_name(document, ("parameters", str(name)), name)
        if name in stages:
            raise document.fault(("parameters", name), "a stage has this name")
    for name in given:
        if name not in content:
            raise ValueError(
                f"--set {name}: {document.path} has no such parameter{did_you_mean(name, content)}"
            )
    return {**content, **given}


def _table(
    document: Document, stages: Mapping[str, Stage], axes: Mapping[str, Mapping[str, Changes]]
) -> tuple[tuple[str, ...], tuple[Column, ...]]:
    content = document.content.get("table")
    if content is None:
        raise document.fault(("table",), "a study ends with a table: 'table: {columns: [METRIC]}'")
    document.check_keys(content, ("table",), ("rows", "columns"))
    rows = content.get("rows", list(axes))
    rows = [rows] if isinstance(rows, str) else rows
    if not isinstance(rows, list):
        raise document.fault(
            ("table", "rows"), "the name of an axis was expected, or a list of them"
        )
    for row in rows:
        if row not in axes:
            raise document.fault(
                ("table", "rows"), f"there is no axis {row!r}{did_you_mean(row, axes)}"
            )
    columns = content.get("columns")
    if not columns or not isinstance(columns, list | dict):
        raise document.fault(("table", "columns"), "name at least one metric")
    if isinstance(columns, list):
        if any(not isinstance(metric, str) for metric in columns):
            raise document.fault(
                ("table", "columns"), "a list of metrics, or 'HEADING: {metric: ...}'"
            )
        columns = {metric: {"metric": metric} for metric in columns}
    return tuple(rows), tuple(
        _column(document, stages, axes, rows, str(name), column) for name, column in columns.items()
    )


def _column(
    document: Document,
    stages: Mapping[str, Stage],
    axes: Mapping[str, Mapping[str, Changes]],
    rows: list[str],
    name: str,
    content: Any,
) -> Column:
    keys: Keys = ("table", "columns", name)
    content = {"metric": content} if isinstance(content, str) else content
    document.check_keys(content, keys, ("stage", "metric", *axes))
    if not isinstance(content.get("metric"), str):
        raise document.fault(keys, "name the metric: 'metric: test/entity_f1'")
    stage = content.get("stage", list(stages)[-1])
    if stage not in stages:
        raise document.fault(keys, f"there is no stage {stage!r}{did_you_mean(stage, stages)}")
    where = {axis: str(content[axis]) for axis in axes if axis in content}
    for axis, value in where.items():
        if value not in axes[axis]:
            raise document.fault(
                (*keys, axis), f"{axis} has no value {value!r}{did_you_mean(value, axes[axis])}"
            )
        if axis in rows:
            raise document.fault((*keys, axis), f"{axis} makes the rows already")
    return Column(name, stage, content["metric"], where)


def _check_references(study: Study) -> None:
    """A stage refers to parameters and to stages before it."""
    document = study.document
    before: list[str] = []
    for name, stage in study.stages.items():
        versions: list[tuple[Keys, Stage]] = [(("stages", name), stage)]
        for axis, values in study.axes.items():
            for value, changes in values.items():
                place: Keys = ("variants", value)
                if "grid" in document.content:
                    place = ("grid", axis, value)
                versions.append((place, stage.changed(changes.get(name, {}))))
        for keys, version in versions:
            for reference in version.references():
                if reference in study.stages and any(
                    f"${{{reference}" in config for config in version.configs
                ):
                    raise document.fault(keys, "configs are read before any stage has run")
                if reference in before or reference in study.parameters:
                    continue
                if reference in study.stages:
                    order = "itself" if reference == name else f"{reference}, which comes later"
                    raise document.fault(
                        keys, f"{name} refers to {order}: stages refer to earlier ones"
                    )
                known = [*before, *study.parameters]
                raise document.fault(
                    keys,
                    f"${{{reference}}} is no earlier stage and no parameter"
                    f"{did_you_mean(reference, known)}",
                )
        before.append(name)


def _strings(data: Any) -> list[str]:
    if isinstance(data, str):
        return [data]
    if isinstance(data, Mapping):
        return [text for value in data.values() for text in _strings(value)]
    if isinstance(data, list | tuple):
        return [text for value in data for text in _strings(value)]
    return []
