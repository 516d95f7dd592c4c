"""Frozen models whose scores a student learns from."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from lit_llm.backbone.backbone import Backbone
from lit_llm.batch import PackedBatch
from lit_llm.losses.linear_soft_targets import Scores, linear_scores
from lit_llm.objectives.evaluation import Evaluation, UnitEvaluation
from lit_llm.objectives.objective import Objective
from lit_llm.objectives.saved import saved_objective

KEY = "teacher"


class Teacher:
    """One trained model, or several; never trained, never saved.

    Several teachers' scores are averaged: the geometric mean of their distributions (Hinton et al.
    2015, section 1).

    Args:
        sources: run directories, whose own settings (such as ``pooling``) hold, or directories and
            hub ids in transformers' format, which are read as the student is.
        student: with its weights and labels; the teacher's labels are brought into its order.
        max_length: tokens of the longest item that the student reads.

    Raises:
        ValueError: a source is of another task, has other labels, or, where words are predicted,
            cannot read the student's own rows; the message names it.
        OSError: a source cannot be read.

    Attributes:
        reads_alike: every teacher reads the student's own rows; where one does not, it is asked
            what it says of each text or word (``unit_scores``).
    """

    def __init__(
        self, sources: Sequence[str], student: Objective, max_length: int | None = None
    ) -> None:
        self.sources = list(sources)
        self.models: list[Objective] = []
        self.reads_alike = True
        self._orders: list[Tensor] = []
        for source in sources:
            model = _load(source, student)
            if student.label_names:
                self._orders.append(_order(model.label_names, student.label_names, source))
            self.reads_alike &= _reads_alike(model.backbone, student, max_length, source)
            model.requires_grad_(requires_grad=False).eval()
            self.models.append(model)
            size = sum(p.numel() for p in model.parameters())
            rank_zero_info(f"teacher: {source}, {size:,} parameters")

    def to(self, device: torch.device) -> None:
        """Move where the student is."""
        for model in self.models:
            model.to(device)

    def identity(self) -> list[Any]:
        """Plain data that differs whenever the scores would."""
        found: list[Any] = []
        for model in self.models:
            digest = hashlib.sha256()
            for name, tensor in sorted(model.state_dict().items()):
                digest.update(name.encode())
                digest.update(tensor.cpu().contiguous().view(torch.uint8).numpy().data)
            found.append([type(model).__name__, settings_of(model), digest.hexdigest()])
        return [found, [order.tolist() for order in self._orders]]

    @property
    def num_words(self) -> int:
        """V, of a language model."""
        return len(self.models[0].head.output_weight)  # type: ignore[union-attr, arg-type]

    @torch.no_grad()
    def logits(self, batch: PackedBatch) -> Tensor:
        """Scores of the student's own targets, (M, C), in the order of the student's labels."""
        found = [
            model.logits(batch).float()[:, order.to(batch.input_ids.device)]
            for model, order in zip(self.models, self._orders, strict=True)
        ]
        return torch.stack(found).mean(dim=0)

    @torch.no_grad()
    def unit_scores(self, data: Any, examples: Sequence[Any]) -> Tensor:
        """Scores of each text or word of some examples, read as each teacher does, (U, C).

        Windows of a text are averaged.
        """
        return self._of_units(data, examples, lambda scores: scores)

    @torch.no_grad()
    def unit_probabilities(self, data: Any, examples: Sequence[Any], student: Objective) -> Tensor:
        """Probabilities of each text or word, as an evaluation averages those of windows, (U, C).

        Of several teachers the mean.
        """
        return self._of_units(data, examples, student.probabilities)

    def _of_units(
        self, data: Any, examples: Sequence[Any], made: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Mean over teachers, and over the windows of each unit, of what is made of the scores."""
        num_units = sum(data.units_of(example) for example in examples)
        total_UC = torch.zeros(0)
        for model, order in zip(self.models, self._orders, strict=True):
            for batch in data.packed_reading(model.backbone, examples):
                batch = batch.to(model.device)
                units, weights = batch.target("unit_ids"), batch.targets.get("weights")
                scores_MC = made(model.logits(batch).float()[:, order.to(model.device)])
                if not len(total_UC):
                    total_UC = scores_MC.new_zeros(num_units, scores_MC.shape[1])
                if weights is not None:
                    scores_MC = scores_MC * weights.unsqueeze(1)
                total_UC.index_add_(0, units, scores_MC)
        return total_UC / len(self.models)

    def evaluation(self, student: Objective, trainer: Any) -> Evaluation:
        """What collects the teacher's answers, and scores them as the student's are.

        Of a language model, of which there must be one.
        """
        if self._orders:
            return UnitEvaluation(_Speaks(student, self))
        model = self.models[0]
        model.trainer = trainer
        return model.evaluation()

    @torch.no_grad()
    def scores(self, batch: PackedBatch) -> Scores:
        """Scores of the vocabulary at the student's own targets, some rows at a time."""
        each = [linear_scores(*model.output(batch)) for model in self.models]  # type: ignore[operator]

        @torch.no_grad()
        def mean(rows: slice) -> Tensor:
            return torch.stack([scores(rows) for scores in each]).mean(dim=0)

        return each[0] if len(each) == 1 else mean


