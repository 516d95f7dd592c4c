"""Questions about an architecture that transformers' own tables answer."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from torch import nn
from transformers import AutoConfig, PreTrainedConfig
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)

from lit_llm.backbone.loading import quiet_transformers


def is_causal(config: PreTrainedConfig) -> bool:
    """Whether tokens see only what stands before them (decoders).

    Decoders are the types that transformers has a causal language model for and no masked one;
    XLNet is in that list and sees both sides.
    """
    if getattr(config, "is_decoder", False):
        return True
    kind = config.model_type
    decoder = kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    return decoder and kind not in MODEL_FOR_MASKED_LM_MAPPING_NAMES and kind != "xlnet"


def has_task_class(task: Any, config: PreTrainedConfig) -> bool:
    """Whether an ``AutoModel...`` class knows a model for this configuration."""
    return type(config) in task._model_mapping


def load_config(directory: Path) -> PreTrainedConfig:
    """A directory's configuration.

    Raises:
        ValueError: transformers does not know the architecture without running the directory's own
            code, or it is an encoder-decoder.
    """
    try:
        with quiet_transformers():
            config = AutoConfig.from_pretrained(directory, trust_remote_code=False)
    except Exception as error:  # whatever its content makes of the reader
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"{directory}/config.json is no model of transformers: {reason}"
        ) from error
    if getattr(config, "is_encoder_decoder", False):
        raise ValueError(
            f"{directory}: {config.model_type} is an encoder-decoder; a backbone is an encoder or "
            "a decoder (BERT, GPT-2, ...)"
        )
    return config


def set_task(config: PreTrainedConfig, settings: dict[str, Any]) -> None:
    """Write a task's settings into a configuration, in place.

    Raises:
        ValueError: transformers' configuration has no such setting.
    """
    for name in sorted(settings, key=lambda name: name != "num_labels"):  # it resets the names
        if not hasattr(config, name):
            raise ValueError(f"{config.model_type}'s configuration has no setting {name!r}")
        setattr(config, name, settings[name])
    if "id2label" in settings and "label2id" not in settings:
        config.label2id = {label: i for i, label in config.id2label.items()}


def takes_argument(model: nn.Module, name: str) -> bool:
    """Whether a model's forward has an argument of this name."""
    return name in inspect.signature(model.forward).parameters
