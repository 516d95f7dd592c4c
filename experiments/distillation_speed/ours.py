"""Our distillation, measured: ``Distillation`` under Lightning's Trainer, cached or live."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer, seed_everything

from experiments.distillation_speed.meter import WholeRunMeter
from experiments.distillation_speed.settings import Settings
from experiments.speed import ours
from experiments.speed.meter import watch_matmul_dtype
from lit_llm.batch import PackedBatch
from lit_llm.objectives.distillation import Distillation


class WholeRun(ours.MeterCallback):
    """Times all steps, from the start of the first batch."""

    meter: WholeRunMeter

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The models stand; the teacher has not been asked yet."""
        super().on_train_start(trainer, pl_module)
        (teacher,) = pl_module._teacher
        watch_matmul_dtype(teacher.models[0], self.meter.note_teacher)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: PackedBatch, batch_idx: int
    ) -> None:
        """The data of the step are there."""
        self.meter.begin()


def measure(settings: Settings) -> dict[str, Any]:
    """Train ``settings.epochs`` epochs; the meter's figures and the model's size."""
    told = settings.of_student()
    seed_everything(settings.seed, verbose=False)
    student, data = ours.build_task(told, "")
    model = Distillation(
        student,
        settings.teacher,
        settings.alpha,
        settings.temperature,
        cache=settings.system == "cached",
    )
    meter = WholeRunMeter(told.device)
    ours.quiet_trainer(told, WholeRun(meter), max_epochs=settings.epochs).fit(model, data)
    config: Any = model.backbone.config
    return {
        **meter.result(),
        "attention": config._attn_implementation,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_parameters": sum(p.numel() for p in model.parameters()),
    }
