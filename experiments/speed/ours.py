"""Our training step, measured: lit_llm's objectives and data under Lightning's Trainer."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything

from experiments.speed.decoder import write_decoder
from experiments.speed.meter import Meter
from experiments.speed.settings import Settings
from lit_llm.backbone.backbone import Backbone
from lit_llm.batch import PackedBatch
from lit_llm.data.batch_config import BatchConfig
from lit_llm.data.causal_corpus import CausalCorpus
from lit_llm.data.conll2003 import CoNLL2003
from lit_llm.data.corpus_source import CorpusSource
from lit_llm.data.data_module import PackedDataModule
from lit_llm.data.imdb import IMDB
from lit_llm.data.masked_corpus import MaskedCorpus
from lit_llm.objectives.causal_lm import CausalLM
from lit_llm.objectives.masked_lm import MaskedLM
from lit_llm.objectives.objective import Objective
from lit_llm.objectives.sequence_classification import SequenceClassification
from lit_llm.objectives.token_classification import TokenClassification
from lit_llm.optim import OptimizerConfig
from lit_llm.schedules import ScheduleConfig


class MeterCallback(Callback):
    """Hands each finished step to the meter."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The model stands on its device."""
        self.meter.start(pl_module)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: PackedBatch,
        batch_idx: int,
    ) -> None:
        """The optimizer has stepped; the count stays on its device."""
        tokens = batch.segment_lengths.sum()
        self.meter.step(tokens, batch.input_ids.numel(), batch.num_examples)


def build_task(settings: Settings, directory: str) -> tuple[Objective, PackedDataModule]:
    """The objective and its data, as the CLI would build them from a config.

    Args:
        settings: of the run.
        directory: where a decoder is written.
    """
    model = settings.model
    if settings.task == "clm":
        write_decoder(model, directory)
        model = directory
    backbone = Backbone(
        model,
        hidden_dropout=settings.dropout,
        attention_dropout=settings.attention_dropout,
        attn_implementation="sdpa" if settings.system == "ours_sdpa" else None,
    )
    optimizer = OptimizerConfig(lr=settings.lr, weight_decay=settings.weight_decay)
    schedule = ScheduleConfig(name="linear", warmup_fraction=0.1)
    if settings.task in ("mlm", "clm"):
        objective = CausalLM if settings.task == "clm" else MaskedLM
        return objective(backbone, optimizer, schedule), _corpus(settings)
    batches = BatchConfig(examples_per_batch=settings.examples_per_batch, seed=settings.seed)
    if settings.task == "ner":
        path = str(Path(settings.data_dir, "conll2003"))
        return (
            TokenClassification(backbone, optimizer, schedule),
            CoNLL2003(path, max_length=settings.max_length, batches=batches),
        )
    path = str(Path(settings.data_dir, "imdb"))
    return (
        SequenceClassification(backbone, optimizer, schedule),
        IMDB(path, max_length=settings.max_length, batches=batches),
    )


def _corpus(settings: Settings) -> PackedDataModule:
    """The text that the Trainer gets, in rows as long."""
    path = str(Path(settings.data_dir, "imdb", "unsupervised.parquet"))
    sources = [CorpusSource(path, name="imdb")]
    batches = BatchConfig(
        tokens_per_batch=settings.examples_per_batch * settings.max_length,
        row_length=settings.max_length,
        seed=settings.seed,
    )
    common: dict[str, Any] = {"validation_fraction": 0.0, "batches": batches}
    if settings.task == "mlm":
        return MaskedCorpus(sources, max_length=settings.max_length, **common)
    return CausalCorpus(sources, stream=True, max_length=settings.max_length, **common)


def quiet_trainer(settings: Settings, callback: MeterCallback, **length: int) -> Trainer:
    """Lightning's Trainer that trains and does nothing else; ``length``: ``max_steps=...``."""
    return Trainer(
        accelerator="gpu" if settings.device == "cuda" else "cpu",
        devices=1,
        precision="bf16-mixed" if settings.precision == "bf16" else "32-true",
        gradient_clip_val=settings.max_grad_norm,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[callback],
        **length,
    )


def measure(settings: Settings) -> dict[str, Any]:
    """Train ``settings.steps`` steps; the meter's figures and the model's size."""
    seed_everything(settings.seed, verbose=False)
    meter = Meter(settings.device, settings.warmup_steps)
    trainer = quiet_trainer(settings, MeterCallback(meter), max_steps=settings.steps)
    with tempfile.TemporaryDirectory() as directory:
        model, data = build_task(settings, directory)
        trainer.fit(model, data)
    config: Any = model.backbone.config
    return {
        **meter.result(),
        "optimizer": "adamw_torch_fused",
        "attention": config._attn_implementation,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_parameters": sum(p.numel() for p in model.parameters()),
    }
