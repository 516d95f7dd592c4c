"""How a data module's examples are laid out in batches."""

from __future__ import annotations

from dataclasses import dataclass

from lit_llm.data.curriculum import CurriculumConfig
from lit_llm.data.stages import StageConfig, check_stages


@dataclass(frozen=True)
class BatchConfig:
    """How examples are laid out in batches.

    Attributes:
        examples_per_batch: exactly this many examples in each global batch, in as few rows as they
            need: what papers mean by "batch size"; 32 when neither this nor ``tokens_per_batch`` is
            set. An optimizer step sees ``accumulate_grad_batches`` batches.
        tokens_per_batch: fixed rows of ``row_length`` tokens instead, all ranks together.
        row_length: tokens of a row; default 128, or the longest example if that is more.
        eval_tokens_per_batch: the budget of an evaluation batch, per rank.
        num_workers: processes that lay out batches ahead of the model.
        seed: of the order of the examples; default the run's ``seed_everything``.
        curriculum: which examples come first; default a random order.
        stages: parts of the data to train on one after the other; default all of it, always.
    """

    examples_per_batch: int | None = None
    tokens_per_batch: int | None = None
    row_length: int | None = None
    eval_tokens_per_batch: int = 8192
    num_workers: int = 0
    seed: int | None = None
    curriculum: CurriculumConfig | None = None
    stages: list[StageConfig] | None = None

    def __post_init__(self) -> None:
        if self.examples_per_batch is not None and self.tokens_per_batch is not None:
            raise ValueError(
                "batches.examples_per_batch and batches.tokens_per_batch exclude each other: "
                "set one of them to null"
            )
        for key in (
            "examples_per_batch",
            "tokens_per_batch",
            "row_length",
            "eval_tokens_per_batch",
        ):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise ValueError(f"batches.{key} must be at least 1, not {value}")
        if self.curriculum is not None and self.stages:
            raise ValueError(
                "batches.curriculum and batches.stages exclude each other: set one of them to null"
            )
        check_stages(self.stages or [])
