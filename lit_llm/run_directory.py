"""A run's directory: what it holds and how it is written (docs/run_directory.md)."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from lit_llm.durable import replace_text
from lit_llm.secrets import redact, redact_yaml, redacted

RESULTS_SCHEMA = 1
"""Version of ``results.json`` and ``predictions.jsonl``."""

LOCK = ".lock"
"""File that the process training in a run directory holds."""


def fresh_run_dir(requested: str | None) -> Path:
    """The directory of a new run, created.

    Args:
        requested: a path that does not exist or is empty; None makes a new one under ``runs/``.

    Raises:
        ValueError: the directory holds something already.
    """
    if requested is None:
        stem = Path("runs") / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        requested, number = str(stem), 1
        while Path(requested).exists():
            number += 1
            requested = f"{stem}_{number}"
    path = Path(requested)
    if path.is_file() or (path.is_dir() and any(_visible(path))):
        raise ValueError(
            f"--run_dir {path} is not empty: choose another, or continue it with --resume {path}"
        )
    path.mkdir(parents=True, exist_ok=True)
    return path


def _visible(path: Path) -> Iterator[Path]:
    """Files but those of a process that ended before it had written its first."""
    return (file for file in path.iterdir() if not file.name.startswith("."))


def discard_if_nothing_was_trained(path: Path) -> None:
    """Remove the directory of a run that failed before it logged or saved anything."""
    if not any((path / name).exists() for name in ("metrics.csv", "checkpoints", "best")):
        shutil.rmtree(path, ignore_errors=True)


def existing_run(requested: str, flag: str, needs: str) -> Path:
    """An earlier run's directory.

    Raises:
        ValueError: it lacks ``config.yaml`` or what the command needs.
    """
    path = Path(requested)
    for name in ("config.yaml", needs):
        if not (path / name).exists():
            raise ValueError(f"{flag} {path}: there is no {name} in it, so it is no such run")
    return path


def write_text(path: Path, text: str) -> None:
    """Write a file beside its place, flush it, and rename it there; secrets become ``***``.

    A setting that is a secret has to be given again to resume: ``config.yaml`` does not hold it.
    """
    replace_text(path, redact_yaml(text) if path.suffix == ".yaml" else redact(text))


def write_json(path: Path, data: Any) -> None:
    """Write plain data as indented JSON; a number that is not finite becomes null."""
    text = json.dumps(redacted(_finite(data)), indent=2, ensure_ascii=False, allow_nan=False)
    replace_text(path, text + "\n")


def write_records(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object a line; as it is, for these are the user's texts and labels."""
    lines = (json.dumps(_finite(dict(record)), ensure_ascii=False) for record in records)
    replace_text(path, "".join(f"{line}\n" for line in lines))


def write_results(
    directory: Path,
    split_results: Mapping[str, Mapping[str, Any]],
    facts: Mapping[str, Any],
    predictions_of: str,
) -> dict[str, Any]:
    """Write ``results.json``, ``report.md`` and, of what predicts, ``predictions.jsonl``.

    Args:
        directory: the run's, or the command's inside it.
        split_results: what ``Objective.results`` holds: metrics, tables, text and records of each
            evaluated split.
        facts: what else to record (seed, best step, parameters, training totals, ...).
        predictions_of: the split whose records are written; a language model has none.

    Returns:
        The results.
    """
    metrics = {
        f"{split}/{name}": value
        for split, result in split_results.items()
        for name, value in result["metrics"].items()
    }
    tables = {split: result["tables"] for split, result in split_results.items()}
    results = {"schema": RESULTS_SCHEMA, **facts, "metrics": metrics, "tables": tables}
    records = split_results.get(predictions_of, {}).get("records", [])
    predictions = directory / "predictions.jsonl"
    if records:
        write_records(predictions, records)
    else:
        predictions.unlink(missing_ok=True)
    write_text(directory / "report.md", render_report(results, split_results))
    write_json(directory / "results.json", results)
    return results


def render_report(results: Mapping[str, Any], splits: Mapping[str, Mapping[str, Any]]) -> str:
    """The results as a page of Markdown."""
    lines = [f"# {results.get('run', 'Run')}", ""]
    for key in ("objective", "data", "backbone", "seed", "num_parameters"):
        if key in results:
            lines.append(f"- {key.replace('_', ' ')}: {results[key]}")
    best = results.get("best") or {}
    if best:
        lines.append(
            f"- best model: step {best['step']}, epoch {best['epoch']}, "
            f"{best['monitor']} {best['value']:.4f}"
        )
    for key, value in (results.get("train") or {}).items():
        lines.append(f"- training {key.replace('_', ' ')}: {_short(value)}")
    for split, counts in (results.get("notices") or {}).items():
        lines += [f"- {split}: {count:,} {what}" for what, count in counts.items()]
    lines += ["", "## Metrics", "", "| metric | value |", "| --- | ---: |"]
    lines += [f"| {name} | {_short(value)} |" for name, value in results["metrics"].items()]
    for name, value in (results.get("references") or {}).items():
        lines.append(f"| *{name.replace('_', ' ')} (reference)* | {_short(value)} |")
    lines += _student_and_teacher(results.get("distillation") or {})
    for split, result in splits.items():
        if result["text"]:
            lines += ["", f"## {split}", "", "```", result["text"].rstrip(), "```"]
    return "\n".join(lines) + "\n"


def _student_and_teacher(facts: Mapping[str, Any]) -> list[str]:
    """How a student compares with its teacher, as a table."""
    if not facts:
        return []
    lines = ["", "## Student and teacher", "", "| | student | teacher |", "| --- | ---: | ---: |"]
    for key in ("parameters", "bytes", "latency_ms", "tokens_per_second"):
        ours, theirs = facts["student"][key], facts["teacher"][key]
        lines.append(f"| {key.replace('_', ' ')} | {_short(ours)} | {_short(theirs)} |")
    lines.append("")
    for name, part in facts["retained"].items():
        lines.append(
            f"- {name}: {100 * part:.1f} % of the teacher's, which has "
            f"{facts['teacher']['metrics'][name]:.4f}"
        )
    for split, part in facts["agreement"].items():
        lines.append(f"- {split}: both say the same of {100 * part:.1f} %")
    return lines


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _finite(data: Any) -> Any:
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, Mapping):
        return {str(key): _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return data
