"""Knowledge distillation: a student learns from labels and from a frozen teacher's scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from lit_llm.batch import PackedBatch
from lit_llm.losses.soft_targets import Divergence
from lit_llm.objectives.evaluation import Evaluation, Predictions
from lit_llm.objectives.kept_words import kept_words
from lit_llm.objectives.objective import Objective
from lit_llm.objectives.scorer import Scorer
from lit_llm.objectives.teacher import Teacher
from lit_llm.objectives.teacher_cache import cached

_HARD = {"loss": "hard"}


class Distillation(Objective):
    """``(1 - alpha) L(labels, student) + alpha T^2 D(teacher, student)``, at the same targets.

    Everything but the loss is the student's: backbone, head, optimizer, schedule, scores, and what
    is saved. The teacher is no part of checkpoints and parameter counts, runs in evaluation mode
    without gradients, and is read at the beginning of a fit alone.

    Args:
        student: any objective.
        teacher: an earlier run, a directory or hub id in transformers' format, or several, whose
            scores are averaged.
        alpha: what the teacher weighs, in [0, 1]; with 0 there is none, 1 needs no labels.
        temperature: T, above 0; divides all scores before they become probabilities.
        divergence: see ``losses.soft_targets``.
        alpha_at_end: alpha moves there in equal steps over the run; default it stays.
        temperature_at_end: likewise.
        cache: the teacher scores each training item once, and its scores are kept on disk for all
            runs and ranks; default where they are scores of classes, and the run sees items again.
        top_k: of a language model's teacher, how many of the likeliest words at each target
            ``cache: true`` keeps, beside the mass of all others; default 64.

    Attributes:
        kept_mass: of a language model's cache, the mean mass of what is kept; None until it is
            open.

    Raises:
        ValueError: alpha is outside [0, 1], a temperature is not above 0, there is no teacher, the
            student has nothing to ask one for, or as ``kept_words``.

    Source:
        Hinton et al. 2015, section 2, arXiv:1503.02531.
        Differs: losses are divided by the targets of the whole optimizer step.
    """

    def __init__(
        self,
        student: Objective,
        teacher: str | list[str],
        alpha: float = 0.5,
        temperature: float = 2.0,
        divergence: Divergence = "kl",
        alpha_at_end: float | None = None,
        temperature_at_end: float | None = None,
        cache: bool | None = None,
        top_k: int | None = None,
    ) -> None:
        self._student = (student,)  # no submodule: its parts are this module's own
        super().__init__(student.backbone, student.optimizer_config, student.schedule_config)
        self.monitor, self.monitor_mode = student.monitor, student.monitor_mode  # type: ignore[misc]
        self.headline = student.headline  # type: ignore[misc]
        self.alpha = (alpha, alpha if alpha_at_end is None else alpha_at_end)
        self.temperature = (
            temperature,
            temperature if temperature_at_end is None else temperature_at_end,
        )
        self.divergence: Divergence = divergence
        self.sources = [teacher] if isinstance(teacher, str) else list(teacher)
        self.cache = cache
        self._teacher: tuple[Scorer, ...] = ()
        self._is_settled = False
        self._check()
        self.words = kept_words(student, cache, top_k, self.temperature, divergence)
        self.kept_mass: float | None = None
        self.term_weights = self._weights(self.alpha[0])

    @property
    def student(self) -> Objective:
        """The objective that is trained."""
        return self._student[0]

    @property
    def distils(self) -> bool:
        """Whether the teacher is ever asked."""
        return max(self.alpha) > 0

    def build_head(self) -> nn.Module | None:
        """The student's."""
        self.student.build(self.label_names)
        return self.student.head

    def configure_model(self) -> None:
        """Called by the trainer when the data module knows the labels."""
        super().configure_model()
        self.student.trainer = self.trainer
        if self.trainer.state.fn == "fit" and self.distils:
            if self.words is not None:
                self.trainer.datamodule.num_variants()  # type: ignore[attr-defined]  # or say why
            self._teacher, self._is_settled = (Teacher(self.sources, self.student),), False

    def on_fit_end(self) -> None:
        """The teacher is needed no longer."""
        self._teacher = ()

    def terms(self, batch: PackedBatch) -> dict[str, tuple[Tensor, Tensor]]:
        """The teacher's term, ``soft``, and the student's own; a single one is called ``hard``."""
        if not self.distils:
            return self.student.terms(batch)
        done = self._progress()
        alpha, temperature = _between(self.alpha, done), _between(self.temperature, done)
        self.term_weights = self._weights(alpha)
        soft, terms = self.student.taught(batch, self._scorer(), temperature, self.divergence)
        own = {_HARD.get(name, name): term for name, term in terms.items()}
        return {"soft": soft, **own}

    def logits(self, batch: PackedBatch) -> Tensor:
        """The student's."""
        return self.student.logits(batch)

    def evaluation(self) -> Evaluation:
        """The student's."""
        return self.student.evaluation()

    def probabilities(self, logits: Tensor) -> Tensor:
        """The student's."""
        return self.student.probabilities(logits)

    def score(self, predictions: Predictions, examples: Any) -> dict[str, Any]:
        """The student's."""
        return self.student.score(predictions, examples)

    def load_weights(self, directory: str | Path) -> None:
        """Into the student."""
        self.student.load_weights(directory)

    def _scorer(self) -> Scorer:
        """The teacher itself, or what it said."""
        (teacher,) = self._teacher
        if not self._is_settled and isinstance(teacher, Teacher):
            teacher.to(self.device)
            if self._caches():
                kept = cached(teacher, self.trainer, self.device, self.words)
                self._teacher, self.kept_mass = (kept,), kept.kept_mass
            self._is_settled = True
        return self._teacher[0]

    def _caches(self) -> bool:
        if self.cache is not None:
            return self.cache
        trainer = self.trainer
        steps_of_an_epoch = len(trainer.train_dataloader) / trainer.accumulate_grad_batches  # type: ignore[arg-type]
        return self._scores_classes and trainer.estimated_stepping_batches > steps_of_an_epoch

    @property
    def _scores_classes(self) -> bool:
        return type(self.student).taught is Objective.taught

    def _weights(self, alpha: float) -> dict[str, float]:
        """What each term weighs; the teacher's first, for every step has targets of it."""
        own = self.student.term_weights
        if not self.distils:
            return own
        hard = {_HARD.get(name, name): (1 - alpha) * weight for name, weight in own.items()}
        return {"soft": alpha, **hard}

    def _progress(self) -> float:
        """How much of the run is done, in [0, 1]."""
        trainer = self._trainer
        if trainer is None:
            return 0.0
        return min(trainer.global_step / max(float(trainer.estimated_stepping_batches) - 1, 1), 1)

    def _check(self) -> None:
        for name, values in (("alpha", self.alpha), ("temperature", self.temperature)):
            for key, value in zip((name, f"{name}_at_end"), values, strict=True):
                if name == "alpha" and not 0 <= value <= 1:
                    raise ValueError(f"distillation: {key} must lie in [0, 1], not {value}")
                if name == "temperature" and not value > 0:
                    raise ValueError(f"distillation: {key} must be above 0, not {value}")
        if not self.sources:
            raise ValueError("distillation: teacher is empty: name at least one")
        kind = type(self.student)
        if kind.terms is not Objective.terms and kind.taught is Objective.taught:
            raise ValueError(
                f"distillation: {kind.__name__} has terms of its own, and no method taught to say "
                "what a teacher is asked for"
            )


def _between(ends: Sequence[float], done: float) -> float:
    return float(np.interp(done, (0.0, 1.0), ends))
