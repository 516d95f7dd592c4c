"""What a command's configuration files and flags amount to, without building anything."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from lit_llm.study.strict_yaml import Document

BASE = Path(__file__).parents[1] / "base.yaml"

WITHOUT_EFFECT = (
    "wandb",
    "trainer.enable_progress_bar",
    "trainer.default_root_dir",
    "data.cache_dir",
    "data.batches.num_workers",
)
"""Settings that cannot change a result: a stage that differs in these alone is done."""

_NUMBER = re.compile(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)
_WORDS = {"null": None, "none": None, "true": True, "false": False}


def combined(configs: Iterable[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Every setting of a run under its flag's name, later files and flags winning.

    The rules are LightningCLI's: mappings merge deeply, lists are replaced, ``name+`` appends to
    one. ``init_args`` is left out of the names, as on the command line.

    Args:
        configs: configuration files, in order, after ``base.yaml``.
        settings: flags without their dashes.

    Raises:
        ValueError: a file is missing or no YAML mapping.
    """
    flat = dict(_of_files(tuple(configs)))
    _update(flat, {k.replace(".init_args.", "."): plain(v) for k, v in settings.items()})
    return {key: value for key, value in flat.items() if not _is(key, WITHOUT_EFFECT)}


@cache
def _of_files(configs: tuple[str, ...]) -> Mapping[str, Any]:
    if not configs:
        return _of_file(str(BASE))
    flat = dict(_of_files(configs[:-1]))
    _update(flat, _of_file(configs[-1]))
    return flat


@cache
def _of_file(path: str) -> Mapping[str, Any]:
    return dict(_flat(Document(Path(path)).content, ""))


def _flat(content: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, Any]]:
    for key, value in content.items():
        name = prefix if key == "init_args" else f"{prefix}.{key}".lstrip(".")
        if isinstance(value, Mapping) and value:
            yield from _flat(value, name)
        else:
            yield name, plain(value)


def _update(flat: dict[str, Any], later: Mapping[str, Any]) -> None:
    for key, value in later.items():
        if key.endswith("+"):
            key = key.removesuffix("+")
            before = flat.get(key) or []
            value = [*before, *(value if isinstance(value, list) else [value])]
        if key not in flat:  # it may stand for a part of what was one value, or the other way
            parts = key.split(".")
            for length in range(1, len(parts)):
                flat.pop(".".join(parts[:length]), None)
            for inner in [other for other in flat if other.startswith(f"{key}.")]:
                del flat[inner]
        flat[key] = value


def plain(value: Any) -> Any:
    """A value as the command line's parser reads it: ``1e-3`` is a number there too."""
    if isinstance(value, str):
        if value.lower() in _WORDS:
            return _WORDS[value.lower()]
        if _NUMBER.fullmatch(value):
            return float(value)
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def flags(settings: Mapping[str, Any]) -> list[str]:
    """The command line's words for settings."""
    return [word for key, value in settings.items() for word in (f"--{key}", _word(value))]


def _word(value: Any) -> str:
    if value is None or isinstance(value, bool | list | Mapping):
        return json.dumps(value)
    return str(value)


def _is(key: str, names: Iterable[str]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in names)
