"""What one measured distillation is told: the same for every system of a shape."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.speed import settings as speed

SYSTEMS = ("cached", "live", "trainer_default", "trainer_tuned")
TRAINERS = SYSTEMS[2:]


@dataclass(frozen=True)
class Settings:
    """One system, measured once, in a process of its own.

    Attributes:
        system: one of ``SYSTEMS``; ``cached`` and ``live`` are ours, with and without the cache.
        shape: name of the pair of models.
        student: directory in transformers' format, with its head.
        teacher: likewise.
        data_dir: holds the sample, ``conll2003/eng.train``.
        device: ``cpu`` or ``cuda``.
        epochs: over the sample; all their steps are timed.
        examples_per_batch: sentences of one optimizer step.
        seed: of the order and the dropout.
        threads: of torch; 0 leaves torch's own choice.
        alpha: what the teacher weighs.
        temperature: of both softened distributions.
        dropout: the student's, on embeddings, block outputs and head.
        attention_dropout: the student's, on attention probabilities.
        max_length: longest sentence, tokens, special ones included.
    """

    system: str
    shape: str
    student: str
    teacher: str
    data_dir: str
    device: str = "cpu"
    epochs: int = 3
    examples_per_batch: int = 32
    seed: int = 1
    threads: int = 0
    alpha: float = 0.5
    temperature: float = 2.0
    dropout: float = 0.1
    attention_dropout: float = 0.0
    max_length: int = 512

    def __post_init__(self) -> None:
        if self.system not in SYSTEMS:
            raise ValueError(f"system is one of {', '.join(SYSTEMS)}, not {self.system!r}")
        if self.epochs < 1:
            raise ValueError(f"epochs must be at least 1, not {self.epochs}")

    def of_student(self) -> speed.Settings:
        """What ``experiments.speed`` is told to build the student and its data alike."""
        return speed.Settings(
            system=self.system if self.system in TRAINERS else "ours",
            task="ner",
            dropout=self.dropout,
            attention_dropout=self.attention_dropout,
            model=self.student,
            data_dir=self.data_dir,
            device=self.device,
            examples_per_batch=self.examples_per_batch,
            max_length=self.max_length,
            seed=self.seed,
            threads=self.threads,
        )
