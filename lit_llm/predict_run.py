"""A finished run's best model, read from its directory without a trainer or its data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import yaml
from jsonargparse import ArgumentError, ArgumentParser, set_parsing_settings

from lit_llm.backbone.backbone import Backbone
from lit_llm.data.in_force import checked_max_length
from lit_llm.objectives.objective import Objective
from lit_llm.predict_model import Predictor, Reading
from lit_llm.predict_text import TextGenerator
from lit_llm.sampling import Sampling

_SKIPPED = {"backbone", "optimizer", "schedule"}


def load_predictor(
    run_dir: Path,
    allow_import: Iterable[str],
    device: str = "cpu",
    sampling: Sampling = Sampling(),
) -> Predictor | TextGenerator:
    """Build a run's best model from ``config.yaml`` and ``best/``.

    Args:
        run_dir: has both.
        allow_import: packages, beside our own, whose objective may be imported.
        device: where it is to run.
        sampling: of a causal language model, whose answer to a text is its continuation.

    Raises:
        ValueError: the configuration names no objective we may import, or settings it does not
            take; ``best/`` has no head for its labels, or labels of somebody else's.
        OSError: a file cannot be read.
    """
    file = run_dir / "config.yaml"
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not YAML: {' '.join(str(error).split())}") from None
    model, data = _section(config, "model", file), _section(config, "data", file)
    packages = ("lit_llm", *allow_import)
    objective_class = _objective_class(model.get("class_path"), packages, file)
    if getattr(objective_class, "unit", None) == "continuation":
        return TextGenerator(run_dir / "best", sampling, device)
    if sampling != Sampling():
        raise ValueError(
            f"{file}: {objective_class.__name__} samples nothing: leave out --temperature and such"
        )
    saved = model.get("init_args") or {}
    attention = (saved.get("backbone") or {}).get("attn_implementation")
    backbone = Backbone(str(run_dir / "best"), attn_implementation=attention)
    objective = objective_class(backbone, **_options(objective_class, saved, packages, file))
    objective.build_saved()
    return Predictor(objective, _reading(data.get("init_args") or {}, backbone, file), device)


def _section(config: Any, name: str, file: Path) -> dict[str, Any]:
    section = config.get(name) if isinstance(config, dict) else None
    if not isinstance(section, dict) or not isinstance(section.get("init_args") or {}, dict):
        raise ValueError(f"{file}: {name} is missing or no mapping: no run wrote this")
    return section


def _objective_class(class_path: Any, packages: Sequence[str], file: Path) -> Any:
    """The class, imported only from packages the user trusts."""
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


def _options(
    objective_class: type[Objective], saved: Mapping[str, Any], packages: Sequence[str], file: Path
) -> dict[str, Any]:
    """The objective's own settings, checked against its signature as in training."""
    set_parsing_settings(import_path_denylist=["*"], import_path_allowlist=[*packages, "torch.nn"])
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(objective_class, skip=_SKIPPED)
    own = {key: value for key, value in saved.items() if key not in _SKIPPED}
    try:
        parsed = parser.instantiate(parser.parse_object(own))
    except ArgumentError as error:
        message = " ".join(str(error.message).split())
        raise ValueError(f"{file}: model.init_args: {message}") from None
    return cast("dict[str, Any]", parsed.as_dict())


def _reading(saved: Mapping[str, Any], backbone: Backbone, file: Path) -> Reading:
    """The run's settings; a data module that has none of them reads as ours do by default."""
    for key, kind in (("context", str), ("truncation", str), ("max_length", int)):
        value = saved.get(key)
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            raise ValueError(f"{file}: data.init_args.{key} = {value!r} is no {kind.__name__}")
    return Reading(
        context=saved.get("context") or "none",
        truncation=saved.get("truncation") or "head",
        max_length=checked_max_length(saved.get("max_length"), backbone.max_positions),
    )
