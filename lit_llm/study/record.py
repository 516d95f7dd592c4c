"""What was asked of a cell and what came of it: how done work is recognised."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lit_llm.run_directory import write_json
from lit_llm.secrets import redacted
from lit_llm.study.content import Hashes, file_sha256, path_in
from lit_llm.study.plan import Cell
from lit_llm.study.record_shape import KEPT, SCHEMA, is_record, is_request
from lit_llm.study.settings import same

RESULTS_VERSION = 1
"""Raise by hand when the same commands must give other results: every stage runs again."""

RECORD = "stage.json"
ENVIRONMENT_FILE = "environment.json"
_DATA_STAND_SECONDS = 60.0  # a study of thousands of stages looks at its data once a minute
_ENVIRONMENT = ("python", "platform", "packages", "processor", "threads", "gpus", "cuda")


def request(
    cell: Cell,
    outputs: Mapping[str, str | None],
    hashes: Hashes,
    scored: Cell | None = None,
) -> dict[str, Any]:
    """All that decides a cell's result, as plain data.

    Args:
        cell: one command.
        outputs: content of what each needed stage left, by stage.
        hashes: to look into files with.
        scored: the cell whose run this one scores: its data count where this one names none.

    Returns:
        ``results_version``; ``command``; ``settings``: without those that
            name a file or directory that is here; ``inputs``: these, with where they are by
            default and what they hold; ``needs``.
    """
    settings: dict[str, Any] = {}
    inputs: dict[str, Any] = {}
    for name, item, by_default, path in _settings(cell, scored):
        content = path and hashes.of(path, _DATA_STAND_SECONDS)
        if content is None:
            settings[name] = _as_json(item)
        else:
            inputs[name] = {"by_default": by_default, "content": content}
    return {
        "results_version": RESULTS_VERSION,
        "command": cell.stage.command,
        "settings": settings,
        "inputs": inputs,
        "needs": dict(outputs),
    }


def inputs_of(cell: Cell, scored: Cell | None = None) -> list[Path]:
    """Files and directories that are here and that the settings name; ``scored`` as there."""
    return [path for *_, path in _settings(cell, scored) if path is not None and path.exists()]


def _settings(cell: Cell, scored: Cell | None) -> Iterator[tuple[str, Any, Any, Path | None]]:
    """Settings one by one: name, value, value by default, and the path it may name."""
    settings, defaults = cell.settings, cell.by_default
    if scored is not None:
        settings = {**_of_scoring(scored.settings), **settings}
        defaults = {**_of_scoring(scored.by_default), **defaults}
    for key, value in settings.items():
        by_default = dict(_items(key, defaults.get(key)))
        for name, item in _items(key, value):
            yield name, item, by_default.get(name), path_in(key, item)


def _of_scoring(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What says what a run is scored on; the rest of its settings shows in its weights."""
    return {k: value for k, value in settings.items() if k.startswith(("data.", "trainer.limit_"))}


def _as_json(value: Any) -> Any:
    """A value that a file of JSON holds as it is: infinity and "not a number" by their names."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _as_json(item) for key, item in value.items()}
    return [_as_json(item) for item in value] if isinstance(value, list) else value


def _items(key: str, value: Any) -> list[tuple[str, Any]]:
    """A setting; where paths stand in a list of paths or of mappings, its elements one by one."""
    if isinstance(value, list) and any(_names_path(key, item) for item in value):
        parts = [(f"{key}[{number}]", item) for number, item in enumerate(value)]
    elif isinstance(value, Mapping) and "[" in key:
        return [(f"{key}.{name}", item) for name, item in value.items()]
    else:
        return [(key, value)]
    return [found for part in parts for found in _items(*part)]


def _names_path(key: str, item: Any) -> bool:
    if isinstance(item, Mapping):
        return any(path_in(f"{key}.{name}", value) is not None for name, value in item.items())
    return path_in(key, item) is not None


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What has changed between two requests, a phrase each; nothing if the result still stands.

    An input that is not on this machine is taken to be what it was.
    """
    found = []
    for key in ("results_version", "command"):
        if before[key] != now[key]:
            found.append(f"{key} {before[key]} -> {now[key]}")
    old, new = dict(before["inputs"]), dict(now["inputs"])
    for key in old.keys() - new.keys():  # data that are not here are taken to be what they were
        if same(old[key].get("by_default"), now["settings"].get(key)):
            del old[key]
    for key in sorted(old.keys() | new.keys()):
        if old.get(key, {}).get("content") != new.get(key, {}).get("content"):
            found.append(f"what {key} holds" if key in old and key in new else key)
    inputs = before["inputs"].keys() | now["inputs"].keys()
    for key in sorted(before["settings"].keys() | now["settings"].keys()):
        was, value = before["settings"].get(key), now["settings"].get(key)
        if key not in inputs and not _same(key, was, value):
            found.append(f"{key} {_short(key, was)} -> {_short(key, value)}")
    for stage in sorted(before["needs"].keys() | now["needs"].keys()):
        if before["needs"].get(stage) != now["needs"].get(stage):
            found.append(f"what {stage} left")
    return found


