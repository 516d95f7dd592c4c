"""``study.yaml``: stages, what varies, seeds and the table, read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lit_llm.strict_yaml import Document, Keys, did_you_mean, read_value
from lit_llm.study.columns import Column, read_table
from lit_llm.study.settings import plain
from lit_llm.study.stages import Stage, check_name, read_stages, references
from lit_llm.study.variants import Changes, keys_of, read_axes

_TOP = ("stages", "variants", "grid", "seeds", "parameters", "table")


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
        against: axis -> value of the row that each other is compared with; None: of no row.
    """

    name: str
    document: Document
    stages: Mapping[str, Stage]
    axes: Mapping[str, Mapping[str, Changes]]
    parameters: Mapping[str, Any]
    rows: tuple[str, ...]
    columns: tuple[Column, ...]
    against: Mapping[str, str] | None = None

    @property
    def path(self) -> Path:
        """The file it was read from."""
        return self.document.path


def read_study(path: Path, parameters: Mapping[str, str] | None = None) -> Study:
    """Read a study.

    Args:
        path: the YAML file, or the directory that holds it as ``study.yaml``.
        parameters: values that replace the file's own, as typed on the command line: text where
            the file has text, and elsewhere what the file would hold.

    Raises:
        ValueError: names file, line and key, and what to do.
    """
    path = path / "study.yaml" if path.is_dir() else path
    document = Document(path)
    content = document.content
    document.check_keys(content, (), _TOP)
    stages = read_stages(document)
    axes = read_axes(document, stages)
    given = _parameters(document, stages, parameters or {})
    name = path.parent.resolve().name if path.stem == "study" else path.stem
    table = read_table(document, stages, axes)
    layout = (table.rows, table.columns, table.against)
    study = Study(name, document, stages, axes, given, *layout)
    _check_references(study)
    return study


def _parameters(
    document: Document, stages: Mapping[str, Stage], given: Mapping[str, str]
) -> dict[str, Any]:
    content = document.content.get("parameters", {})
    document.check_keys(content, ("parameters",), content if isinstance(content, dict) else ())
    for name, value in content.items():
        keys: Keys = ("parameters", str(name))
        check_name(document, keys, name)
        if name in stages:
            raise document.fault(keys, "a stage has this name")
        if references(value):
            raise document.fault(keys, "a parameter does not refer to others")
    for name in given:
        if name not in content:
            raise ValueError(
                f"--set {name}: {document.path} has no such parameter{did_you_mean(name, content)}"
            )
    texts = {name for name, value in content.items() if isinstance(plain(value), str)}
    typed = {name: text if name in texts else read_value(text) for name, text in given.items()}
    return {**content, **typed}


def _check_references(study: Study) -> None:
    """A stage refers to parameters and to stages before it, and every parameter has a use."""
    document = study.document
    before: list[str] = []
    used: set[str] = set()
    for name, stage in study.stages.items():
        versions: list[tuple[Keys, Stage]] = [(("stages", name), stage)]
        for axis, values in study.axes.items():
            for value, changes in values.items():
                version = stage.changed(changes.get(name, {}))
                versions.append((keys_of(document, axis, value), version))
        for keys, version in versions:
            used.update(version.references())
            for reference in version.references():
                if reference in study.stages and reference in references(version.configs):
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
    for name in study.parameters:
        if name not in used:
            raise document.fault(
                ("parameters", str(name)),
                f"no stage refers to it: write ${{{name}}} where it is meant, or leave it out",
            )
