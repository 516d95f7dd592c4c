"""Dropout probabilities under every architecture's own name."""

from __future__ import annotations

from transformers import PreTrainedConfig

# Names in transformers' configurations; an architecture has those it was published with.
_HIDDEN = (
    "hidden_dropout_prob",
    "hidden_dropout",
    "dropout",
    "resid_pdrop",
    "embd_pdrop",
    "resid_dropout",
    "embed_dropout",
    "embedding_dropout",
    "mlp_dropout",
)
_ATTENTION = ("attention_probs_dropout_prob", "attention_dropout", "attn_pdrop")


def set_dropout(
    config: PreTrainedConfig, hidden_dropout: float | None, attention_dropout: float | None
) -> None:
    """Override a configuration's dropout, in place; None leaves it as it is.

    Args:
        config: any transformers configuration.
        hidden_dropout: probability in [0, 1) on embeddings and on each block's outputs.
        attention_dropout: probability in [0, 1) on the attention weights.

    Raises:
        ValueError: outside [0, 1), or the architecture has no such setting.
    """
    _set(config, "hidden_dropout", hidden_dropout, _HIDDEN)
    _set(config, "attention_dropout", attention_dropout, _ATTENTION)


def _set(config: PreTrainedConfig, what: str, value: float | None, names: tuple[str, ...]) -> None:
    if value is None:
        return
    if not 0 <= value < 1:
        raise ValueError(f"backbone.{what} = {value} is no probability in [0, 1)")
    present = [name for name in names if hasattr(config, name)]
    if not present:
        raise ValueError(f"backbone.{what}: {config.model_type} has no such setting; leave it out")
    for name in present:
        setattr(config, name, value)
