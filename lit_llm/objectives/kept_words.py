"""What is kept of a teacher's vocabulary: its likeliest words at each target."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from lit_llm.losses.chunked_logits import CHUNK_TOKENS
from lit_llm.losses.linear_top_k_targets import TopK, most_likely
from lit_llm.losses.soft_targets import Divergence
from lit_llm.objectives.objective import Objective

TOP_K = 64


@dataclass(frozen=True)
class KeptWords:
    """How many words, and at which temperature: the mass left to all others belongs to it.

    Attributes:
        top_k: k, at least 1.
        temperature: T, above 0.
    """

    top_k: int
    temperature: float

    def of(self, scores: Any, num_targets: int) -> dict[str, Tensor]:
        """A teacher's answer as it is stored: ids in int32, the rest in half precision.

        Args:
            scores: of some rows, their scores of the vocabulary (``Scores``).
            num_targets: M.
        """
        starts = range(0, max(num_targets, 1), CHUNK_TOKENS)
        parts = [
            most_likely(
                scores(slice(start, min(start + CHUNK_TOKENS, num_targets))),
                self.top_k,
                self.temperature,
            )
            for start in starts
        ]
        joined = {f.name: torch.cat([getattr(p, f.name) for p in parts]) for f in fields(TopK)}
        return {
            name: tensor.to(torch.int32 if name == "ids" else torch.float16).cpu()
            for name, tensor in joined.items()
        }

    def announce(self, num_words: int, num_targets: int) -> None:
        """Say what it takes.

        Raises:
            ValueError: the vocabulary has fewer words.
        """
        if self.top_k > num_words:
            raise ValueError(f"distillation: top_k = {self.top_k}, and there are {num_words} words")
        size = num_targets * (6 * self.top_k + 2) / 1e6
        rank_zero_info(
            f"teacher: the {self.top_k} likeliest of {num_words:,} words at {num_targets:,} "
            f"targets take {size:,.1f} MB on the disk"
        )


def as_top_k(kept: dict[str, Tensor], device: torch.device) -> TopK:
    """What ``KeptWords.of`` gave, in the types that it is computed with."""
    moved = {name: tensor.to(device) for name, tensor in kept.items()}
    return TopK(**{n: t.long() if n == "ids" else t.float() for n, t in moved.items()})


def kept_words(
    student: Objective,
    cache: bool | None,
    top_k: int | None,
    temperatures: tuple[float, float],
    divergence: Divergence,
) -> KeptWords | None:
    """What a cache keeps of the teacher's words; None where it keeps scores of classes, or nothing.

    Args:
        student: says whether its teacher is asked for classes or words.
        cache: what was asked for; by default words are not kept.
        top_k: likewise; default ``TOP_K``.
        temperatures: at the beginning and at the end of the run.
        divergence: see ``linear_top_k_targets``.

    Raises:
        ValueError: the settings do not go together; names the key.
    """
    kind = type(student)
    if not cache or kind.taught is Objective.taught:
        if top_k is not None:
            raise ValueError(
                "distillation: top_k is what cache: true keeps of a language model's teacher: "
                "leave it out, or set cache to true"
            )
        return None
    if not hasattr(kind, "output"):
        raise ValueError(
            f"distillation: cache: true needs scores of classes or of a vocabulary; "
            f"{kind.__name__} has no method output to give the latter"
        )
    if top_k is not None and top_k < 1:
        raise ValueError(f"distillation: top_k must be at least 1, not {top_k}")
    if temperatures[0] != temperatures[1]:
        raise ValueError(
            f"distillation: temperature moves from {temperatures[0]} to {temperatures[1]}, and the "
            "mass that a cache leaves to words it does not keep belongs to one temperature: leave "
            "temperature_at_end out, or cache at false"
        )
    if divergence == "squared_error":
        raise ValueError(
            "distillation: squared_error compares scores, and a cache keeps probabilities of "
            "words: take another divergence, or leave cache at false"
        )
    return KeptWords(TOP_K if top_k is None else top_k, float(temperatures[0]))
