"""What is distilled into what, and how much a cache of the teacher's scores can save."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import AutoConfig, AutoModel

from experiments.speed.settings import model_path

BERT_BASE = {
    "num_hidden_layers": 12,
    "hidden_size": 768,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
}
BACKWARD_UNITS = 2
"""What a backward pass costs, in forward passes of the same model."""


@dataclass(frozen=True)
class Shape:
    """One pair of models; sizes that are not said are those of ``--model``, MiniLM's 6x384.

    Attributes:
        examples: sentences of the sample, unless told otherwise.
        goal: the least ratio of cached to live that is called a success.
        teacher: changes to the configuration; its weights are then random.
        halves: the student is every second block of the teacher, else ``--model`` itself.
    """

    examples: int
    goal: float
    teacher: dict[str, int] = field(default_factory=dict)
    halves: bool = False


SHAPES = {
    "half": Shape(examples=2000, goal=1.25, halves=True),
    "base": Shape(examples=1000, goal=1.7, teacher=BERT_BASE),
}


def configurations(shape: Shape, model: str) -> tuple[Any, Any]:
    """The teacher's and the student's, in transformers' form."""
    teacher = AutoConfig.from_pretrained(model_path(model), **shape.teacher)
    student = AutoConfig.from_pretrained(model_path(model))
    if shape.halves:
        student.num_hidden_layers = teacher.num_hidden_layers // 2
    return teacher, student


def block_parameters(config: Any) -> int:
    """Parameters of a BERT's blocks, to which the products of a token are proportional."""
    with torch.device("meta"):
        model = AutoModel.from_config(config)
    return sum(parameter.numel() for parameter in model.encoder.parameters())


def ceiling(teacher: int, student: int, epochs: int) -> float:
    """How many times faster a run is whose teacher runs in the first epoch only.

    A forward pass costs what its blocks' products cost, a backward pass twice that; embeddings,
    attention's own products, head, optimizer, data and the cache's reading cost nothing: a ceiling.

    Args:
        teacher: parameters of its blocks.
        student: likewise.
        epochs: of the run.
    """
    step = (1 + BACKWARD_UNITS) * student
    return epochs * (teacher + step) / (teacher + epochs * step)


def ceiling_of(shape: Shape, model: str, epochs: int) -> float:
    """``ceiling`` of a shape's two models."""
    teacher, student = configurations(shape, model)
    return ceiling(block_parameters(teacher), block_parameters(student), epochs)
