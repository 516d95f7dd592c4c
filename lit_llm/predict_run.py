"""A finished run's best model, read from its directory without a trainer or its data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lit_llm.backbone.backbone import Backbone
from lit_llm.data.in_force import checked_max_length
from lit_llm.objectives.saved import objective_class, read_config, saved_objective
from lit_llm.predict_model import Predictor, Reading
from lit_llm.predict_text import TextGenerator
from lit_llm.sampling import Sampling


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
    file, packages = run_dir / "config.yaml", tuple(allow_import)
    config = read_config(file)
    found = objective_class(config["model"].get("class_path"), ("lit_llm", *packages), file)
    if getattr(found, "unit", None) == "continuation":
        return TextGenerator(run_dir / "best", sampling, device)
    if sampling != Sampling():
        raise ValueError(
            f"{file}: {found.__name__} samples nothing: leave out --temperature and such"
        )
    objective = saved_objective(run_dir, packages)
    reading = _reading(config["data"].get("init_args") or {}, objective.backbone, file)
    return Predictor(objective, reading, device)


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
