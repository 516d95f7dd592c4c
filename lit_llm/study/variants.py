"""What varies in a study: named changes to its stages, along one axis or several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lit_llm.strict_yaml import Document, Keys, did_you_mean
from lit_llm.study.settings import flag_name
from lit_llm.study.stages import Stage, check_name, check_setting, read_configs

Changes = Mapping[str, Mapping[str, Any]]
"""What a variant changes: stage -> setting (or ``configs``) -> value."""

RESERVED = ("stage", "metric", "reaches", "in", "mode")
"""Keys of a table's column beside the names of axes."""

_TAKEN = ("table.md", "table.csv")
"""What else stands where variants have their directories."""


def read_axes(document: Document, stages: Mapping[str, Stage]) -> dict[str, Mapping[str, Changes]]:
    """What varies: axis -> value's name -> changes; ``variants`` are one axis of that name.

    Raises:
        ValueError: names file, line and key.
    """
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
        check_name(document, keys, axis)
        if axis in RESERVED:
            raise document.fault(keys, f"an axis cannot be called {axis}: columns have such a key")
        if axis in axes:
            raise document.fault(keys, f"there are two axes {axis!r}: name one of them in full")
        axes[axis] = _values(document, keys, values, stages)
    _refuse_overlaps(document, axes)
    return axes


def _refuse_overlaps(document: Document, axes: Mapping[str, Mapping[str, Changes]]) -> None:
    """Of two axes that change one setting the first would change nothing; files are appended."""
    changed_by: dict[tuple[str, str], str] = {}
    for axis, values in axes.items():
        for value, changes in values.items():
            for stage, settings in changes.items():
                for setting in settings:
                    first = changed_by.setdefault((stage, flag_name(setting)), axis)
                    if first != axis and setting != "configs+":
                        raise document.fault(
                            keys_of(document, axis, value),
                            f"{stage}.{setting} is changed by {first} too: leave it to one axis",
                        )


def _values(
    document: Document, keys: Keys, content: Any, stages: Mapping[str, Stage]
) -> dict[str, Changes]:
    if not isinstance(content, dict) or not content:
        raise document.fault(keys, "names and what each changes were expected: 'NAME: {}'")
    values: dict[str, Changes] = {}
    for name, changes in content.items():
        where = (*keys, str(name))
        check_name(document, where, name)
        if str(name).lower() in _TAKEN:
            raise document.fault(where, "the study's table is a file of this name")
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
                value = list(read_configs(document, here, value))
            else:
                check_setting(document, here, setting, value, stages[stage].command)
            by_stage.setdefault(stage, {})[setting] = value
        values[str(name)] = by_stage
    return values


def keys_of(document: Document, axis: str, value: str) -> Keys:
    """Where a value of an axis stands in the file."""
    if "variants" in document.content:
        return ("variants", value)
    grid = document.content["grid"]
    name = next(str(key) for key in grid if str(key).rpartition(".")[2] == axis or key == axis)
    return ("grid", name, value)
