"""Checkpoints as directories that are whole or do not exist, and are checked before use.

``step-120/`` holds ``weights.safetensors`` (the module's state), ``state.pt`` (everything else:
plain data and tensors, read with ``weights_only=True``) and ``manifest.json`` (size and SHA-256 of
both). A checkpoint is written beside its place, flushed, read back and renamed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import CheckpointIO
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from lit_llm.durable import flush, flush_tree

WEIGHTS, STATE, MANIFEST = "weights.safetensors", "state.pt", "manifest.json"
SCHEMA = 1
_NAME = re.compile(r"step-(\d+)$")


class CheckpointError(ValueError):
    """A checkpoint that must not be used; the message names the file and what is wrong with it."""


class VerifiedCheckpointIO(CheckpointIO):
    """Writes and reads the trainer's state as a directory.

    Attributes:
        failure: why the last save failed; None if it did not. It is kept rather than raised, since
            only one rank writes while the others wait: all of them raise it afterwards.
    """

    def __init__(self) -> None:
        self.failure: str | None = None

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write, flush, read back, rename; on failure nothing of it remains."""
        target = Path(path)
        staging = target.with_name(f".{target.name}.new")
        self.failure = None
        try:
            shutil.rmtree(staging, ignore_errors=True)
            staging.mkdir(parents=True)
            _write(checkpoint, staging)
            if target.exists():  # found broken when the run was resumed before it
                _remove(target)
            os.rename(staging, target)
            flush(target.parent)
        except Exception as error:  # a full disk, or a state that is no plain data
            self.failure = f"{target} could not be written: {error}"
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Check a checkpoint's files against its manifest, and read it; nothing is executed.

        Raises:
            CheckpointError: it is not whole, or not ours.
        """
        path = Path(path)
        verify(path)
        checkpoint = _read_state(path / STATE)
        checkpoint["state_dict"] = _read_weights(path / WEIGHTS)
        return checkpoint

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint; one that is half removed has another name."""
        _remove(Path(path))


def checkpoints(directory: Path) -> list[Path]:
    """The published checkpoints of a directory, the newest first."""
    found = {path: _NAME.match(path.name) for path in directory.glob("step-*")}
    return sorted((p for p in found if found[p]), key=step_of, reverse=True)


def step_of(path: Path) -> int:
    """Optimizer steps made when the checkpoint was written."""
    match = _NAME.match(path.name)
    assert match is not None
    return int(match[1])


def newest_valid(directory: Path) -> Path | None:
    """The newest checkpoint that is whole; None where none was ever written.

    Those passed over are named in a warning.

    Raises:
        CheckpointError: there are checkpoints, and not one is whole.
    """
    found = checkpoints(directory)
    for path in found:
        try:
            verify(path)
        except CheckpointError as error:
            warnings.warn(f"passed over: {error}", stacklevel=2)
        else:
            return path
    if found:
        raise CheckpointError(f"{directory}: none of its {len(found)} checkpoints is whole")
    return None


def verify(path: Path) -> dict[str, Any]:
    """A checkpoint's manifest, once its files have been found to be what it says.

    Raises:
        CheckpointError: names the file that is missing, cut short or changed.
    """
    if not path.is_dir():
        raise CheckpointError(f"{path} is no checkpoint: it is no directory")
    try:
        manifest: dict[str, Any] = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        listed = {
            name: (entry["bytes"], entry["sha256"]) for name, entry in manifest["files"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path / MANIFEST} cannot be read: {error}") from None
    if manifest.get("schema") != SCHEMA or set(listed) != {WEIGHTS, STATE}:
        raise CheckpointError(f"{path / MANIFEST} is of another format than {SCHEMA}")
    for name, (size, digest) in listed.items():
        file = path / name
        if file.is_symlink() or not file.is_file():
            raise CheckpointError(f"{file} is missing")
        if file.stat().st_size != size:
            raise CheckpointError(f"{file} has {file.stat().st_size:,} bytes, not {size:,}")
        if _digest(file) != digest:
            raise CheckpointError(f"{file} was changed: its SHA-256 is not the manifest's")
    return manifest


def _write(checkpoint: dict[str, Any], directory: Path) -> None:
    state = {key: value for key, value in checkpoint.items() if key != "state_dict"}
    _save_weights(checkpoint["state_dict"], directory / WEIGHTS)
    with (directory / STATE).open("wb") as file:
        torch.save(state, file)
    _read_state(directory / STATE)
    files = {}
    for name in (WEIGHTS, STATE):
        path = directory / name
        files[name] = {"bytes": path.stat().st_size, "sha256": _digest(path)}
    manifest = {"schema": SCHEMA, "step": checkpoint["global_step"], "files": files}
    (directory / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    flush_tree(directory)


def _save_weights(weights: dict[str, Tensor], path: Path) -> None:
    """Tied weights are stored once; ``shared`` in the file's metadata says who they are."""
    first: dict[tuple[Any, ...], str] = {}
    shared: dict[str, str] = {}
    kept: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        place = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if tensor.numel() and place in first:
            shared[name] = first[place]
        else:
            first[place] = name
            kept[name] = tensor.detach().cpu().contiguous()
    save_file(kept, path, metadata={"shared": json.dumps(shared)})
    if _read_weights(path).keys() != weights.keys():
        raise CheckpointError(f"{path} does not hold what was written")


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            shared = json.loads((file.metadata() or {}).get("shared", "{}"))
        weights: dict[str, Tensor] = load_file(path)
        return weights | {name: weights[other] for name, other in shared.items()}
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from None


def _read_state(path: Path) -> dict[str, Any]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or hostile file makes of the reader
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"{path} holds more than plain data and tensors: {reason}") from None
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} holds a {type(state).__name__}, not a trainer's state")
    return state


def _remove(path: Path) -> None:
    doomed = path.with_name(f".{path.name}.old")
    shutil.rmtree(doomed, ignore_errors=True)
    os.rename(path, doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
