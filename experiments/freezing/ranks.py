"""Do two ranks stay equal while layers are opened? ``python -m experiments.freezing.ranks``.

A 2x128 tagger on built-in sentences: the head learns, then the upper block, then everything, an
epoch each, five epochs in all, plain SGD. Each system runs on one process and on two (gloo), which
see the same sentences in each step. ``lightning`` can only open the whole backbone at once.
finetuning-scheduler is not one of our requirements: ``pip install finetuning-scheduler``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import BackboneFinetuning
from torch import Tensor
from transformers import AutoModelForTokenClassification, BertConfig

from lit_llm.backbone.backbone import Backbone
from lit_llm.batch import PackedBatch
from lit_llm.callbacks.progressive_unfreezing import ProgressiveUnfreezing
from lit_llm.data.batch_config import BatchConfig
from lit_llm.data.sample import SampleConfig
from lit_llm.data.tokenizers import train_tokenizer
from lit_llm.data.toy_ner import ToyNER
from lit_llm.environment import environment
from lit_llm.freezing import FreezingConfig, PhaseConfig
from lit_llm.losses.cross_entropy import cross_entropy
from lit_llm.objectives.token_classification import TokenClassification
from lit_llm.optim import OptimizerConfig
from lit_llm.schedules import ScheduleConfig

SYSTEMS = ("ours", "lightning", "finetuning-scheduler")
EPOCHS, RATE, NUM_LABELS = 5, 0.1, 9
PHASES = [
    PhaseConfig(["head"], epoch=0),
    PhaseConfig(["block 1", "head"], epoch=1),
    PhaseConfig(["*"], epoch=2),
]
WORDS_IN_A_STEP = 64  # a constant: the gradient does not depend on how a step is shared out


class Plain(LightningModule):
    """The same model and loss as a user of Lightning alone would write it."""

    def __init__(self, backbone: Backbone, num_labels: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head: Any = backbone.build(AutoModelForTokenClassification, num_labels=num_labels)

    def training_step(self, batch: PackedBatch, batch_idx: int) -> Tensor:
        """Summed loss over a constant; DDP takes the mean over the ranks."""
        logits = self.head(self.backbone.at(batch, batch.targets["positions"]))
        total, _ = cross_entropy(logits, batch.targets["labels"])
        return total / WORDS_IN_A_STEP * self.trainer.world_size

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """SGD over what learns at the start, as these callbacks ask for."""
        return torch.optim.SGD([p for p in self.parameters() if p.requires_grad], lr=RATE)


def save_source(directory: Path) -> None:
    """Random weights without dropout, and a tokenizer of the sentences."""
    texts = (" ".join(sentence["words"]) for sentence in ToyNER(context="none").read("train"))
    tokenizer = train_tokenizer(texts, vocab_size=500)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=512,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        num_labels=NUM_LABELS,
    )
    AutoModelForTokenClassification.from_config(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def finetuning_scheduler() -> Callback:
    """The same three phases, named by parameters."""
    from finetuning_scheduler import FinetuningScheduler

    below = [r"backbone\.model\.embeddings\..+", r"backbone\.model\.encoder\.layer\.0\..+"]
    phases = {
        0: {"params": [r"head\..+"], "max_transition_epoch": 1},
        1: {
            "params": [r"backbone\.model\.encoder\.layer\.1\..+"],
            "max_transition_epoch": 2,
            "lr": RATE,
        },
        2: {"params": below, "max_transition_epoch": EPOCHS, "lr": RATE},
    }
    return FinetuningScheduler(ft_schedule=phases, epoch_transitions_only=True, restore_best=False)


def callback_of(system: str) -> Callback:
    """What opens the layers."""
    if system == "ours":
        return ProgressiveUnfreezing()
    if system == "lightning":
        return BackboneFinetuning(
            1, lambda epoch: 1.0, backbone_initial_lr=RATE, should_align=False
        )
    return finetuning_scheduler()


def train(system: str, world_size: int, directory: Path) -> None:
    """One process of one run; each rank writes its weights."""
    warnings.filterwarnings("ignore")
    seed_everything(0)
    backbone = Backbone(str(directory / "source"))
    data = ToyNER(
        context="none",
        batches=BatchConfig(examples_per_batch=8, seed=0),
        sample=SampleConfig(train=64),
    )
    schedule = ScheduleConfig(
        "constant", warmup_steps=0, freezing=FreezingConfig("custom", phases=PHASES)
    )
    optimizer = OptimizerConfig("sgd", lr=RATE, weight_decay=0.0, momentum=0.0)
    model: Any = (
        TokenClassification(backbone, optimizer, schedule)
        if system == "ours"
        else Plain(backbone, NUM_LABELS)
    )
    trainer = Trainer(
        default_root_dir=directory,
        accelerator="cpu",
        devices=world_size,
        strategy="ddp_find_unused_parameters_true" if world_size > 1 else "auto",
        max_epochs=EPOCHS,
        limit_val_batches=0,
        callbacks=[callback_of(system)],
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=system == "finetuning-scheduler",
        use_distributed_sampler=False,
    )
    trainer.fit(model, data)
    weights = {name: p.detach().clone() for name, p in model.named_parameters()}
    torch.save(weights, directory / f"world{world_size}-rank{trainer.global_rank}.pt")


def difference(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    """The largest difference of any weight."""
    return max((ours[name] - theirs[name]).abs().max().item() for name in ours)


def compare(system: str) -> dict[str, Any]:
    """How far two ranks are from each other, and from one process."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        save_source(directory / "source")
        for world_size in (1, 2):
            words = ["--only", system, str(world_size), name]
            quiet = {"OMP_NUM_THREADS": "1", "LIT_LLM_CACHE": f"{name}/cache{world_size}"}
            subprocess.run(
                [sys.executable, "-m", "experiments.freezing.ranks", *words],
                env={**os.environ, **quiet},
                stdout=sys.stderr,
                check=True,
            )
        found = {
            who: torch.load(directory / f"world{who[0]}-rank{who[1]}.pt", weights_only=True)
            for who in ((1, 0), (2, 0), (2, 1))
        }
    return {
        "system": system,
        "between_ranks": difference(found[2, 0], found[2, 1]),
        "from_one_process": difference(found[2, 0], found[1, 0]),
    }


def main() -> None:
    """Print a table, append the rows."""
    parser = argparse.ArgumentParser(prog="python -m experiments.freezing.ranks")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--results", type=Path, default=Path("runs/freezing/ranks.jsonl"))
    parser.add_argument("--only", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        system, world_size, directory = options.only
        train(system, int(world_size), Path(directory))
        return
    options.results.parent.mkdir(parents=True, exist_ok=True)
    print("| system | between ranks | from one process |\n| --- | --- | --- |")
    for system in options.systems:
        row = compare(system)
        print(f"| {system} | {row['between_ranks']:.1e} | {row['from_one_process']:.1e} |")
        with options.results.open("a") as file:
            file.write(json.dumps({**row, "environment": environment()}) + "\n")


if __name__ == "__main__":
    main()
