"""What the guards cost: blocks of steps with and without them, in turn, in one run.

``python -m experiments.guards.run --backbone tiny mini --devices 1 2``

On: agreeing on saves and stops, the comparison of weights between ranks, each at its default. Off:
neither. The check for loss and gradients that are not finite is in both: it looks at numbers that
every step has on the CPU anyway. Saving is timed by itself.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from torch import Tensor

from lit_llm.backbone.backbone import Backbone
from lit_llm.callbacks.checkpoints import Checkpoints
from lit_llm.callbacks.same_weights import SameWeights
from lit_llm.data.batch_config import BatchConfig
from lit_llm.data.toy_ner import ToyNER
from lit_llm.environment import environment
from lit_llm.objectives.token_classification import TokenClassification


class Switchable(TokenClassification):
    """The objective with its guards behind a switch."""

    guarded = True

    def agree(self, sums: Tensor | None = None) -> list[float]:
        """Without guards: the sums alone."""
        if self.guarded:
            return super().agree(sums)
        assert sums is not None
        if self.trainer.world_size > 1:
            torch.distributed.all_reduce(sums)
        return sums.tolist()


class Blocks(Callback):
    """Switches the guards after every block of steps, and times the blocks."""

    def __init__(self, steps: int, warmup_steps: int) -> None:
        self.steps, self.warmup_steps = steps, warmup_steps
        self.guards = [Checkpoints(), SameWeights()]
        self.seconds: list[tuple[bool, float]] = []
        self._began = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """The guards' clocks begin."""
        for guard in self.guards:
            guard.on_train_start(trainer, pl_module)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Close a block, open the next."""
        done = trainer.global_step - self.warmup_steps
        if done >= 0 and done % self.steps == 0:
            now = time.perf_counter()
            if done:
                self.seconds.append((pl_module.guarded, now - self._began))
            pair, second = divmod(done // self.steps, 2)
            pl_module.guarded = bool(second) == bool(pair % 2)  # on off, off on, on off ...
            self._began = now
        if pl_module.guarded:
            for guard in self.guards:
                guard.on_train_batch_start(trainer, pl_module, batch, batch_idx)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: Any, optimizer: Any) -> None:
        """Pass on."""
        if pl_module.guarded:
            for guard in self.guards:
                guard.on_before_optimizer_step(trainer, pl_module, optimizer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Pass on."""
        if pl_module.guarded:
            for guard in self.guards:
                guard.on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)


def measure(backbone: str, devices: int, pairs: int, steps: int) -> dict[str, Any]:
    """The ratio of a step's time with guards to that without: median and 95 % interval."""
    seed_everything(0, verbose=False)
    tokenizer = None if "/" in backbone else "train:2000"
    model = Switchable(Backbone(backbone, tokenizer=tokenizer, attention_dropout=0.0))
    blocks = Blocks(steps, warmup_steps=2 * steps)
    with tempfile.TemporaryDirectory() as directory:
        trainer = Trainer(
            default_root_dir=directory,
            accelerator="cpu",
            devices=devices,
            strategy="ddp" if devices > 1 else "auto",
            max_steps=(2 * pairs + 2) * steps + 1,
            max_epochs=-1,
            limit_val_batches=0,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            gradient_clip_val=1.0,
            callbacks=[blocks],
        )
        trainer.fit(model, ToyNER(context="none", batches=BatchConfig(examples_per_batch=32)))
        saver = Checkpoints()
        saver.setup(trainer, model, "fit")
        began = time.perf_counter()
        trainer.save_checkpoint(Path(directory) / "step-1", weights_only=False)
        save = time.perf_counter() - began
        saver.teardown(trainer, model, "fit")
    ratios = []
    for (guarded, a), (_, b) in zip(blocks.seconds[::2], blocks.seconds[1::2], strict=True):
        ratios.append(a / b if guarded else b / a)
    low, high = interval(ratios)
    return {
        "backbone": backbone,
        "devices": devices,
        "pairs": len(ratios),
        "steps_per_block": steps,
        "milliseconds_per_step": statistics.median(s for _, s in blocks.seconds) / steps * 1e3,
        "ratio": statistics.median(ratios),
        "ratio_low": low,
        "ratio_high": high,
        "seconds_per_save": save,
        **environment(),
    }


def interval(ratios: list[float]) -> tuple[float, float]:
    """95 % bootstrap interval of the median."""
    rng = random.Random(0)
    medians = sorted(statistics.median(rng.choices(ratios, k=len(ratios))) for _ in range(2000))
    return medians[50], medians[1949]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m experiments.guards.run")
    parser.add_argument("--backbone", nargs="+", default=["tiny", "mini"])
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--steps", type=int, default=10, help="steps of a block")
    parser.add_argument("--results", type=Path, default=Path("runs/guards.jsonl"))
    args = parser.parse_args()
    if len(args.devices) > 1 or len(args.backbone) > 1:
        for backbone in args.backbone:
            for devices in args.devices:
                words = ["--backbone", backbone, "--devices", str(devices)]
                words += ["--pairs", str(args.pairs), "--steps", str(args.steps)]
                words += ["--results", str(args.results)]
                subprocess.run([sys.executable, "-m", "experiments.guards.run", *words], check=True)
        return
    row = measure(args.backbone[0], args.devices[0], args.pairs, args.steps)
    if os.environ.get("LOCAL_RANK", "0") == "0":
        args.results.parent.mkdir(parents=True, exist_ok=True)
        with args.results.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print({k: row[k] for k in list(row)[:9]})


if __name__ == "__main__":
    main()
