"""What several rooms' tests share: a tiny model with its tokenizer, and data held in memory."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.loggers.logger import Logger, rank_zero_experiment
from torch.utils.data import DataLoader
from transformers import AutoConfig

from lit_llm.batch import PackedBatch
from lit_llm.data.batch_config import BatchConfig
from lit_llm.data.tagged_data_module import TaggedDataModule
from lit_llm.data.text_data_module import TextDataModule
from lit_llm.data.tokenizers import train_tokenizer
from lit_llm.optim import OptimizerConfig
from lit_llm.schedules import ScheduleConfig

TAGS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
TAGGED = [
    (["Ann", "sees", "Bonn", "."], ["B-PER", "O", "B-LOC", "O"]),
    (["Bob", "sleeps", "."], ["B-PER", "O", "O"]),
    (["In", "Ulm", "Eve", "sings", "."], ["O", "B-LOC", "B-PER", "O", "O"]),
]
SHAPE = {
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 128,
}
NO_DROPOUT = {
    "bert": {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
    "gpt2": dict.fromkeys(["resid_pdrop", "embd_pdrop", "attn_pdrop", "classifier_dropout"], 0.0),
}
# AdamW divides each gradient by its size, which turns the rounding noise of a gradient that is
# truly zero (attention ignores its keys' biases) into a full step unless eps stands above it.
STEADY = OptimizerConfig(lr=1e-2, weight_decay=0.5, eps=1e-4)
CONSTANT = ScheduleConfig("constant", warmup_fraction=0.0)


def save_tiny(directory, task, label_names, model_type="bert", std=0.3, **changes) -> str:
    """Save a random two-layer model of a task with a tokenizer of the words ``word()`` makes."""
    tokenizer = train_tokenizer((f"w{i}" for i in range(100)), vocab_size=60)
    special = {f"{name}_token_id": tokenizer.pad_token_id for name in ("pad", "bos", "eos")}
    settings = {**SHAPE, **NO_DROPOUT.get(model_type, {}), **special, **changes}
    config = AutoConfig.for_model(model_type, vocab_size=len(tokenizer), **settings)
    config.num_labels = len(label_names)
    config.id2label = dict(enumerate(label_names))
    config.label2id = {name: i for i, name in enumerate(label_names)}
    torch.manual_seed(0)
    model = task.from_config(config)
    if std is not None:  # away from zero biases and unit norms
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=std)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return str(directory)


def words(rng: random.Random, count: int) -> list[str]:
    """Words of two or three sub-words, w0 to w99."""
    return [f"w{rng.randrange(100)}" for _ in range(count)]


def sentences(lengths, seed=0) -> list[dict[str, Any]]:
    """Random words with random tags, so many words each."""
    rng = random.Random(seed)
    return [
        {
            "id": f"s{i}",
            "words": words(rng, length),
            "tags": [rng.choice(["O", "B-PER", "B-LOC"]) for _ in range(length)],
            "document": 0,
        }
        for i, length in enumerate(lengths)
    ]


def texts(lengths, labels, seed=0) -> list[dict[str, Any]]:
    """Random words with the given labels, so many words each."""
    rng = random.Random(seed)
    pairs = zip(lengths, labels, strict=True)
    return [
        {"id": f"t{i}", "text": " ".join(words(rng, length)), "label": label}
        for i, (length, label) in enumerate(pairs)
    ]


class Sentences(TaggedDataModule):
    """Tagged sentences given as lists: ``Sentences(train=[...], val=[...])``."""

    def __init__(self, context="none", max_length=None, batches=BatchConfig(), **splits) -> None:
        super().__init__(context, max_length, batches, None)
        self.splits = splits

    def read(self, split):
        return self.splits[split]

    def source(self, split):
        return self.splits.get(split)


class Texts(TextDataModule):
    """Labelled texts given as lists: ``Texts(train=[...], val=[...])``."""

    def __init__(self, truncation="head", max_length=None, batches=BatchConfig(), **splits) -> None:
        super().__init__(truncation, max_length, batches, None)
        self.splits = splits

    def read(self, split):
        return self.splits[split]

    def source(self, split):
        return self.splits.get(split)


class GivenBatches(LightningDataModule):
    """Training batches made by hand, in their order."""

    def __init__(self, label_names: list[str], batches: list[PackedBatch]) -> None:
        super().__init__()
        self.label_names = label_names
        self.batches = batches

    def train_dataloader(self):
        return DataLoader(self.batches, batch_size=None)


class Recorder(Logger):
    """Keeps what is logged: ``recorder.values("train/loss")``."""

    name, version = "recorder", 0

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int, dict[str, float]]] = []

    @property
    @rank_zero_experiment
    def experiment(self) -> None:
        return None

    def log_hyperparams(self, params, *args, **kwargs) -> None:
        pass

    def log_metrics(self, metrics, step=None) -> None:
        self.rows.append((step, metrics))

    def values(self, name: str) -> list[float]:
        return [metrics[name] for _, metrics in self.rows if name in metrics]


class Gradients(Callback):
    """Keeps what the last optimizer step was made of, by parameter name; all must have one."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.last = {name: p.grad.clone() for name, p in pl_module.named_parameters()}


