"""Knowledge distillation: a student learns from labels and from a frozen teacher's scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from lit_llm.backbone.inner_states import InnerStates, inner_states
from lit_llm.batch import PackedBatch
from lit_llm.losses.soft_targets import Divergence
from lit_llm.objectives.comparison import compared
from lit_llm.objectives.evaluation import Evaluation, Predictions
from lit_llm.objectives.kept_words import kept_words
from lit_llm.objectives.matching import MatchConfig, Matching, match_names
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
        match: what else is to be like the teacher's: hidden states, attention, ...; each is a term
            of its own weight beside the others, over tokens.
        compare: when the run has ended, the teacher is scored, and both are timed, for
            ``results.json`` and the report; default where the teacher was ever asked.

    Attributes:
        kept_mass: of a language model's cache, the mean mass of what is kept; None until it is
            open.

    Raises:
        ValueError: alpha is outside [0, 1], a temperature is not above 0, there is no teacher, the
            student has nothing to ask one for, ``match`` does not go with the rest, or as
            ``kept_words``.

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
        match: list[MatchConfig] | None = None,
        compare: bool | None = None,
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
        self.cache, self.compare = cache, compare
        self.inside = dict(zip(match_names(match or []), match or [], strict=True))
        self.matching: Matching | None = None
        self._teacher: tuple[Scorer, ...] = ()
        self._is_settled = False
        self._check()
        self.words = kept_words(student, cache, top_k, self.temperature, divergence)
        self.kept_mass: float | None = None
        self.term_weights = self._weights(self.alpha[0])
        if self.distils:
            self.counted_by = {"soft": "targets", **dict.fromkeys(self.inside, "tokens")}

    @property
    def student(self) -> Objective:
        """The objective that is trained."""
        return self._student[0]

    @property
    def distils(self) -> bool:
        """Whether the teacher is ever asked."""
        return max(self.alpha) > 0 or bool(self.inside)

    def build_head(self) -> nn.Module | None:
        """The student's."""
        self.student.build(self.label_names)
        return self.student.head

    def configure_model(self) -> None:
        """Called by the trainer when the data module knows the labels."""
        super().configure_model()
        self.student.trainer = self.trainer
        if self.trainer.state.fn != "fit":
            return
        if not self.distils:
            if self.compare:
                self._load_teacher()  # what is wrong with it is better known now
            return
        if self.words is not None:
            self.trainer.datamodule.num_variants()  # type: ignore[attr-defined]  # or say why
        teacher = self._load_teacher()
        if not teacher.reads_alike and (self.inside or self.cache is False):
            what = "match looks into both" if self.inside else "cache: false asks it every step"
            raise ValueError(
                f"distillation: {what}, and the teacher reads other tokens than the student: "
                "give the student the teacher's tokenizer (backbone.tokenizer)"
            )
        self._teacher, self._is_settled = (teacher,), False
        if self.inside:
            backbones = self.backbone, teacher.models[0].backbone
            self.matching = Matching([*self.inside.values()], *backbones)

    def _load_teacher(self) -> Teacher:
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        return Teacher(self.sources, self.student, getattr(data, "max_length", None))

    def on_fit_end(self) -> None:
        """The teacher is needed no longer."""
        self._teacher, self.matching = (), None

    def terms(self, batch: PackedBatch) -> dict[str, tuple[Tensor, Tensor]]:
        """The teacher's term, ``soft``, and the student's own; a single one is called ``hard``."""
        if not self.distils:
            return self.student.terms(batch)
        done = self._progress()
        alpha, temperature = _between(self.alpha, done), _between(self.temperature, done)
        self.term_weights = self._weights(alpha)
        scorer = self._scorer()
        with self._looking() as inside:
            soft, terms = self.student.taught(batch, scorer, temperature, self.divergence)
        own = {_HARD.get(name, name): term for name, term in terms.items()}
        matched = {} if self.matching is None else self.matching.terms(batch, *inside)
        return {"soft": soft, **own, **matched}

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

    def closing_facts(self, splits: Sequence[str]) -> dict[str, Any]:
        """How the student compares with its teacher."""
        results = {split: self.results[split] for split in splits if split in self.results}
        wanted = self.distils if self.compare is None else self.compare
        if not (wanted and results):
            return {}
        teacher = self._load_teacher()
        if self.words is not None and self.kept_mass is None and self.distils:  # resumed at its end
            device = self.trainer.strategy.root_device
            teacher.to(device)
            self.kept_mass = cached(teacher, self.trainer, device, self.words).kept_mass
        facts = compared(self.student, teacher, self.trainer, results)
        if self.kept_mass is not None:
            facts["kept_mass"] = self.kept_mass
        return {"distillation": facts}

    def load_weights(self, directory: str | Path) -> None:
        """Into the student."""
        self.student.load_weights(directory)

    @contextmanager
    def _looking(self) -> Iterator[list[InnerStates]]:
        """What goes on inside student and teacher, where that is matched."""
        with ExitStack() as stack:
            inside = []
            if self.matching is not None:
                (teacher,) = self._teacher
                for model in (self.student, teacher.models[0]):  # type: ignore[attr-defined]
                    look = inner_states(model.backbone, self.matching.looks_at_heads)
                    inside.append(stack.enter_context(look))
            yield inside

    def _scorer(self) -> Scorer:
        """The teacher itself, or what it said."""
        (teacher,) = self._teacher
        if not self._is_settled and isinstance(teacher, Teacher):
            teacher.to(self.device)
            if self._caches(teacher):
                kept = cached(teacher, self.trainer, self.device, self.words)
                self._teacher, self.kept_mass = (kept,), kept.kept_mass
            self._is_settled = True
        return self._teacher[0]

    def _caches(self, teacher: Teacher) -> bool:
        if not teacher.reads_alike:
            return True
        if self.cache is not None or self.inside:
            return bool(self.cache)
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
        matched = {name: config.weight for name, config in self.inside.items()}
        return {"soft": alpha, **hard, **matched}

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
        if self.inside and (self.cache or len(self.sources) > 1):
            what = "cache: true keeps scores alone" if self.cache else "there are several teachers"
            raise ValueError(
                f"distillation: match looks into one teacher in every step, and {what}"
            )
        kind = type(self.student)
        if kind.terms is not Objective.terms and kind.taught is Objective.taught:
            raise ValueError(
                f"distillation: {kind.__name__} has terms of its own, and no method taught to say "
                "what a teacher is asked for"
            )


def _between(ends: Sequence[float], done: float) -> float:
    return float(np.interp(done, (0.0, 1.0), ends))
