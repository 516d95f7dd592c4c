"""The system to beat: ``transformers.Trainer`` with a ``compute_loss`` that asks a teacher."""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AutoModelForTokenClassification, PreTrainedModel, Trainer

from experiments.distillation_speed.meter import WholeRunMeter
from experiments.distillation_speed.settings import Settings
from experiments.speed import hugging_face
from experiments.speed.hugging_face_data import IGNORED
from experiments.speed.meter import watch_matmul_dtype


def soft_loss(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """``T^2 KL(teacher || student)``, nats, mean over the tokens that have a label.

    Args:
        student: scores, (B, L, C).
        teacher: likewise.
        labels: (B, L), -100 where a token is no word's first.
        temperature: T, of both.
    """
    chosen = labels != IGNORED
    theirs = functional.log_softmax(teacher[chosen].float() / temperature, dim=-1)
    own = functional.log_softmax(student[chosen].float() / temperature, dim=-1)
    divergence = functional.kl_div(own, theirs, reduction="batchmean", log_target=True)
    return divergence * temperature**2


class Distiller(Trainer):
    """A Trainer whose loss is in part a teacher's, which is asked in every step."""

    def __init__(
        self, *args: Any, teacher: PreTrainedModel, alpha: float, temperature: float, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.teacher = teacher.to(self.args.device)
        self.alpha = alpha
        self.temperature = temperature

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The cross-entropy is the model's own; the teacher runs under the same autocast."""
        outputs = model(**inputs)
        asked = {name: value for name, value in inputs.items() if name != "labels"}
        # The Trainer's autocast is around the student's forward alone.
        with torch.no_grad(), self.accelerator.autocast():
            teacher = self.teacher(**asked).logits
        soft = soft_loss(outputs.logits, teacher, inputs["labels"], self.temperature)
        loss = self.alpha * soft + (1 - self.alpha) * outputs.loss
        return (loss, outputs) if return_outputs else loss


class WholeRun(hugging_face.MeterCallback):
    """Times all steps, from the start of the first batch."""

    meter: WholeRunMeter

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The data of the step are there."""
        self.meter.begin()


def measure(settings: Settings) -> dict[str, Any]:
    """Train ``settings.epochs`` epochs; the meter's figures and the model's size."""
    told = settings.of_student()
    model, dataset, plain_collator, tokenizer = hugging_face.build_task(told)
    teacher = AutoModelForTokenClassification.from_pretrained(settings.teacher)
    teacher.requires_grad_(requires_grad=False).eval()
    collator = hugging_face.CountingCollator(plain_collator)
    meter = WholeRunMeter(told.device)
    watch_matmul_dtype(teacher, meter.note_teacher)
    length = {"num_train_epochs": settings.epochs, "logging_strategy": "no"}
    with tempfile.TemporaryDirectory() as directory:
        Distiller(
            model=model,
            args=hugging_face.training_arguments(told, output_dir=directory, **length),
            train_dataset=dataset,
            processing_class=tokenizer,
            data_collator=collator,
            callbacks=[WholeRun(meter, collator)],
            teacher=teacher,
            alpha=settings.alpha,
            temperature=settings.temperature,
        ).train()
        result = meter.result()
    return {
        **result,
        "attention": model.config._attn_implementation,
        "hidden_size": model.config.hidden_size,
        "num_hidden_layers": model.config.num_hidden_layers,
        "num_parameters": model.num_parameters(),
    }
