"""Our training step beside the Hugging Face Trainer's: ``python -m experiments.speed.run``."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from experiments.speed.settings import (
    DEFAULT_MODEL,
    EXAMPLES_PER_BATCH,
    SYSTEMS,
    TASKS,
    Settings,
    dropout_pairs,
)
from experiments.speed.table import table

ROOT = Path(__file__).resolve().parents[2]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m experiments.speed.run",
        description=(
            "Measure training speed and memory of our step and of the Hugging Face Trainer: same "
            "model, data, precision, dropout and examples per step, each run a fresh process."
        ),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    p.add_argument("--task", nargs="+", choices=TASKS, default=list(TASKS))
    p.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    default = [system for system in SYSTEMS if system != "ours_sdpa"]
    p.add_argument("--systems", nargs="+", choices=SYSTEMS, default=default)
    p.add_argument("--dropouts", type=dropout_pairs, default="0.1/0,0/0", help="hidden/attention")
    p.add_argument("--repetitions", type=int, default=3, help="rounds through all systems")
    p.add_argument("--steps", type=int, default=60, help="optimizer steps, warm-up included")
    p.add_argument("--warmup_steps", type=int, default=10, help="first steps, not timed")
    p.add_argument("--examples_per_batch", type=int, help="default 32 for ner, 16 for imdb")
    p.add_argument("--max_length", type=int, default=512)
    p.add_argument("--model", default=DEFAULT_MODEL, help="pkg://..., directory or hub id")
    p.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    p.add_argument("--data_dir", default="../shared/data")
    p.add_argument("--seed", type=int, default=1, help="of the first repetition")
    p.add_argument("--threads", type=int, default=0, help="of torch; 0: its own choice")
    p.add_argument("--results", type=Path, default=Path("runs/speed/results.jsonl"))
    return p


def plan(args: argparse.Namespace) -> list[tuple[int, Settings]]:
    """(repetition, settings) in running order: systems alternate, so drift meets them all."""
    return [
        (
            repetition,
            Settings(
                system=system,
                task=task,
                device=args.device,
                precision=args.precision,
                dropout=dropout,
                attention_dropout=attention_dropout,
                model=args.model,
                data_dir=args.data_dir,
                steps=args.steps,
                warmup_steps=args.warmup_steps,
                examples_per_batch=args.examples_per_batch or EXAMPLES_PER_BATCH[task],
                max_length=args.max_length,
                seed=args.seed + repetition,
                threads=args.threads,
            ),
        )
        for task in args.task
        for dropout, attention_dropout in args.dropouts
        for repetition in range(args.repetitions)
        for system in args.systems
    ]


def run_one(settings: Any, cache_dir: str, module: str = "experiments.speed.one") -> dict[str, Any]:
    """Measure in a fresh process; its row.

    Args:
        settings: a dataclass with a ``system``, for ``module`` to read.
        cache_dir: where the process keeps tokenised data, and writes its row.
        module: measures one system; its arguments are the settings as JSON and the row's file.

    Raises:
        RuntimeError: the process failed; its last lines are in the message.
    """
    out = Path(cache_dir, "row.json")
    out.unlink(missing_ok=True)
    told = json.dumps(asdict(settings))
    command = [sys.executable, "-m", module, told, str(out)]
    # Both systems keep their tokenised data in this benchmark's own place, and share all else.
    environment = {
        "HF_DATASETS_CACHE": f"{cache_dir}/hf",
        "LIT_LLM_CACHE": f"{cache_dir}/lit_llm",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    }
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-25:])
        raise RuntimeError(f"{settings.system} failed, told {told}:\n{tail}")
    row: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return row


def append_row(file: Path, row: dict[str, Any]) -> None:
    """Add a row to a results file, as it comes: what was measured stays if the next one fails."""
    with file.open("a", encoding="utf-8") as opened:
        opened.write(json.dumps(row) + "\n")


def commit() -> str:
    """The checkout's commit, ``-dirty`` with changes on top; ``unknown`` outside git."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def main(argv: list[str] | None = None) -> None:
    args = parser().parse_args(argv)
    args.results.parent.mkdir(parents=True, exist_ok=True)
    name = time.strftime("%Y-%m-%dT%H:%M:%S")
    rows = []
    with tempfile.TemporaryDirectory() as cache_dir:
        for repetition, settings in plan(args):
            row = {"run": name, "repetition": repetition, "commit": commit()}
            row |= run_one(settings, cache_dir)
            rows.append(row)
            append_row(args.results, row)
            print(
                f"{row['task']} {row['dropout']:g}/{row['attention_dropout']:g} "
                f"#{repetition} {row['system']}: {row['tokens_per_second']:,.0f} tokens/s, "
                f"{row['peak_rss_gb']:.2f} GB",
                flush=True,
            )
    print(f"\n{table(rows)}\n\nrows appended to {args.results}")


if __name__ == "__main__":
    main()
