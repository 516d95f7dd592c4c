"""The system to beat: ``transformers.Trainer`` with its own defaults, and tuned."""

from __future__ import annotations

import dataclasses
import tempfile
from collections import deque
from typing import Any

import torch
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    GPT2LMHeadModel,
    PreTrainedModel,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from experiments.speed import hugging_face_data as data
from experiments.speed.decoder import write_decoder
from experiments.speed.meter import Meter
from experiments.speed.settings import Settings, model_path


class CountingCollator:
    """Counts real tokens where they are made, on the host; the Trainer fetches one batch ahead."""

    def __init__(self, collator: Any) -> None:
        self.collator = collator
        self.counts: deque[tuple[int, int, int]] = deque()

    def __call__(self, features: list[dict[str, Any]]) -> Any:
        """(real tokens, tokens, examples) is queued; the batch itself is left as it is."""
        batch = self.collator(features)
        mask = batch["attention_mask"]
        self.counts.append((int(mask.sum()), mask.numel(), len(mask)))
        return batch


class MeterCallback(TrainerCallback):
    """Hands each finished step to the meter."""

    def __init__(self, meter: Meter, collator: CountingCollator) -> None:
        self.meter = meter
        self.collator = collator

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The model stands on its device."""
        self.meter.start(kwargs["model"])

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The optimizer has stepped."""
        self.meter.step(*self.collator.counts.popleft())


def training_arguments(settings: Settings, **changes: Any) -> TrainingArguments:
    """The Trainer's defaults but for what is measured; tuned: lengths grouped, fused AdamW."""
    values: dict[str, Any] = {
        "per_device_train_batch_size": settings.examples_per_batch,
        "learning_rate": settings.lr,
        "weight_decay": settings.weight_decay,
        "warmup_steps": 0.1,  # below 1: a fraction of all steps
        "max_grad_norm": settings.max_grad_norm,
        "bf16": settings.precision == "bf16",
        "use_cpu": settings.device == "cpu",
        "seed": settings.seed,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }
    if settings.system == "trainer_tuned":
        values["optim"] = "adamw_torch_fused"
        names = {field.name for field in dataclasses.fields(TrainingArguments)}
        if "train_sampling_strategy" in names:
            values["train_sampling_strategy"] = "group_by_length"
        else:  # transformers before 5
            values["group_by_length"] = True
    return TrainingArguments(**{**values, **changes})


def build_model(settings: Settings, auto_class: Any, names: list[str]) -> PreTrainedModel:
    """The pre-trained encoder under a fresh head, with the dropout asked for (BERT's names)."""
    model: PreTrainedModel = auto_class.from_pretrained(
        model_path(settings.model),
        num_labels=len(names),
        id2label=dict(enumerate(names)),
        label2id={name: i for i, name in enumerate(names)},
        hidden_dropout_prob=settings.dropout,
        attention_probs_dropout_prob=settings.attention_dropout,
    )
    return model


def build_language_model(settings: Settings) -> PreTrainedModel:
    """The encoder with a language-modelling head, or a decoder of its shape."""
    model: PreTrainedModel
    if settings.task == "clm":
        with tempfile.TemporaryDirectory() as directory:
            write_decoder(settings.model, directory)
            dropout = {"resid_pdrop": settings.dropout, "embd_pdrop": settings.dropout}
            model = GPT2LMHeadModel.from_pretrained(
                directory, attn_pdrop=settings.attention_dropout, **dropout
            )
    else:
        model = AutoModelForMaskedLM.from_pretrained(
            model_path(settings.model),
            hidden_dropout_prob=settings.dropout,
            attention_probs_dropout_prob=settings.attention_dropout,
        )
    return model


def build_task(settings: Settings) -> tuple[PreTrainedModel, Any, Any, Any]:
    """(model, tokenised training set, collator, tokenizer) of the task."""
    set_seed(settings.seed)
    tokenizer = AutoTokenizer.from_pretrained(model_path(settings.model))
    if settings.task in ("mlm", "clm"):
        dataset = data.blocks(settings.data_dir, tokenizer, settings.max_length)
        collator = DataCollatorForLanguageModeling(tokenizer, mlm=settings.task == "mlm")
        return build_language_model(settings), dataset, collator, tokenizer
    if settings.task == "ner":
        sentences = data.conll2003(settings.data_dir, "train")
        names = data.label_names(sentences)
        dataset = data.tokenize_words(sentences, tokenizer, names, settings.max_length)
        model = build_model(settings, AutoModelForTokenClassification, names)
        return model, dataset, DataCollatorForTokenClassification(tokenizer), tokenizer
    dataset = data.imdb(settings.data_dir, tokenizer, settings.max_length)
    model = build_model(settings, AutoModelForSequenceClassification, ["neg", "pos"])
    return model, dataset, DataCollatorWithPadding(tokenizer), tokenizer


def measure(settings: Settings) -> dict[str, Any]:
    """Train ``settings.steps`` steps; the meter's figures and the model's size."""
    model, dataset, plain_collator, tokenizer = build_task(settings)
    collator = CountingCollator(plain_collator)
    meter = Meter(settings.device, settings.warmup_steps)
    with tempfile.TemporaryDirectory() as directory:
        trainer = Trainer(
            model=model,
            args=training_arguments(settings, output_dir=directory, max_steps=settings.steps),
            train_dataset=dataset,
            processing_class=tokenizer,
            data_collator=collator,
            callbacks=[MeterCallback(meter, collator)],
        )
        trainer.train()
        result = meter.result()
    if next(model.parameters()).dtype != torch.float32:
        raise ValueError("the weights are not float32: autocast expects them so")
    return {
        **result,
        "optimizer": trainer.args.optim,
        "attention": model.config._attn_implementation,
        "hidden_size": model.config.hidden_size,
        "num_hidden_layers": model.config.num_hidden_layers,
        "num_parameters": model.num_parameters(),
    }
