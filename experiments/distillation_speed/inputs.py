"""The files that all systems of a shape read: a sample of sentences, a teacher and a student."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer

from experiments.distillation_speed.shapes import Shape, configurations
from experiments.speed.hugging_face_data import CONLL_FILES, conll2003, label_names
from experiments.speed.settings import model_path
from lit_llm.backbone.keep_layers import keep_layers

MARKER = "-DOCSTART- -X- -X- O"


def write_sample(data_dir: str, examples: int, seed: int, directory: Path) -> None:
    """Some training sentences of CoNLL-2003, drawn at random, in ``directory/conll2003``.

    Raises:
        ValueError: there are fewer than ``examples``.
    """
    source, target = Path(data_dir, "conll2003"), directory / "conll2003"
    target.mkdir(parents=True)
    text = (source / CONLL_FILES["train"]).read_text(encoding="utf-8")
    blocks = [block.strip("\n") for block in text.split("\n\n")]
    sentences = [block for block in blocks if block and not block.startswith("-DOCSTART-")]
    if examples > len(sentences):
        raise ValueError(f"examples = {examples:,}, but {source} has {len(sentences):,} sentences")
    drawn = sorted(np.random.default_rng(seed).permutation(len(sentences))[:examples].tolist())
    sample = "\n\n".join([MARKER, *(sentences[place] for place in drawn)]) + "\n\n"
    (target / CONLL_FILES["train"]).write_text(sample, encoding="utf-8")
    for split in ("validation", "test"):
        shutil.copy(source / CONLL_FILES[split], target)


def write_models(shape: Shape, model: str, data_dir: str, directory: Path) -> None:
    """``teacher`` and ``student`` in transformers' format, each with a new head and the tokenizer.

    Weights are the model's own where the sizes are, else random (always the same): a step costs the
    same, trained or not.

    Args:
        shape: of the two.
        model: whose tokenizer, vocabulary and, where nothing else is said, sizes they have.
        data_dir: the sample, for its labels.
        directory: receives both.

    Raises:
        ValueError: the sample lacks a label, and the systems would not count the same ones.
    """
    names = label_names(conll2003(data_dir, "train"))
    whole = {f"{mark}-{name[2:]}" for name in names if name != "O" for mark in "BI"}
    if missing := sorted(whole - set(names)):
        raise ValueError(f"the sample holds no {', '.join(missing)}: take more examples")
    labels = {
        "num_labels": len(names),
        "id2label": dict(enumerate(names)),
        "label2id": {name: i for i, name in enumerate(names)},
    }
    source, auto = model_path(model), AutoModelForTokenClassification
    with torch.random.fork_rng():
        torch.manual_seed(0)
        student = auto.from_pretrained(source, **labels)
        if shape.teacher:
            config, _ = configurations(shape, model)
            config.update({key: labels[key] for key in ("id2label", "label2id")})
            teacher = auto.from_config(config)
        else:
            teacher = auto.from_pretrained(source, **labels)
    if shape.halves:
        student.load_state_dict(teacher.state_dict())
        keep_layers(student.base_model, range(1, teacher.config.num_hidden_layers, 2))
    tokenizer = AutoTokenizer.from_pretrained(source)
    for name, written in (("teacher", teacher), ("student", student)):
        written.save_pretrained(directory / name)
        tokenizer.save_pretrained(directory / name)
