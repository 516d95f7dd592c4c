"""Whether a request or a record has the parts it was written with, whoever edited it since."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SCHEMA = 1
"""Version of ``stage.json``."""

KEPT = ("results.json", "report.md")
"""Files that are copied beside it."""


def is_request(data: Any) -> bool:
    """Whether this is what ``record.request`` makes."""
    return (
        isinstance(data, Mapping)
        and "results_version" in data
        and isinstance(data.get("command"), str)
        and isinstance(data.get("settings"), Mapping)
        and isinstance(data.get("inputs"), Mapping)
        and all(
            isinstance(found, Mapping) and isinstance(found.get("content"), str)
            for found in data["inputs"].values()
        )
        and _is_hash_by_name(data.get("needs"))
    )


def is_record(data: Mapping[str, Any]) -> bool:
    """Whether this is what ``record.keep`` writes."""
    environment, commits, files = data.get("environment"), data.get("commits"), data.get("files")
    return (
        data.get("schema") == SCHEMA
        and isinstance(data.get("cell"), str)
        and is_request(data.get("request"))
        and isinstance(data.get("outputs"), str | None)
        and isinstance(data.get("seconds"), int | float | None)
        and isinstance(commits, list)
        and all(isinstance(commit, str | None) for commit in commits)
        and isinstance(environment, Mapping)
        and isinstance(environment.get("packages"), Mapping | None)
        and _is_hash_by_name(files)
        and set(files or ()) == set(KEPT)
    )


def _is_hash_by_name(data: Any) -> bool:
    return isinstance(data, Mapping) and all(isinstance(item, str | None) for item in data.values())
