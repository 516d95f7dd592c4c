"""What a checkpoint and the run that goes on from it must have in common."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_NOT_SHAPE = {"transformers_version", "architectures", "id2label", "label2id", "dtype"}


def identity(objective: Any) -> dict[str, Any]:
    """Class, labels, architecture, tokenizer and training data, as plain data."""
    config = json.loads(objective.backbone.config.to_json_string(use_diff=False))
    shape = {k: v for k, v in config.items() if not k.startswith("_") and k not in _NOT_SHAPE}
    tokenizer = json.dumps(objective.backbone.tokenizer_state(), sort_keys=True)
    data = objective.trainer.datamodule
    return {
        "objective": f"{type(objective).__module__}.{type(objective).__qualname__}",
        "label_names": list(objective.label_names),
        "backbone": shape,
        "tokenizer": hashlib.sha256(tokenizer.encode()).hexdigest()[:16],
        "training data": getattr(data, "fingerprints", {}).get("train"),
    }


def refuse_other_run(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """Compare a checkpoint's identity with that of the run at hand.

    Raises:
        ValueError: names what differs, and how.
    """
    differences = [
        f"{name} ({_difference(theirs.get(name), value)})"
        for name, value in ours.items()
        if theirs.get(name) != value
    ]
    if differences:
        raise ValueError(f"this is another run's checkpoint: {'; '.join(differences)}")


def _difference(theirs: Any, ours: Any) -> str:
    if not (isinstance(theirs, Mapping) and isinstance(ours, Mapping)):
        return f"{theirs!r} there, {ours!r} here"
    keys = sorted(k for k in theirs.keys() | ours.keys() if theirs.get(k) != ours.get(k))
    return ", ".join(f"{k} {theirs.get(k)!r} there, {ours.get(k)!r} here" for k in keys)
