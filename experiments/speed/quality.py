"""The Trainer's entity F1 on CoNLL-2003 at given hyper-parameters, one JSON row per seed.

``python -m experiments.speed.quality --seeds 1 2 3``; ``--estimate_steps 30`` only times it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from seqeval.metrics import f1_score
from transformers import (
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    Trainer,
    set_seed,
)

from experiments.speed import hugging_face_data as data
from experiments.speed.hugging_face import build_model, measure, training_arguments
from experiments.speed.one import environment
from experiments.speed.run import commit
from experiments.speed.settings import DEFAULT_MODEL, Settings, dropout_pairs, model_path


def parser() -> argparse.ArgumentParser:
    """The command line; its defaults are configs/token_classification/conll2003_minilm.yaml's."""
    p = argparse.ArgumentParser(
        prog="python -m experiments.speed.quality",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    p.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    p.add_argument(
        "--system", choices=("trainer_default", "trainer_tuned"), default="trainer_default"
    )
    p.add_argument("--max_epochs", type=float, default=4)
    p.add_argument("--lr", type=float, default=1e-4)
    p.add_argument("--examples_per_batch", type=int, default=32)
    p.add_argument("--weight_decay", type=float, default=0.01)
    p.add_argument("--warmup_fraction", type=float, default=0.1)
    p.add_argument("--lr_scheduler_type", default="linear")
    p.add_argument("--max_grad_norm", type=float, default=1.0)
    p.add_argument("--dropout", type=dropout_pairs, default="0.1/0", help="hidden/attention")
    p.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    p.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    p.add_argument("--model", default=DEFAULT_MODEL)
    p.add_argument("--max_length", type=int, default=512)
    p.add_argument("--data_dir", default="../shared/data")
    p.add_argument("--results", type=Path, default=Path("runs/speed/quality.jsonl"))
    p.add_argument("--estimate_steps", type=int, help="time this many steps, print the estimate")
    return p


def settings_of(args: argparse.Namespace, seed: int) -> Settings:
    """The part of the hyper-parameters that the speed benchmark knows too."""
    ((dropout, attention_dropout),) = args.dropout
    return Settings(
        system=args.system,
        task="ner",
        device=args.device,
        precision=args.precision,
        dropout=dropout,
        attention_dropout=attention_dropout,
        model=args.model,
        data_dir=args.data_dir,
        steps=args.estimate_steps or 60,
        warmup_steps=5,
        examples_per_batch=args.examples_per_batch,
        max_length=args.max_length,
        lr=args.lr,
        weight_decay=args.weight_decay,
        max_grad_norm=args.max_grad_norm,
        seed=seed,
    )


class Scorer:
    """Entity F1 of word-level tags by seqeval's default mode (the conlleval rules)."""

    def __init__(self, names: list[str]) -> None:
        self.names = names

    def __call__(self, prediction: Any) -> dict[str, float]:
        """As run_ner.py scores: the sub-words that carry a label, one per word."""
        scores, labels = prediction
        best = scores.argmax(-1)
        kept = [row != data.IGNORED for row in labels]
        gold = [self._tags(row[k]) for row, k in zip(labels, kept, strict=True)]
        predicted = [self._tags(row[k]) for row, k in zip(best, kept, strict=True)]
        return {"entity_f1": float(f1_score(gold, predicted))}

    def _tags(self, indices: np.ndarray[Any, Any]) -> list[str]:
        return [self.names[i] for i in indices]


def load_splits(settings: Settings) -> tuple[dict[str, Dataset], list[str], Any]:
    """({split: tokenised sentences}, label names, tokenizer).

    Raises:
        ValueError: a sentence was cut, so that gold entities would be missing from the score.
    """
    tokenizer = AutoTokenizer.from_pretrained(model_path(settings.model))
    splits: dict[str, Dataset] = {}
    names: list[str] = []
    for split in data.CONLL_FILES:
        sentences = data.conll2003(settings.data_dir, split)
        names = names or data.label_names(sentences)
        rows = data.tokenize_words(sentences, tokenizer, names, settings.max_length)
        words = sum(len(tags) for tags in sentences["ner_tags"])
        scored = sum(label != data.IGNORED for labels in rows["labels"] for label in labels)
        if scored != words:
            raise ValueError(f"{split}: {words - scored} words are cut off: raise --max_length")
        splits[split] = rows
    return splits, names, tokenizer


def train_and_score(args: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Train one seed, keep the epoch best on dev, score test with it once."""
    settings = settings_of(args, seed)
    splits, names, tokenizer = load_splits(settings)
    set_seed(seed)
    model = build_model(settings, AutoModelForTokenClassification, names)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as directory:
        trainer = Trainer(
            model=model,
            args=training_arguments(
                settings,
                output_dir=directory,
                num_train_epochs=args.max_epochs,
                lr_scheduler_type=args.lr_scheduler_type,
                warmup_steps=args.warmup_fraction,
                per_device_eval_batch_size=64,
                eval_strategy="epoch",
                save_strategy="epoch",
                save_total_limit=1,
                load_best_model_at_end=True,
                metric_for_best_model="entity_f1",
                greater_is_better=True,
            ),
            train_dataset=splits["train"],
            eval_dataset=splits["validation"],
            processing_class=tokenizer,
            data_collator=DataCollatorForTokenClassification(tokenizer),
            compute_metrics=Scorer(names),
        )
        trainer.train()
        test = trainer.predict(splits["test"]).metrics["test_entity_f1"]
    epochs = [row for row in trainer.state.log_history if "eval_entity_f1" in row]
    best = max(epochs, key=lambda row: row["eval_entity_f1"])
    return {
        "dev_entity_f1": best["eval_entity_f1"],
        "test_entity_f1": test,
        "best_epoch": best["epoch"],
        "dev_entity_f1_by_epoch": [row["eval_entity_f1"] for row in epochs],
        "train_steps": trainer.state.global_step,
        "minutes": (time.perf_counter() - began) / 60,
    }


def estimate(args: argparse.Namespace) -> str:
    """Minutes of one seed's training from a few steps; dev and test passes come on top."""
    result = measure(settings_of(args, args.seeds[0]))
    sentences = len(data.conll2003(args.data_dir, "train"))
    steps = -(-sentences // args.examples_per_batch) * args.max_epochs
    minutes = steps * result["seconds"] / result["timed_steps"] / 60
    return f"about {minutes:.1f} minutes of training per seed ({steps:.0f} steps)"


def main(argv: list[str] | None = None) -> None:
    args = parser().parse_args(argv)
    if args.estimate_steps:
        print(estimate(args))
        return
    args.results.parent.mkdir(parents=True, exist_ok=True)
    left_out = ("seeds", "results", "estimate_steps", "dropout")
    given = {key: value for key, value in vars(args).items() if key not in left_out}
    ((given["dropout"], given["attention_dropout"]),) = args.dropout
    rows = []
    for seed in args.seeds:
        row = {"commit": commit(), "seed": seed, **given, **environment(args.device)}
        row |= train_and_score(args, seed)
        rows.append(row)
        with args.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(f"seed {seed}: dev {row['dev_entity_f1']:.4f}, test {row['test_entity_f1']:.4f}")
    for split in ("dev", "test"):
        scores = [row[f"{split}_entity_f1"] for row in rows]
        deviation = f" ± {np.std(scores, ddof=1):.4f}" if len(scores) > 1 else ""
        print(f"{split}_entity_f1: {np.mean(scores):.4f}{deviation} ({len(scores)} seeds)")


if __name__ == "__main__":
    main()
