"""Which attention runs in the backbone, and what it is told about the rows."""

from __future__ import annotations

from typing import Any

import torch

from lit_llm.backbone.segment_attention import SEGMENT_ATTENTION
from lit_llm.backbone.segment_layout import SegmentLayout
from lit_llm.batch import PackedBatch

_NAMES = {None: None, "sdpa": "sdpa", "eager": "eager", "segments": SEGMENT_ATTENTION}


def implementation_name(
    requested: str | None, model_type: str, packs: bool, windowed: bool
) -> str | None:
    """Transformers' name of an implementation; None lets it choose (sdpa where supported).

    Args:
        requested: the configuration's word; None takes ``segments`` on a machine without a GPU,
            where it is the faster one (experiments/speed), if the architecture allows it.
        model_type: transformers' name of the architecture.
        packs: the architecture takes packed rows.
        windowed: its layers look through a sliding window, which ``segments`` does not have.

    Raises:
        ValueError: an unknown name, or ``segments`` for an architecture without packed rows.
    """
    if requested not in _NAMES:
        raise ValueError(
            f"backbone.attn_implementation = {requested!r}: choose sdpa, eager or segments"
        )
    if requested is None and packs and not windowed and not torch.accelerator.is_available():
        return SEGMENT_ATTENTION
    if requested != "segments":
        return _NAMES[requested]
    if not packs:
        raise ValueError(f"backbone.attn_implementation: segments cannot run in {model_type}")
    return SEGMENT_ATTENTION


def mask_dtype(implementation: str, parameters: torch.dtype) -> torch.dtype | None:
    """How an implementation wants its mask; None if it needs none.

    Eager attention adds whatever it is given, so a boolean mask would be silently wrong there.
    """
    if implementation == SEGMENT_ATTENTION:
        return None
    return parameters if implementation == "eager" else torch.bool


def segment_arguments(implementation: str, batch: PackedBatch, causal: bool) -> dict[str, Any]:
    """What the segments implementation needs to know beside the inputs; empty for any other."""
    if implementation != SEGMENT_ATTENTION:
        return {}
    return {"segments": SegmentLayout(batch, causal)}
