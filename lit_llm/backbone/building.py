"""A base model and its head, put together and taken apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from lit_llm.backbone.architecture import has_task_class, load_config
from lit_llm.backbone.loading import LoadReport, load_model, new_model, quiet_transformers
from lit_llm.backbone.task_head import LinearHead, TaskHead, freeze_unused, take_pooler

_HEAD_FILE = "head.safetensors"
# Where one linear layer will do if transformers has no class for an architecture.
_LINEAR = (AutoModelForSequenceClassification, AutoModelForTokenClassification)


def build_model(
    task: Any, config: PreTrainedConfig, directory: Path | None, attention: str | None
) -> tuple[PreTrainedModel, nn.Module | None, LoadReport]:
    """Create a task model and cut it in two.

    Args:
        task: an ``AutoModel...`` class.
        config: with the task's labels.
        directory: where the weights come from; None for random ones.
        attention: name of the attention implementation; None lets transformers choose.

    Returns:
        The base model without pooler, the head (None for ``AutoModel``), and what was loaded.

    Raises:
        ValueError: transformers has no such task for the architecture, and one linear layer will
            not do either.
    """
    known = has_task_class(task, config)
    if not known and task not in _LINEAR:
        raise ValueError(f"transformers has no {task.__name__} for {config.model_type}")
    auto = task if known else AutoModel
    if directory is None:
        model, report = new_model(auto, config, attention), LoadReport()
    else:
        model, report = load_model(auto, directory, config, attention)
    if task is AutoModel:
        pooler = take_pooler(model)
        keys = [f"pooler.{name}" for name in pooler.state_dict()] if pooler is not None else []
        report.unused += [key for key in keys if directory and key not in report.new]
        report.new = [key for key in report.new if key not in keys]
        return model, None, report
    if known:
        base, head = model.base_model, TaskHead(model)
        freeze_unused(head, base.config.hidden_size)
        return base, head, report
    take_pooler(model)
    linear = LinearHead(model.config)
    _load_linear_head(linear, model.config, directory, report)
    return model, linear, report


def save_model(base: PreTrainedModel, head: nn.Module | None, directory: Path) -> None:
    """Write base model and head so that transformers opens them; see ``Backbone.save``."""
    with quiet_transformers():
        if isinstance(head, TaskHead):
            with head.joined(base) as task_model:
                task_model.save_pretrained(directory)
            return
        base.save_pretrained(directory)
    if head is not None:
        weights = {name: tensor.contiguous() for name, tensor in head.state_dict().items()}
        save_file(weights, directory / _HEAD_FILE)


def settle_padding(base: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    """Let the model know the padding token, without freezing a word that also means something.

    An embedding never learns its ``padding_idx``; where the padding token is also the end, start
    or unknown token, it has to.
    """
    if base.config.pad_token_id is None:
        base.config.pad_token_id = tokenizer.pad_token_id
    others = (tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.unk_token_id)
    if tokenizer.pad_token_id in others:
        base.get_input_embeddings().padding_idx = None


def _load_linear_head(
    head: LinearHead, config: PreTrainedConfig, directory: Path | None, report: LoadReport
) -> None:
    """Fill a head of our own if the directory holds one for the same labels."""
    file = directory / _HEAD_FILE if directory else None
    if file is None or not file.is_file() or load_config(file.parent).id2label != config.id2label:
        report.new += [f"head.{name}" for name in head.state_dict()]
        return
    head.load_state_dict(load_file(file))
    report.loaded, report.head = [f"backbone and head from {directory}"], True