def _same(key: str, recorded: Any, value: Any) -> bool:
    """Whether a recorded setting is this one; a secret was written down as ``***``."""
    return same(recorded, value) or same(recorded, redacted({key: value})[key])


def _short(key: str, value: Any) -> str:
    text = json.dumps(redacted({key: value})[key])
    return text if len(text) <= 40 else f"{text[:37]}..."


def keep(
    cell: Cell, asked: Mapping[str, Any], place: Path, hashes: Hashes, seconds: float | None
) -> dict[str, Any]:
    """Copy a finished run's figures to where results are kept, with the record of how they came.

    Args:
        cell: what was run.
        asked: its ``request``.
        place: the cell's directory among the results.
        hashes: to look into files with.
        seconds: what the command took; None if that is not known.

    Raises:
        ValueError: the run left no results.
    """
    for name in (*KEPT, ENVIRONMENT_FILE):
        if not (cell.run_dir / name).exists():
            raise ValueError(f"{cell.name}: it ended without a {name} in {cell.run_dir}")
    place.mkdir(parents=True, exist_ok=True)
    (place / RECORD).unlink(missing_ok=True)  # until all is written there is no record
    for name in KEPT:
        (place / name).write_bytes((cell.run_dir / name).read_bytes())
    facts = read_json(cell.run_dir / ENVIRONMENT_FILE)
    starts = [facts, *facts.get("resumed", [])]
    record = {
        "schema": SCHEMA,
        "cell": cell.name,
        "command": ["lit-llm", *_without_machine(cell)],
        "commits": list(dict.fromkeys(start.get("commit") for start in starts)),
        "seconds": seconds and round(seconds, 1),
        "request": dict(asked),
        "outputs": outputs_of(cell, hashes),
        "files": {name: file_sha256(place / name) for name in KEPT},
        "environment": {key: facts.get(key) for key in _ENVIRONMENT},
    }
    write_json(place / RECORD, record)
    return record


def _without_machine(cell: Cell) -> list[str]:
    """The command as the study has it; an absolute place of the runs is the command line's."""
    runs = runs_of(cell)
    if not runs.is_absolute():
        return list(cell.written)
    return [word.replace(f"{runs}/", "${runs}/") for word in cell.written]


def runs_of(cell: Cell) -> Path:
    """The directory of the study's runs."""
    return cell.run_dir.parents[cell.name.count("/")]


def left_by(cell: Cell) -> Path:
    """What later stages read from a run: ``best/``, else its results."""
    best = cell.run_dir / "best"
    return best if best.exists() else cell.run_dir / "results.json"


def outputs_of(cell: Cell, hashes: Hashes) -> str | None:
    """Content of what later stages read from a run; None: it is not here."""
    return hashes.of(left_by(cell))


def read_record(place: Path) -> dict[str, Any] | None:
    """The record of a finished cell; None if there is none.

    Raises:
        ValueError: a file was changed or removed after it was written, ``stage.json`` itself
            among them; the message says what to do.
    """
    path = place / RECORD
    if not path.exists():
        return None
    remedy = f"restore it (git checkout {place}), or remove {place} to run the stage again"
    try:
        record = read_json(path)
    except ValueError as error:
        raise ValueError(f"{error}; {remedy}") from None
    if not is_record(record):
        raise ValueError(f"{path}: this version of lit_llm writes its records otherwise; {remedy}")
    for name, sha256 in record["files"].items():
        file = place / name
        if not file.exists():
            raise ValueError(f"{file} is missing, which {path} speaks of; {remedy}")
        if file_sha256(file) != sha256:
            raise ValueError(f"{file} is not what the stage wrote (its SHA-256 differs); {remedy}")
    return record


def read_results(place: Path) -> dict[str, Any]:
    """A finished cell's ``results.json``."""
    return read_json(place / "results.json")


def read_request(path: Path) -> dict[str, Any] | None:
    """What a run directory was started with; None if that is not known."""
    try:
        asked = read_json(path)
    except (OSError, ValueError):
        return None
    return asked if is_request(asked) else None


def read_json(path: Path) -> dict[str, Any]:
    """A file's JSON object.

    Raises:
        ValueError: it holds anything else.
        OSError: it cannot be read.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: this is not JSON ({error})") from None
    if not isinstance(data, dict):
        raise ValueError(f"{path}: a JSON object was expected")
    return data
