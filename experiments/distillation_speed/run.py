"""Distillation with its teacher cached, live and under the Hugging Face Trainer.

``python -m experiments.distillation_speed.run``
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformers.utils import logging

from experiments.distillation_speed.inputs import write_models, write_sample
from experiments.distillation_speed.settings import SYSTEMS, Settings
from experiments.distillation_speed.shapes import SHAPES, ceiling_of
from experiments.distillation_speed.table import table, verdicts
from experiments.speed.run import append_row, commit, run_one
from experiments.speed.settings import DEFAULT_MODEL

ONE = "experiments.distillation_speed.one"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m experiments.distillation_speed.run",
        description=(
            "Measure whole distillations of a tagger: teacher cached, teacher live, and a Hugging "
            "Face Trainer that asks it in its loss; each run a fresh process."
        ),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    p.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    p.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS[:3]))
    p.add_argument("--epochs", type=int, default=3)
    p.add_argument("--examples", type=int, help="sentences; default: the shape's own")
    p.add_argument("--repetitions", type=int, default=5, help="rounds through all systems")
    p.add_argument("--examples_per_batch", type=int, default=32)
    p.add_argument("--max_length", type=int, default=512)
    p.add_argument("--model", default=DEFAULT_MODEL, help="pkg://..., directory or hub id")
    p.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    p.add_argument("--data_dir", default="../shared/data")
    p.add_argument("--seed", type=int, default=1, help="of the sample and the first repetition")
    p.add_argument("--threads", type=int, default=0, help="of torch; 0: its own choice")
    default = Path("runs/distillation_speed/results.jsonl")
    p.add_argument("--results", type=Path, default=default)
    return p


def plan(args: argparse.Namespace, shape: str, directory: Path) -> list[tuple[int, Settings]]:
    """(repetition, settings) in running order: systems alternate, so drift meets them all."""
    return [
        (
            repetition,
            Settings(
                system=system,
                shape=shape,
                student=str(directory / "student"),
                teacher=str(directory / "teacher"),
                data_dir=str(directory),
                device=args.device,
                epochs=args.epochs,
                examples_per_batch=args.examples_per_batch,
                seed=args.seed + repetition,
                threads=args.threads,
                max_length=args.max_length,
            ),
        )
        for repetition in range(args.repetitions)
        for system in args.systems
    ]


def measured(args: argparse.Namespace, name: str) -> Iterator[dict[str, Any]]:
    """One shape's rows after the other's, as they come."""
    run = {"run": time.strftime("%Y-%m-%dT%H:%M:%S"), "commit": commit(), "model": args.model}
    shape = SHAPES[name]
    examples = args.examples or shape.examples
    run |= {"examples": examples, "ceiling": ceiling_of(shape, args.model, args.epochs)}
    with tempfile.TemporaryDirectory() as directory:
        write_sample(args.data_dir, examples, args.seed, Path(directory))
        write_models(shape, args.model, directory, Path(directory))
        for repetition, settings in plan(args, name, Path(directory)):
            # An empty cache each time: the teacher's scores are computed within the time.
            with tempfile.TemporaryDirectory() as cache_dir:
                row = run_one(settings, cache_dir, ONE)
            yield run | {"repetition": repetition} | row


def main(argv: list[str] | None = None) -> None:
    args = parser().parse_args(argv)
    logging.set_verbosity_error()  # new heads are meant
    logging.disable_progress_bar()
    args.results.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    for shape in args.shapes:
        for row in measured(args, shape):
            rows.append(row)
            append_row(args.results, row)
            print(
                f"{shape} #{row['repetition']} {row['system']}: {row['seconds']:.1f} s, "
                f"{row['cpu_seconds']:.1f} s of CPU, {row['timed_steps']} steps, "
                f"{row['tokens_per_second']:,.0f} tokens/s",
                flush=True,
            )
    print(f"\n{table(rows)}\n\n{verdicts(rows)}\n\nrows appended to {args.results}")


if __name__ == "__main__":
    main()
