"""Where a backbone comes from: a name or a path becomes a directory, or a size."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants, get_session, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError, safe_open

from lit_llm.backbone.sizes import SIZES

_INSTEAD = (
    "pass a local directory, pkg://package/path, an earlier run's directory, or train from "
    f"scratch with one of the sizes {', '.join(SIZES)} and a tokenizer"
)
# What a model needs and nothing else: neither other frameworks' weights nor sub-directories.
_HUB_FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]
_NOT_FROM_HUB = ["*/*", "consolidated*"]
_TOKENIZER_FILES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "tokenizer.model",
    "spiece.model",
    "spm.model",
    "sentencepiece.bpe.model",
)

TOKENIZER_KEY = "backbone.tokenizer"


@dataclass(frozen=True)
class Source:
    """A resolved source: exactly one of the two is set.

    Attributes:
        directory: holds ``config.json`` and usually weights and a tokenizer.
        size: one of ``SIZES``, to be trained from scratch.
        is_run: the directory is an earlier run's ``best/``.
    """

    directory: Path | None = None
    size: str | None = None
    is_run: bool = False


def resolve_source(source: str, what: str = "backbone.source") -> Source:
    """Find out what a source string means.

    Tried in this order: ``pkg://``, a named size, a directory, a hub id. A directory called like a
    size is reached as ``./tiny``.

    Args:
        source: hub id, directory, run directory, ``pkg://package/path`` or named size.
        what: the configuration key, for messages.

    Raises:
        ValueError: the package or directory does not exist, or the run has no ``best/``.
        OSError: the hub cannot be reached, or does not have it (at once, without retries).
    """
    if source.startswith("pkg://"):
        return Source(directory=_package_directory(source, what))
    if source in SIZES:
        return Source(size=source)
    path = Path(source).expanduser()
    if source and path.is_dir():
        return _local_directory(path, what)
    is_path = source.startswith(("/", ".", "~")) or source.count("/") > 1
    if is_path or not source or path.is_file():
        raise ValueError(f"{what} = {source!r}: there is no such directory; {_INSTEAD}")
    return Source(directory=_hub_directory(source, what))


def find_directory(source: str, what: str) -> Path:
    """Like ``resolve_source``, where only a directory will do.

    Raises:
        ValueError: as ``resolve_source``, or ``source`` is a named size.
        OSError: as ``resolve_source``.
    """
    found = resolve_source(source, what).directory
    if found is None:
        raise ValueError(f"{what} = {source!r} is a size to train from scratch: name a directory")
    return found


def has_tokenizer(directory: Path) -> bool:
    """Whether the directory holds tokenizer files."""
    return any((directory / name).is_file() for name in _TOKENIZER_FILES)


def check_weights(directory: Path, what: str = "backbone.source") -> None:
    """Insist on safetensors, and on whole ones.

    Raises:
        ValueError: the directory holds no ``model.safetensors`` nor an index of its parts; a pickle
            is named, with the way out; a file is damaged, or the index names one that is none.
    """
    files = _weight_files(directory, what)
    for file in files:
        try:
            with safe_open(file, framework="pt"):
                pass
        except (OSError, SafetensorError) as error:
            raise ValueError(
                f"{what}: {file} is no whole safetensors file ({error}): fetch it again"
            ) from None
    if files:
        return
    pickles = sorted(directory.glob("pytorch_model*.bin"))
    if not pickles:
        raise ValueError(f"{what}: {directory} holds no *.safetensors weights")
    raise ValueError(
        f"{what}: {pickles[0]} is a pickle, which can run code when it is read; if you trust it, "
        f'convert it once: AutoModel.from_pretrained("{directory}").save_pretrained("NEW_DIR"), '
        "then pass NEW_DIR (and copy the tokenizer's files)"
    )


def _weight_files(directory: Path, what: str) -> list[Path]:
    """The files transformers would read: one, or those its index names."""
    whole, index = directory / "model.safetensors", directory / "model.safetensors.index.json"
    if whole.is_file() or not index.is_file():
        return [whole] * whole.is_file()
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{what}: {index} is no index of weights: fetch it again") from None
    for name in names:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise ValueError(f"{what}: {index} names {name!r}, no safetensors file beside it")
    return [directory / name for name in names]


def _is_usable(directory: Path, what: str) -> bool:
    """A tokenizer may stand alone; anything else needs a model's configuration."""
    if what == TOKENIZER_KEY and has_tokenizer(directory):
        return True
    return (directory / "config.json").is_file()


def _package_directory(source: str, what: str) -> Path:
    package, _, inside = source.removeprefix("pkg://").partition("/")
    try:  # of a top-level package this reads no code of the package
        spec = importlib.util.find_spec(package) if package.isidentifier() else None
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(
            f"{what} = {source!r}: no Python package {package!r} is installed; install it, or "
            "write pkg://package/path/in/package"
        )
    for root in spec.submodule_search_locations:
        directory = Path(root, inside)
        if _is_usable(directory, what):
            return directory
    raise ValueError(f"{what} = {source!r}: {directory} holds no config.json")


def _local_directory(path: Path, what: str) -> Source:
    if (path / "best").is_dir():
        best = path / "best"
        if not _is_usable(best, what):
            raise ValueError(f"{what}: {best} holds no config.json: the run saved no model")
        return Source(directory=best, is_run=True)
    if _is_usable(path, what):
        return Source(directory=path, is_run=(path.name == "best"))
    if (path / "config.yaml").is_file():
        raise ValueError(
            f"{what}: {path} is a run that has no best/ yet: let it finish, or resume it with "
            f"`lit-llm fit --resume {path}`"
        )
    raise ValueError(f"{what}: {path} holds neither config.json nor best/; {_INSTEAD}")


def _hub_directory(repo_id: str, what: str) -> Path:
    offline = constants.is_offline_mode() or not _hub_answers()
    try:
        found = snapshot_download(
            repo_id,
            allow_patterns=_HUB_FILES,
            ignore_patterns=_NOT_FROM_HUB,
            local_files_only=offline,
        )
    except LocalEntryNotFoundError as error:
        raise OSError(
            f"{what} = {repo_id!r} is no directory or size, and as a hub id it cannot be fetched "
            f"without a network and is not in the local cache: {_INSTEAD}"
        ) from error
    except (HfHubHTTPError, HFValidationError) as error:
        raise OSError(
            f"{what} = {repo_id!r} is no directory or size, and the hub does not give it out "
            f"({str(error).splitlines()[0]}): check the name (organisation/model), or {_INSTEAD}"
        ) from error
    directory = Path(found)
    if not _is_usable(directory, what):
        raise OSError(f"{what} = {repo_id!r}: {directory} holds no config.json; {_INSTEAD}")
    return directory


def _hub_answers() -> bool:
    """One short question, because the hub's own client retries for minutes."""
    try:
        get_session().head(constants.ENDPOINT, timeout=3)
    except Exception:  # whatever goes wrong below HTTP means the same: no network
        return False
    return True
