"""A configuration over nine sentences: what a command-line test trains in a second or two."""

from pathlib import Path
from typing import Any

import yaml

SENTENCES = "Ann B-PER\nsees O\nBonn B-LOC\n. O\n\nBob B-PER\nsleeps O\n. O\n\n"


def tiny_experiment(directory: Path) -> dict[str, Any]:
    """The configuration; its data are written to ``directory``."""
    data = directory / "data"
    data.mkdir(exist_ok=True)
    for name in ("train.txt", "dev.txt", "test.txt"):
        (data / name).write_text(SENTENCES * 3)
    return {
        "model": {
            "class_path": "lit_llm.objectives.token_classification.TokenClassification",
            "init_args": {"backbone": {"source": "tiny", "tokenizer": "train:100"}},
        },
        "data": {
            "class_path": "lit_llm.data.conll2003.CoNLL2003",
            "init_args": {"path": str(data), "batches": {"examples_per_batch": 3}},
        },
        "trainer": {
            "max_epochs": 1,
            "accelerator": "cpu",
            "precision": "32-true",
            "enable_progress_bar": False,
        },
    }


def write_config(path: Path, config: Any) -> str:
    """The configuration as a file; its name."""
    path.write_text(yaml.safe_dump(config))
    return str(path)
