"""What a command's configuration files and flags amount to, without building anything."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from lit_llm.strict_yaml import Document

BASE = Path(__file__).parents[1] / "base.yaml"

WITHOUT_EFFECT = (
    "wandb",
    "trainer.enable_progress_bar",
    "trainer.default_root_dir",
    "data.cache_dir",
    "data.batches.num_workers",
)
"""Settings that cannot change a result: a stage that differs in these alone is done."""

_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?e[-+]?\d+", re.IGNORECASE)


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
    _update(flat, {flag_name(key): plain(value) for key, value in settings.items()})
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
        if isinstance(value, Mapping) and (value or key == "init_args"):
            yield from _flat(value, name)
        else:
            yield name, plain(value)


def _update(flat: dict[str, Any], later: Mapping[str, Any]) -> None:
    for key, value in later.items():
        if key.endswith("+"):
            key = key.removesuffix("+")
            before = flat.get(key) or []
            value = [*before, *(value if isinstance(value, list) else [value])]
        inner = [other for other in flat if other.startswith(f"{key}.")]
        if inner and value == {}:
            continue  # nothing to merge
        if f"{key}.class_path" in inner and isinstance(value, str):
            key, inner = f"{key}.class_path", []  # the settings of the class before are kept
        for other in inner:  # what had parts is one value now, or the other way
            del flat[other]
        if key not in flat:
            parts = key.split(".")
            for length in range(1, len(parts)):
                flat.pop(".".join(parts[:length]), None)
        flat[key] = value


def flag_name(key: str) -> str:
    """A setting's name as it is typed: without ``init_args``."""
    return key.replace(".init_args.", ".")


def same(one: Any, other: Any) -> bool:
    """Whether two values are written alike: 1 is one batch, 1.0 all of them."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def plain(value: Any) -> Any:
    """A value as the command line's parser reads it: ``1e-3`` is a number, and not for YAML."""
    if isinstance(value, str):
        return float(value) if _EXPONENT.fullmatch(value) else value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def flags(settings: Mapping[str, Any]) -> list[str]:
    """The command line's words for settings."""
    words = []
    for key, value in settings.items():
        text = _word(value)
        words += [f"--{key}={text}"] if text.startswith("-") else [f"--{key}", text]
    return words


def _word(value: Any) -> str:
    if value is None or isinstance(value, bool | list | Mapping):
        return json.dumps(value)
    return str(value)


def _is(key: str, names: Iterable[str]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in names)
