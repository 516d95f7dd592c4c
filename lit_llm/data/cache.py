"""Tokenised data on disk: written once, whole or not at all, read by memory map."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
from filelock import FileLock

from lit_llm.durable import flush, flush_tree

CACHE_VERSION = 2
"""Raise by hand when the same inputs must give other items."""

_CHUNK = 2048
_RELEASE_EVERY = 32  # rows read; the kernel may map half a megabyte around each


def fingerprint(parts: Any) -> str:
    """A short hash of plain data: equal parts, equal hash, on any machine.

    Raises:
        TypeError: a part is not JSON data.
    """
    text = json.dumps([CACHE_VERSION, parts], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def package_hash(package: ModuleType) -> str:
    """SHA-256 over a package's source files: generated data changes with the generator."""
    root = Path(package.__path__[0])
    files = sorted(root.glob("*.py"))
    return fingerprint([[file.name, file_hash(file)] for file in files])


def default_cache_dir() -> Path:
    """``$LIT_LLM_CACHE``, else ``lit_llm`` under the user's cache directory."""
    if "LIT_LLM_CACHE" in os.environ:
        return Path(os.environ["LIT_LLM_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lit_llm"


def build_once(directory: Path, build: Callable[[Path], None]) -> Path:
    """Have ``directory`` built by one process; the others wait and find it.

    ``build`` fills a directory beside the target, which is then flushed and renamed: an interrupted
    build leaves nothing that could be taken for a finished one.
    """
    if directory.is_dir():
        return directory
    directory.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{directory}.lock"):
        for leftover in directory.parent.glob(f".{directory.name}-*"):
            shutil.rmtree(leftover)  # of a build that was killed: we hold its lock
        if directory.is_dir():
            return directory
        staging = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
        try:
            build(staging)
            flush_tree(staging)
            staging.chmod(0o755)
            os.replace(staging, directory)
            flush(directory.parent)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
    return directory


def write_table(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows of plain data as one Arrow file, in chunks; the number of rows.

    The column types are those of the first chunk.

    Raises:
        ValueError: there is no row.
    """
    count = 0
    writer: Any = None
    with pa.OSFile(str(path), "wb") as sink:
        for chunk in _chunks(rows):
            table = pa.Table.from_pylist(chunk, schema=writer and writer[1])
            if writer is None:
                schema = _compact(table.schema)
                writer = (pa.ipc.new_file(sink, schema), schema)
                table = table.cast(schema)
            writer[0].write_table(table, max_chunksize=_CHUNK)
            count += len(chunk)
        if writer is None:
            raise ValueError(f"no example to write to {path.name}")
        writer[0].close()
    return count


def _chunks(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    chunk: list[Mapping[str, Any]] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _compact(schema: Any) -> Any:
    """Token ids and positions fit 32 bits."""

    def smaller(kind: Any) -> Any:
        if pa.types.is_list(kind):
            return pa.list_(smaller(kind.value_type))
        if pa.types.is_integer(kind) or pa.types.is_null(kind):
            return pa.int32()
        return pa.float32() if pa.types.is_float64(kind) else kind

    return pa.schema([pa.field(field.name, smaller(field.type)) for field in schema])


class ArrowTable(Sequence[dict[str, Any]]):
    """Rows of an Arrow file, memory-mapped; what was read is let go of again and again.

    ``table[i]`` is a dictionary: numeric lists come as NumPy arrays, the rest as Python values.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self._open()

    def _open(self) -> None:
        with open(self.path, "rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._reads = 0
        reader = pa.ipc.open_file(pa.py_buffer(self._map))
        self._batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
        sizes = [batch.num_rows for batch in self._batches]
        self._starts = np.cumsum([0, *sizes])
        self.column_names: list[str] = reader.schema.names

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}  # a loader's worker maps the file anew

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.path = state["path"]
        self._open()

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)} in {self.path}")
        self._reads += 1
        if self._reads % _RELEASE_EVERY == 0 and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)  # they stay in the system's page cache
        chunk = int(np.searchsorted(self._starts, index, side="right")) - 1
        batch, row = self._batches[chunk], index - int(self._starts[chunk])
        return {
            name: _value(column[row])
            for name, column in zip(self.column_names, batch.columns, strict=True)
        }

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[i] for i in range(len(self)))

    def list_lengths(self, name: str) -> np.ndarray[Any, Any]:
        """How long each row's list in a column is, int64."""
        parts = [np.diff(batch.column(name).offsets.to_numpy()) for batch in self._batches]
        return np.concatenate(parts).astype(np.int64)

    def flat_lists(self, name: str) -> np.ndarray[Any, Any]:
        """The lists of a column, all rows end to end."""
        parts = [batch.column(name).flatten() for batch in self._batches]
        return np.concatenate([part.to_numpy(zero_copy_only=False) for part in parts])

    def column(self, name: str) -> np.ndarray[Any, Any]:
        """A numeric column, (rows,)."""
        parts = [batch.column(name).to_numpy(zero_copy_only=False) for batch in self._batches]
        return np.concatenate(parts)

    @property
    def lengths(self) -> np.ndarray[Any, Any]:
        """Tokens of each item, int64."""
        return self.list_lengths("input_ids")


def _value(scalar: Any) -> Any:
    if isinstance(scalar, pa.ListScalar) and pa.types.is_primitive(scalar.type.value_type):
        return scalar.values.to_numpy(zero_copy_only=False)
    return scalar.as_py()