class SeenItems(Callback):
    """Writes which examples each rank saw in each step, and when: ``seen-RANK.jsonl``."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        path = Path(trainer.default_root_dir) / f"seen-{trainer.global_rank}.jsonl"
        with path.open("a") as file:
            line = [trainer.global_step, [time.time(), batch.item_ids.tolist()]]
            file.write(json.dumps(line) + "\n")


class Diverges(Callback):
    """The second rank's gradient is not finite in the sixth step."""

    def on_after_backward(self, trainer, pl_module) -> None:
        if trainer.global_step == 5 and trainer.global_rank == 1:
            next(pl_module.head.parameters()).grad.view(-1)[0] = float("inf")


class Drifts(Callback):
    """The second rank's weights are changed after the fifth step."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if trainer.global_step == 5 and trainer.global_rank == 1:
            next(pl_module.head.parameters()).data += 1e-6


def quick_trainer(directory, **settings: Any) -> Trainer:
    """One CPU process, float32, nothing written, nothing printed."""
    defaults = {
        "default_root_dir": directory,
        "accelerator": "cpu",
        "devices": 1,
        "precision": "32-true",
        "logger": False,
        "log_every_n_steps": 1,
        "num_sanity_val_steps": 0,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "use_distributed_sampler": False,
    }
    return Trainer(**{**defaults, **settings})


def pack_one_row(items, row_length=None, pad_token_id=0) -> PackedBatch:
    """The items end to end in a single row."""
    length = row_length or sum(len(item["input_ids"]) for item in items)
    return PackedBatch.pack(items, [list(range(len(items)))], length, pad_token_id)


def parameters_of(module) -> dict[str, torch.Tensor]:
    """Copies of all parameters by name."""
    return {name: p.detach().clone() for name, p in module.named_parameters()}


def by_transformers_names(named, base: str) -> dict[str, torch.Tensor]:
    """Our names to those of the plain task model: ``backbone.model.x`` to ``bert.x``."""
    return {
        name.replace("backbone.model.", f"{base}.").replace("head.task_model.", ""): value
        for name, value in named.items()
    }


def assert_first_step(model, data, expected, base, directory, max_norm) -> None:
    """One optimizer step: loss, gradients and weights are those of ``references.fine_tuning``."""
    recorder, gradients = Recorder(), Gradients()
    settings = {"logger": recorder, "callbacks": [gradients], "gradient_clip_val": max_norm}
    quick_trainer(directory, max_steps=1, **settings).fit(model, data)
    loss, *tensors = expected
    assert recorder.values("train/loss") == pytest.approx([loss], rel=1e-5)
    found = (gradients.last, parameters_of(model))
    for ours, theirs in zip(found, tensors, strict=True):
        torch.testing.assert_close(by_transformers_names(ours, base), theirs)
