"""A base model and its head, put together and taken apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForPreTraining,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from lit_llm.backbone.architecture import has_task_class, is_causal, load_config
from lit_llm.backbone.lm_head import LMHead
from lit_llm.backbone.loading import LoadReport, load_model, new_model, quiet_transformers
from lit_llm.backbone.sentence_head import SENTENCE_OUTPUTS, new_sentence_head
from lit_llm.backbone.task_head import LinearHead, TaskHead, freeze_unused, take_pooler

_HEAD_FILE = "head.safetensors"
# Where one linear layer will do if transformers has no class for an architecture.
_LINEAR = (AutoModelForSequenceClassification, AutoModelForTokenClassification)
_LANGUAGE_MODELS = (AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForPreTraining)


def build_model(
    task: Any, config: PreTrainedConfig, directory: Path | None, attention: str | None
) -> tuple[PreTrainedModel, nn.Module | None, LoadReport]:
    """Create a task model and cut it in two.

    Args:
        task: an ``AutoModel...`` class. ``AutoModelForPreTraining`` means words and sentences:
            transformers' model for both where it has one, else its masked language model and a
            sentence head of our own.
        config: with the task's labels.
        directory: where the weights come from; None for random ones.
        attention: name of the attention implementation; None lets transformers choose.

    Returns:
        The base model without pooler, the head (None for ``AutoModel``, an ``LMHead`` for language
        models), and what was loaded.

    Raises:
        ValueError: transformers has no such task for the architecture, and one linear layer will
            not do either; or the head is none that ``LMHead`` takes.
    """
    wanted = _pretraining_class(config) if task is AutoModelForPreTraining else task
    known = has_task_class(wanted, config)
    if not known and wanted not in _LINEAR:
        raise ValueError(f"transformers has no {wanted.__name__} for {config.model_type}")
    auto = wanted if known else AutoModel
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
    if not known:
        take_pooler(model)
        return model, _linear_head(model.config, directory, report), report
    base, head = model.base_model, LMHead(model) if task in _LANGUAGE_MODELS else TaskHead(model)
    freeze_unused(head, base.config.hidden_size)
    if task is AutoModelForPreTraining and isinstance(head, LMHead):
        _complete(head, model.config, directory, report)
    return base, head, report


def save_model(base: PreTrainedModel, head: nn.Module | None, directory: Path) -> None:
    """Write base model and head so that transformers opens them; see ``Backbone.save``."""
    own = head
    with quiet_transformers():
        if isinstance(head, TaskHead):
            own = head.sentence if isinstance(head, LMHead) and head.has_own_sentence_head else None
            with head.joined(base) as task_model:
                task_model.save_pretrained(directory)
        else:
            base.save_pretrained(directory)
    if own is not None:
        weights = {name: tensor.contiguous() for name, tensor in own.state_dict().items()}
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


def _pretraining_class(config: PreTrainedConfig) -> Any:
    """The class with a head for words, and one for sentences if transformers has it."""
    if is_causal(config):
        raise ValueError(
            f"{config.model_type} is a decoder, whose first token has not read the sentences: "
            "choose no sentence objective"
        )
    return (
        AutoModelForPreTraining if config.model_type in SENTENCE_OUTPUTS else AutoModelForMaskedLM
    )


def _complete(
    head: LMHead, config: PreTrainedConfig, directory: Path | None, report: LoadReport
) -> None:
    """Give a language model a sentence head of our own if it has none."""
    if head.sentence is not None:
        return
    head.sentence = new_sentence_head(config)
    if not _fill(head.sentence, directory):
        report.new += [f"sentence.{name}" for name in head.sentence.state_dict()]
        report.head = False


def _linear_head(
    config: PreTrainedConfig, directory: Path | None, report: LoadReport
) -> LinearHead:
    """A head of our own, filled if the directory holds one for the same labels."""
    head = LinearHead(config)
    same_labels = directory is None or load_config(directory).id2label == config.id2label
    if same_labels and _fill(head, directory):
        report.loaded, report.head = [f"backbone and head from {directory}"], True
    else:
        report.new += [f"head.{name}" for name in head.state_dict()]
    return head


def _fill(head: nn.Module, directory: Path | None) -> bool:
    """Load a head of our own if the directory holds one of this kind."""
    file = directory / _HEAD_FILE if directory else None
    if file is None or not file.is_file():
        return False
    weights = load_file(file)
    if weights.keys() != head.state_dict().keys():
        return False
    head.load_state_dict(weights)
    return True
