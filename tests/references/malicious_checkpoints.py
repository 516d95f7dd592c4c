"""Files that pose as checkpoints; a careless reader of them creates the canary."""

import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch


class Payload:
    """Unpickled, it makes a directory at the canary's path."""

    def __init__(self, canary: Path) -> None:
        self.canary = str(canary)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.makedirs, (self.canary,)


def write_all(directory: Path, canary: Path) -> dict[str, Path]:
    """One file (or directory) of each kind, by what is wrong with it.

    Args:
        directory: where to; created.
        canary: what comes to exist if a payload runs.
    """
    directory.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name, (suffix, write) in KINDS.items():
        paths[name] = directory / f"{name.replace(' ', '_')}{suffix}"
        write(paths[name], Payload(canary))
    assert not canary.exists()
    return paths


def _pickle(path: Path, payload: Payload) -> None:
    path.write_bytes(pickle.dumps({"state_dict": payload}, protocol=2))


def _torch(path: Path, payload: Payload) -> None:
    torch.save({"state_dict": {"weight": torch.zeros(2)}, "extra": payload}, path)


def _torch_legacy(path: Path, payload: Payload) -> None:
    torch.save({"state_dict": payload}, path, _use_new_zipfile_serialization=False)


def _instantiator(path: Path, payload: Payload) -> None:
    """LightningCLI's checkpoints name what builds the model; here it also runs on reading."""
    hyper_parameters = {"_instantiator": payload, "class_path": "os.system", "init_args": {}}
    torch.save({"state_dict": {}, "hyper_parameters": hyper_parameters}, path)


def _traversal(path: Path, payload: Payload) -> None:
    _torch(path, payload)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(f"{path.stem}/../../{Path(payload.canary).name}", b"x")
        file.writestr(f"{path.stem}/{payload.canary}", b"x")


def _truncated(path: Path, payload: Payload) -> None:
    _torch(path, payload)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


def _empty(path: Path, payload: Payload) -> None:
    path.touch()


def _huge_header(path: Path, payload: Payload) -> None:
    path.write_bytes(struct.pack("<Q", 2**60) + b"{}")


def _overlapping(path: Path, payload: Payload) -> None:
    """Two tensors over the same bytes, and a third behind the end of the file."""
    places = {"a": (0, 16), "b": (8, 24), "c": (2**40, 2**40 + 16)}
    header = json.dumps(
        {
            name: {"dtype": "F32", "shape": [4], "data_offsets": place}
            for name, place in places.items()
        }
    ).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(24))


def _numpy(path: Path, payload: Payload) -> None:
    with path.open("wb") as file:
        np.save(file, np.array([payload], dtype=object), allow_pickle=True)


def _joblib(path: Path, payload: Payload) -> None:
    """A pickle with raw bytes behind it, as joblib writes arrays."""
    path.write_bytes(pickle.dumps([payload], protocol=4) + bytes(64))


def _torchscript(path: Path, payload: Payload) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(path))
    with zipfile.ZipFile(path) as file:
        members = {info: file.read(info) for info in file.infolist()}
    with zipfile.ZipFile(path, "w") as file:
        for info, content in members.items():
            if info.filename.endswith("data.pkl"):
                content = pickle.dumps(payload, protocol=2)
            file.writestr(info.filename, content)


def _directory(path: Path, payload: Payload) -> None:
    path.mkdir()
    _pickle(path / "data.pkl", payload)


KINDS: dict[str, tuple[str, Callable[[Path, Payload], None]]] = {
    "pickle": (".ckpt", _pickle),
    "pickle in a torch zip": (".ckpt", _torch),
    "pickle of old torch": (".pt", _torch_legacy),
    "instantiator in hyper_parameters": (".ckpt", _instantiator),
    "zip with traversal names": (".ckpt", _traversal),
    "truncated zip": (".ckpt", _truncated),
    "empty file": (".ckpt", _empty),
    "safetensors with a huge header": (".safetensors", _huge_header),
    "safetensors that overlap": (".safetensors", _overlapping),
    "state that is a plain pickle": (".pt", _pickle),
    "numpy object array": (".npy", _numpy),
    "joblib": (".joblib", _joblib),
    "torchscript": (".pt", _torchscript),
    "directory": (".ckpt", _directory),
}
