"""Weights into models: strict where it matters, quiet otherwise, and saying what was done."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging

from lit_llm.backbone.source import check_weights

# Buffers that older checkpoints stored and today's models compute.
_OLD_BUFFERS = re.compile(r"(attn|attention)\.(masked_)?bias$|position_ids$|inv_freq$")


@dataclass
class LoadReport:
    """What came from where.

    Attributes:
        loaded: what was filled, and from which directory.
        new: keys that start from random weights.
        unused: keys of the files that found no place.
        head: the head was filled too.
    """

    loaded: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    head: bool = False

    def followed_by(self, transferred: LoadReport) -> LoadReport:
        """The report after backbone weights from elsewhere were copied over these."""
        loaded = ["head"] * self.head + transferred.loaded
        return LoadReport(loaded, self.new, self.unused + transferred.unused, self.head)

    def note(self, part: str) -> None:
        """Say that of what was loaded only a part is kept."""
        self.loaded = [f"{what} ({part})" for what in self.loaded]

    def __str__(self) -> str:
        parts = [f"loaded {what}" for what in self.loaded]
        parts += [f"new: {_listed(self.new)}"] * bool(self.new)
        parts += [f"not used: {_listed(self.unused)}"] * bool(self.unused)
        return "; ".join(parts) or "random weights"


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Without transformers' progress bars and load reports, which our own line replaces."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def new_model(task: Any, config: PreTrainedConfig, attention: str | None) -> PreTrainedModel:
    """A task model with random weights, float32."""
    with quiet_transformers():
        model: PreTrainedModel = task.from_config(
            copy.deepcopy(config), attn_implementation=attention, dtype=torch.float32
        )
    return model


def load_model(
    task: Any, directory: Path, config: PreTrainedConfig, attention: str | None
) -> tuple[PreTrainedModel, LoadReport]:
    """A task model with a directory's weights, float32.

    The base model must be there in full. The directory's head is taken over if it belongs to the
    same task class and the same label names; otherwise the head is new.

    Args:
        task: an ``AutoModel...`` class that knows ``config``.
        directory: holds ``config.json`` and ``*.safetensors``.
        config: with the labels of this task.
        attention: name of the attention implementation; None lets transformers choose.

    Raises:
        ValueError: a weight of the base model is missing, has another shape, or there are blocks
            the configuration has no place for (the message names the key).
    """
    check_weights(directory)
    with quiet_transformers():
        model, info = task.from_pretrained(
            directory,
            config=copy.deepcopy(config),
            attn_implementation=attention,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            ignore_mismatched_sizes=True,  # a head with other labels; the base is checked below
            output_loading_info=True,
        )
    report = _checked_report(model, info, directory)
    found = set(_head_keys(model)) - set(report.new)
    if found and not _same_head(model, directory, task_name=type(model).__name__):
        model = _with_new_head(task, model, attention)
        report.new = sorted({*report.new, *_head_keys(model)})
        report.unused = sorted({*report.unused, *found})
    elif found == set(_head_keys(model)) != set():
        report.loaded, report.head = [f"backbone and head from {directory}"], True
    elif found & _own_head_keys(model):
        report.loaded = [f"backbone and part of the head from {directory}"]
    return model, report


def transfer(model: nn.Module, directory: Path, config: PreTrainedConfig) -> LoadReport:
    """Copy a directory's backbone weights into a base model, strictly.

    Args:
        model: the base model, already without pooler.
        directory: where the weights come from; its head and pooler stay behind.
        config: of ``model``.

    Raises:
        ValueError: another architecture, or a weight that only one of the two has, or has in
            another shape (the message names the key).
    """
    with quiet_transformers():
        theirs = AutoConfig.from_pretrained(directory, trust_remote_code=False)
    if theirs.model_type != config.model_type:
        raise ValueError(
            f"init_from: {directory} is a {theirs.model_type}, the backbone a {config.model_type}"
        )
    other, report = load_model(AutoModel, directory, theirs, None)
    given = {k: v for k, v in other.state_dict().items() if not k.startswith("pooler.")}
    wanted = model.state_dict()
    if missing := sorted(wanted.keys() - given.keys()):
        raise ValueError(f"init_from: {directory} lacks {_listed(missing)} of the backbone")
    if unexpected := sorted(given.keys() - wanted.keys()):
        raise ValueError(f"init_from: {directory} has {_listed(unexpected)}, the backbone has not")
    for key, value in given.items():
        if value.shape != wanted[key].shape:
            raise ValueError(
                f"init_from: {key} is {tuple(value.shape)} in {directory} and "
                f"{tuple(wanted[key].shape)} in the backbone"
            )
    model.load_state_dict(given)
    pooler = [key for key in other.state_dict() if key.startswith("pooler.")]
    kept = sorted({*report.unused, *pooler} - set(report.new))
    return LoadReport([f"backbone.* from {directory}"], unused=kept)


def _checked_report(model: PreTrainedModel, info: dict[str, Any], directory: Path) -> LoadReport:
    """Stop where the base model was not filled exactly; otherwise say what was loaded."""
    missing, mismatched = set(info["missing_keys"]), {key for key, *_ in info["mismatched_keys"]}
    unused = sorted(key for key in info["unexpected_keys"] if not _OLD_BUFFERS.search(key))
    for problem, keys in (("lacks", missing), ("has another shape of", mismatched)):
        if bad := sorted(key for key in keys if _base_key(key, model)):
            raise ValueError(f"{directory} {problem} {_listed(bad)} of {type(model).__name__}")
    if bad := [key for key in unused if _base_key(key, model)]:
        raise ValueError(
            f"{directory} holds {_listed(bad)}, and by its config.json the model has no such part"
        )
    return LoadReport([f"backbone from {directory}"], sorted(missing | mismatched), unused)


def _base_key(key: str, model: PreTrainedModel) -> bool:
    """Whether a key belongs to the base model's layers; its pooler counts as head."""
    key = key.removeprefix(model.base_model_prefix + ".")
    part = key.partition(".")[0]
    return part != "pooler" and part in dict(model.base_model.named_children())


def _head_keys(model: PreTrainedModel) -> list[str]:
    """Keys outside the base model."""
    if model.base_model is model:
        return []
    prefix = model.base_model_prefix + "."
    return sorted(key for key in model.state_dict() if not key.startswith(prefix))


def _own_head_keys(model: PreTrainedModel) -> set[str]:
    """Keys outside the base model that are not tied to one of its weights."""
    tied = {id(parameter) for parameter in model.base_model.parameters()}
    named = model.named_parameters(remove_duplicate=False)
    return {name for name, parameter in named if id(parameter) not in tied}


def _same_head(model: PreTrainedModel, directory: Path, task_name: str) -> bool:
    """Whether the directory's head answers the same question: same class, same labels.

    A language model's head has the vocabulary for labels, which comes with the source.
    """
    if "Classification" not in task_name:
        return True
    with quiet_transformers():
        theirs = AutoConfig.from_pretrained(directory, trust_remote_code=False)
    same_task = task_name in (theirs.architectures or [])
    return same_task and theirs.id2label == model.config.id2label


def _with_new_head(task: Any, loaded: PreTrainedModel, attention: str | None) -> PreTrainedModel:
    model = new_model(task, loaded.config, attention)
    model.base_model.load_state_dict(loaded.base_model.state_dict())
    return model


def _listed(keys: Iterable[str]) -> str:
    keys = list(keys)
    return ", ".join(keys[:4]) + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")
