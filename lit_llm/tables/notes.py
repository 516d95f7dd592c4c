"""What the reader of a table must know: what is missing, and where the figures come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from lit_llm.study.ledger import Verdict

_MOST_NAMES = 6


def notes(
    verdicts: Mapping[str, Verdict],
    records: Mapping[str, Mapping[str, Any] | None],
    results: Mapping[str, Mapping[str, Any]],
    sources: Collection[str] = (),
) -> list[str]:
    """Sentences to stand below a table.

    Args:
        verdicts: on each cell that a column asks for.
        records: how finished cells came about.
        results: what the finished ones found.
        sources: finished cells that those read from.
    """
    used = [name for name in verdicts if name in results]
    made = [*used, *(name for name in sources if name not in used)]
    return [
        *_unfinished(verdicts, records),
        *_references([results[name] for name in used]),
        *_provenance([records[name] or {} for name in made]),
        *_mixed("in different precision", (str(results[name].get("precision")) for name in made)),
    ]


def _unfinished(
    verdicts: Mapping[str, Verdict], records: Mapping[str, Mapping[str, Any] | None]
) -> list[str]:
    remain = {name: verdict.kind for name, verdict in verdicts.items() if verdict.kind != "done"}
    waiting = [name for name, kind in remain.items() if kind == "wait"]
    ended = [name for name, kind in remain.items() if kind == "keep"]
    new = [name for name in remain if records[name] is None and name not in ended]
    stale = [name for name in remain if name not in {*waiting, *ended, *new}]
    sentences = {
        "Finished, and left out until lit-llm run takes them over": ended,
        "Not finished": new,
        "Left out, for the study has changed since they ran": stale,
        "Left out until what they read from has run again": waiting,
    }
    return [f"{what}: {_listed(names)}." for what, names in sentences.items() if names]


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def _references(results: Iterable[Mapping[str, Any]]) -> list[str]:
    """What simple methods reach, where the data know it."""
    by_data = {str(found.get("data")): found.get("references") or {} for found in results}
    return [
        f"For comparison, on {data}: "
        + ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in scores.items())
        + "."
        for data, scores in by_data.items()
        if scores
    ]


def _provenance(records: list[Mapping[str, Any]]) -> list[str]:
    """Commits and versions; a warning where they are mixed."""
    commits = [" and ".join(map(_short, record["commits"])) for record in records]
    found = _mixed("with different commits", commits)
    if not found and commits:
        found = [f"Commit {commits[0]}."]
    packages: dict[str, list[str]] = {}
    for record in records:
        for name, version in (record["environment"].get("packages") or {}).items():
            packages.setdefault(name, []).append(str(version))
    for name, versions in packages.items():
        found += _mixed(f"with different versions of {name}", versions)
    return found


def _short(commit: str | None) -> str:
    if commit is None:
        return "unknown"
    name, _, dirty = commit.partition("-")
    return f"{name[:10]}{' with uncommitted changes' if dirty else ''}"


def _mixed(what: str, values: Iterable[str]) -> list[str]:
    counts = Counter(values)
    if len(counts) < 2:
        return []
    said = (f"{value} ({n} run{'s' if n > 1 else ''})" for value, n in counts.items())
    return [f"**Made {what}:** {', '.join(said)}."]