class _Speaks:
    """A student with somebody else's scores."""

    def __init__(self, student: Objective, teacher: Teacher) -> None:
        self._student, self.logits = student, teacher.logits

    def __getattr__(self, name: str) -> Any:
        return getattr(self._student, name)


def _load(source: str, student: Objective) -> Objective:
    path = Path(source).expanduser()
    if (path / "config.yaml").is_file():
        model = saved_objective(path)
    else:
        model = type(student)(Backbone(source), **settings_of(student))
        model.build_saved()
    if type(model) is not type(student):
        raise ValueError(
            f"{KEY}: {source} was trained as {type(model).__name__}, and the student is "
            f"{type(student).__name__}"
        )
    model.becomes_teacher_of(student)
    return model


def settings_of(model: Objective) -> dict[str, Any]:
    """An objective's own settings, under the names of its arguments."""
    return {
        name: getattr(model, name)
        for name in inspect.signature(type(model)).parameters
        if name not in ("backbone", "optimizer", "schedule") and hasattr(model, name)
    }


def _order(theirs: Sequence[str], ours: Sequence[str], source: str) -> Tensor:
    """The places of the student's labels among the teacher's, (C,)."""
    if sorted(theirs) != sorted(ours):
        raise ValueError(
            f"{KEY}: {source} has the labels {', '.join(theirs)}, and the data "
            f"{', '.join(ours)}: a teacher has to know the student's labels, by name"
        )
    return torch.tensor([list(theirs).index(name) for name in ours], dtype=torch.int64)


def _reads_alike(theirs: Backbone, student: Objective, max_length: int | None, source: str) -> bool:
    """Whether a teacher reads the student's own rows."""
    ours, limit = student.backbone, theirs.max_positions
    longest = max_length or ours.max_positions
    other = None
    if theirs.tokenizer_state() != ours.tokenizer_state():
        other = (
            "has another tokenizer than the student, so they do not read the same tokens: give the "
            "student the teacher's (backbone.tokenizer), or take another teacher"
        )
    elif theirs.causal != ours.causal:
        other = (
            f"{'is' if theirs.causal else 'is not'} a decoder, and the student "
            f"{'is' if ours.causal else 'is not'}: they are scored at different tokens"
        )
    elif ours.packs and not theirs.packs:
        other = (
            "takes one example a row, and the student several: take a student of an architecture "
            "that does so too, or another teacher"
        )
    elif limit is not None and (longest is None or limit < longest):
        other = (
            f"reads at most {limit} tokens of an example: set data.max_length to {limit}, or take "
            "another teacher"
        )
    if other is not None and not student.label_names:
        raise ValueError(f"{KEY}: {source} {other}")
    if other is not None:
        why = other.partition(":")[0]
        rank_zero_info(f"teacher: {source} {why}; it reads the examples in its own way, once")
    return other is None


def kept_path(data: Any, parts: Sequence[Any], suffix: str = "") -> Path:
    """Where the data's cache holds what a teacher said, by all that it depends on."""
    text = json.dumps(list(parts), sort_keys=True, default=str)
    digest = hashlib.sha256(text.encode()).hexdigest()[:24]
    path: Path = data.cache_dir / f"teacher-{digest}{suffix}"
    return path
