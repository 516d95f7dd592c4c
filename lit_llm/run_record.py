"""What a command leaves in its run directory once its loop has ended."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only

from lit_llm.callbacks.best_model import BestModel, epochs_made
from lit_llm.callbacks.budget import Budget
from lit_llm.callbacks.checkpoints import early_stop
from lit_llm.callbacks.throughput import Throughput
from lit_llm.data.data_module import PackedDataModule
from lit_llm.environment import environment
from lit_llm.objectives.objective import Objective
from lit_llm.run_directory import write_json, write_results


@rank_zero_only  # type: ignore[untyped-decorator]
def write_environment(run_dir: Path, arguments: list[str], resumes: bool = False) -> None:
    """Write ``environment.json``: the command and what it runs on; each resume adds its own."""
    path = run_dir / "environment.json"
    facts = {"command": arguments, **environment()}
    if resumes and path.exists():
        first = json.loads(path.read_text(encoding="utf-8"))
        facts = {**first, "resumed": [*first.get("resumed", []), facts]}
    write_json(path, facts)


def finish_fit(trainer: Trainer, model: Objective, data: PackedDataModule, run_dir: Path) -> None:
    """Score ``best/`` on the development and test set, and write everything down."""
    facts = _facts(trainer, model, data, run_dir)
    keeper = next((c for c in trainer.callbacks if isinstance(c, BestModel)), None)  # type: ignore[attr-defined]
    if keeper is not None and not trainer.fast_dev_run:  # type: ignore[attr-defined]
        keeper.complete(trainer, model)
        trainer.strategy.barrier()
        model.load_weights(keeper.directory(trainer))
        facts["best"] = keeper.best
        rank_zero_info(f"scoring the best model (step {keeper.best['step']})")
    splits = [split for split in ("val", "test") if data.has_split(split)]  # type: ignore[arg-type]
    _score(trainer, model, data, splits)
    _write(run_dir, model, facts, splits)  # whatever comes of what follows
    if more := model.closing_facts(splits):
        _write(run_dir, model, facts | more, splits, tells=False)


def finish_evaluation(
    trainer: Trainer, model: Objective, data: PackedDataModule, directory: Path, split: str
) -> None:
    """Write a ``validate`` or ``test`` command's results into its own directory."""
    _write(directory, model, _facts(trainer, model, data, directory.parent), [split])


def _score(trainer: Trainer, model: Objective, data: PackedDataModule, splits: list[str]) -> None:
    model.results = {}
    for split in splits:
        loop = trainer.validate if split == "val" else trainer.test
        loop(model, data, verbose=False)


def _facts(
    trainer: Trainer, model: Objective, data: PackedDataModule, run_dir: Path
) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "run": run_dir.name,
        "objective": type(model).__name__,
        "data": type(data).__name__,
        "backbone": model.backbone.source,
        "seed": int(os.environ.get("PL_GLOBAL_SEED", 0)),
        "label_names": model.label_names,
        "num_parameters": sum(p.numel() for p in model.kept_parameters()),
        "world_size": trainer.world_size,
        "precision": str(trainer.precision),
        "steps": trainer.global_step,
        "epochs": epochs_made(trainer),
        "notices": data.notices,
        "references": {} if data.validates_train else data.reference_rows(),
    }
    stopper = early_stop(trainer)
    if stopper is not None:
        facts["stopped_early"] = {"monitor": stopper.monitor, "step": trainer.global_step}
        rank_zero_info(
            f"stopped early at step {trainer.global_step}: {stopper.stopping_reason_message}"
        )
    budget = next((c for c in trainer.callbacks if isinstance(c, Budget)), None)  # type: ignore[attr-defined]
    if budget is not None and budget.used_up:
        facts["budget_used_up"] = {"step": trainer.global_step, **budget.used}
    counter = next((c for c in trainer.callbacks if isinstance(c, Throughput)), None)  # type: ignore[attr-defined]
    if counter is not None:
        facts["train"] = counter.summary()
        facts["evaluations"] = counter.evaluations
    return facts


@rank_zero_only  # type: ignore[untyped-decorator]
def _write(
    directory: Path,
    model: Objective,
    facts: dict[str, Any],
    splits: list[str],
    tells: bool = True,
) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    scored = {split: model.results[split] for split in splits if split in model.results}
    results = write_results(directory, scored, facts, splits[-1] if splits else "")
    if not tells:
        return
    for name, value in results["metrics"].items():
        if name.split("/")[1] in model.headline:
            rank_zero_info(f"  {name:<28} {value:.4f}")
    for name, value in results["references"].items():
        rank_zero_info(f"  {'reference: ' + name:<28} {value:.4f}")
    names = ("results.json", "predictions.jsonl", "report.md")
    written = ", ".join(name for name in names if (directory / name).exists())
    rank_zero_info(f"written to {directory}/: {written}")
