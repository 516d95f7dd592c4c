"""Memory and start-up with a corpus and one ten times as long: each run a fresh process.

``python -m experiments.corpus_size.run --data_dir data``
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq

from lit_llm.environment import environment

OBJECTIVES = {"clm": "causal_lm", "mlm_sop": "masked_lm"}
DOCUMENTS = 5_000  # of the short corpus; the long one has ten times as many
STEPS = 20


def write_corpora(data_dir: Path, directory: Path) -> dict[int, Path]:
    """IMDB's unlabelled reviews as JSON lines: a tenth of them, and all. By number of documents."""
    texts = pq.read_table(data_dir / "imdb" / "unsupervised.parquet")["text"].to_pylist()
    paths = {}
    for number in (DOCUMENTS, 10 * DOCUMENTS):
        paths[number] = directory / f"reviews_{number}.jsonl"
        with paths[number].open("w", encoding="utf-8") as file:
            for text in texts[:number]:
                file.write(json.dumps({"text": text}) + "\n")
    return paths


def command(objective: str, corpus: Path, backbone: str, run_dir: Path) -> list[str]:
    """A short training run."""
    settings = {
        "run_dir": run_dir,
        "model.backbone.source": backbone if objective == "mlm_sop" else f"gpt2-{backbone}",
        "data.sources": json.dumps([{"path": str(corpus), "name": "reviews"}]),
        "data.leave_out": "null",
        "data.validation_groups": "null",
        "data.validation_fraction": 0.002,
        "trainer.max_steps": STEPS,
        "trainer.val_check_interval": STEPS,
        "trainer.log_every_n_steps": 1,
    }
    words = [sys.executable, "-m", "lit_llm", "fit"]
    words += ["--config", f"configs/{OBJECTIVES[objective]}/books_mini.yaml"]
    return words + [str(word) for key, value in settings.items() for word in (f"--{key}", value)]


def measure(words: list[str], cache_dir: Path, run_dir: Path) -> dict[str, float]:
    """Run a command.

    Returns:
        Its largest resident size, mapped files included, and that of its own memory, in GB (1e9
        bytes); seconds until its first step is logged, and all of them.

    Raises:
        RuntimeError: it failed.
    """
    start = time.perf_counter()
    settings = {"LIT_LLM_CACHE": str(cache_dir), "WANDB_MODE": "disabled"}
    with subprocess.Popen(words, env={**os.environ, **settings}) as process:
        child = psutil.Process(process.pid)
        resident = own = first_step = 0.0
        while process.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                memory = child.memory_info()
                resident = max(resident, memory.rss)
                own = max(own, memory.rss - memory.shared)
            first_step = first_step or (time.perf_counter() - start) * _has_stepped(run_dir)
            time.sleep(0.02)
    if process.returncode:
        raise RuntimeError(f"failed: {' '.join(words)}")
    return {
        "peak_rss_gb": resident / 1e9,
        "peak_own_gb": own / 1e9,
        "first_step_seconds": first_step,
        "seconds": time.perf_counter() - start,
    }


def _has_stepped(run_dir: Path) -> bool:
    file = run_dir / "metrics.csv"
    return file.exists() and file.read_text().count("\n") > 1


def main() -> None:
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--data_dir", type=Path, default=Path("data"), help="holds imdb/")
    parser.add_argument("--backbone", default="tiny")
    parser.add_argument("--objectives", nargs="+", choices=OBJECTIVES, default=list(OBJECTIVES))
    parser.add_argument("--results", type=Path, default=Path("runs/corpus_size/results.jsonl"))
    args = parser.parse_args()
    args.results.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        corpora = write_corpora(args.data_dir, directory)
        for objective in args.objectives:
            for number, corpus in corpora.items():
                for cache in ("cold", "warm"):
                    run_dir = directory / f"{objective}_{number}_{cache}"
                    words = command(objective, corpus, args.backbone, run_dir)
                    row: dict[str, Any] = measure(words, directory / "cache", run_dir)
                    row |= {"objective": objective, "documents": number, "cache": cache}
                    row |= {"backbone": args.backbone, "environment": environment()}
                    with args.results.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(row) + "\n")
                    print({key: row[key] for key in list(row)[:7]}, flush=True)


if __name__ == "__main__":
    main()
