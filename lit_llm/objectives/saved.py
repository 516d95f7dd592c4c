"""An objective as a run left it: settings from ``config.yaml``, weights from ``best/``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import yaml
from jsonargparse import ArgumentError, ArgumentParser, set_parsing_settings

from lit_llm.backbone.backbone import Backbone
from lit_llm.objectives.objective import Objective

_SKIPPED = {"backbone", "optimizer", "schedule"}


def read_config(file: Path) -> dict[str, Any]:
    """A run's ``config.yaml``; of a run that taught a student, the student's own model.

    Raises:
        ValueError: it is not YAML, or has no model or data.
        OSError: it cannot be read.
    """
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not YAML: {' '.join(str(error).split())}") from None
    for name in ("model", "data"):
        section = config.get(name) if isinstance(config, dict) else None
        if not isinstance(section, dict) or not isinstance(section.get("init_args") or {}, dict):
            raise ValueError(f"{file}: {name} is missing or no mapping: no run wrote this")
    return {**config, "model": student_section(config["model"])}


def student_section(model: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a model's configuration that says what ``best/`` holds."""
    student = (model.get("init_args") or {}).get("student")
    return student_section(student) if isinstance(student, Mapping) else dict(model)


def objective_class(class_path: Any, packages: Sequence[str], file: Path) -> Any:
    """The class, imported only from packages the user trusts.

    Raises:
        ValueError: it is outside them, or no objective.
    """
    module, _, name = str(class_path).rpartition(".")
    if not any(f"{module}.".startswith(f"{package}.") for package in packages):
        raise ValueError(
            f"{file}: model.class_path = {class_path} is outside lit_llm; if you trust it, allow "
            f"it with --allow_import {module.partition('.')[0] or 'PACKAGE'}"
        )
    try:
        found = getattr(import_module(module), name, None)
    except ImportError as error:
        raise ValueError(f"{file}: model.class_path = {class_path}: {error}") from None
    if not isinstance(found, type) or not issubclass(found, Objective):
        raise ValueError(f"{file}: model.class_path = {class_path} is no objective")
    return found


def saved_objective(run_dir: Path, packages: Iterable[str] = ()) -> Objective:
    """A finished run's best model, on the CPU.

    Args:
        run_dir: has ``config.yaml`` and ``best/``.
        packages: beside our own, whose objective may be imported.

    Raises:
        ValueError: the configuration names no objective we may import, or settings it does not
            take; ``best/`` has no head for its labels, or labels of somebody else's.
        OSError: a file cannot be read.
    """
    file = run_dir / "config.yaml"
    model, trusted = read_config(file)["model"], ("lit_llm", *packages)
    found = objective_class(model.get("class_path"), trusted, file)
    saved = model.get("init_args") or {}
    attention = (saved.get("backbone") or {}).get("attn_implementation")
    backbone = Backbone(str(run_dir / "best"), attn_implementation=attention)
    objective: Objective = found(backbone, **_options(found, saved, trusted, file))
    objective.build_saved()
    return objective


def _options(
    found: type[Objective], saved: Mapping[str, Any], packages: Sequence[str], file: Path
) -> dict[str, Any]:
    """The objective's own settings, checked against its signature as in training."""
    set_parsing_settings(import_path_denylist=["*"], import_path_allowlist=[*packages, "torch.nn"])
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(found, skip=_SKIPPED)
    own = {key: value for key, value in saved.items() if key not in _SKIPPED}
    try:
        parsed = parser.instantiate(parser.parse_object(own))
    except ArgumentError as error:
        message = " ".join(str(error.message).split())
        raise ValueError(f"{file}: model.init_args: {message}") from None
    return cast("dict[str, Any]", parsed.as_dict())
