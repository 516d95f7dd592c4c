"""How a causal language model's next token is chosen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


def _flag(default: Any, kind: type, help: str) -> Any:
    return field(default=default, metadata={"type": kind, "help": help})


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Its fields are the flags of ``lit-llm predict``, with their types and what ``--help`` says.

    Raises:
        ValueError: a number that makes no sense; ``top_k``, ``top_p`` without a temperature.
    """

    max_new_tokens: int = _flag(
        100, int, "of a continuation, which ends earlier where the model ends the document"
    )
    temperature: float = _flag(
        0.0, float, "divides the logits; 0 takes the most probable token (greedy)"
    )
    top_k: int | None = _flag(None, int, "draw from the k most probable tokens alone")
    # Nucleus sampling: Holtzman et al. 2020, arXiv:1904.09751.
    top_p: float | None = _flag(
        None, float, "draw from the most probable tokens that make up this much probability"
    )
    seed: int = _flag(0, int, "of the draws; each text has its own stream")

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise ValueError(f"--max_new_tokens {self.max_new_tokens}: at least 1 was expected")
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"--temperature {self.temperature}: 0 or more was expected")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"--top_k {self.top_k}: at least 1 was expected")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"--top_p {self.top_p}: above 0 and at most 1 was expected")
        if self.temperature == 0 and (self.top_k or self.top_p):
            raise ValueError(
                "--top_k and --top_p choose what is drawn from: give --temperature too"
            )

    def arguments(self) -> dict[str, Any]:
        """As ``generate`` takes them; a stored generation configuration has no say."""
        fixed = {"max_new_tokens": self.max_new_tokens, "use_cache": True, "num_beams": 1}
        if self.temperature == 0:
            return {**fixed, "do_sample": False, "temperature": None, "top_k": None, "top_p": None}
        drawn = {
            "temperature": self.temperature,
            "top_k": self.top_k or 0,
            "top_p": self.top_p or 1.0,
        }
        return {**fixed, "do_sample": True, **drawn}
