"""Where the training, development and test data lie: files of a directory, or a hub data set."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SPLIT_WORDS = {
    "train": ("train",),
    "dev": ("dev", "validation", "valid", "val", "testa"),
    "test": ("test", "testb"),
}

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_PROBE_SECONDS = 5


@dataclass(frozen=True)
class HubSplit:
    """One split of a hub data set, or of one written with ``Dataset.save_to_disk``.

    Attributes:
        name: for ids and messages, like ``imdb[train]``.
        dataset: a ``datasets.Dataset``; of a hub id that is streamed, an ``IterableDataset``.
    """

    name: str
    dataset: Any


Source = Path | HubSplit


def find_splits(
    source: str | Path | Mapping[str, str | Path],
    required: Sequence[str] = ("train", "dev", "test"),
    hub_config: str | None = None,
) -> dict[str, Source]:
    """The files (or hub splits) of ``train``, ``dev`` and ``test``, as many as there are.

    In a directory, a file belongs to a split when its name, cut at ``.``, ``-`` and ``_``, holds
    one of the split's ``SPLIT_WORDS``: ``train.parquet``, ``eng.testa``, ``reviews_dev.csv``,
    ``test-00000-of-00001.parquet``. Hidden files, directories and names with no such word are
    left alone. A directory written by ``DatasetDict.save_to_disk`` is opened as the hub's form.

    Args:
        source: a directory, a mapping from split to file, or a hub id (only if no such path
            exists; see ``load_hub_splits``).
        required: splits that must be there.
        hub_config: the hub data set's configuration, if it has several.

    Raises:
        OSError: the path does not exist and is no hub id, or the hub cannot be reached.
        ValueError: a required split is missing or one is ambiguous (the message lists what was
            found), or a mapping's key is no split.
    """
    if isinstance(source, Mapping):
        return _mapped(source, required)
    path = Path(source)
    if path.is_dir():
        if (path / "dataset_dict.json").exists():
            return _pick(_saved(path), str(path), required)
        files = sorted(p for p in path.iterdir() if p.is_file() and p.name[0] != ".")
        return _pick({file.name: file for file in files}, str(path), required)
    if path.exists():
        raise ValueError(
            f"{path}: one file holds one split; pass its directory, or a mapping such as"
            " {train: FILE, dev: FILE, test: FILE}"
        )
    if isinstance(source, Path) or not is_hub_id(source):
        raise FileNotFoundError(f"{source}: no such directory; pass one that exists, or a hub id")
    return _pick(load_hub_splits(source, hub_config), source, required)


def is_hub_id(source: str) -> bool:
    """Whether a string could be a hub id and is no path here."""
    return _HUB_ID.fullmatch(source) is not None and not Path(source).exists()


def find_hub_split(
    source: str | Path, split: str, hub_config: str | None = None, streaming: bool = False
) -> HubSplit:
    """One split, under the hub's own name for it, of a hub id or ``DatasetDict.save_to_disk``.

    ``streaming``: a hub id is read from the hub as it is needed, and never stored.

    Raises:
        ConnectionError, ValueError: as ``load_hub_splits``; no split of that name (the message
            lists those there are).
    """
    saved = Path(source).is_dir()
    found = _saved(Path(source)) if saved else load_hub_splits(str(source), hub_config, streaming)
    if split not in found:
        raise ValueError(f"{source}: no split {split!r}; there are {', '.join(found)}: pass one")
    return found[split]


def load_hub_splits(
    hub_id: str, hub_config: str | None = None, streaming: bool = False
) -> dict[str, HubSplit]:
    """All splits of a data set on the Hugging Face hub, under the hub's names for them.

    Asks the hub once, with a time limit, before loading: without a network this fails at once.
    With ``HF_HUB_OFFLINE=1`` only the local copy of an earlier download is looked at. Data sets
    that need code of their own are not run. ``streaming``: nothing is stored.

    Raises:
        ConnectionError: no network, no such data set, or no local copy when offline.
        ValueError: the data set is there and cannot be read; its own reason is in the message.
    """
    import datasets
    from huggingface_hub import HfApi

    remedy = "pass a directory or files instead, or a data set whose copy is on this machine"
    if datasets.config.HF_HUB_OFFLINE:
        remedy = f"HF_HUB_OFFLINE is set, so only local copies are read: {remedy}"
    else:
        try:
            HfApi().dataset_info(hub_id, timeout=_PROBE_SECONDS)
        except Exception as error:  # the client raises a dozen kinds
            status = getattr(getattr(error, "response", None), "status_code", None)
            reason = "the hub cannot be reached (HF_HUB_OFFLINE=1 uses an earlier download)"
            if status is not None:
                reason = f"the hub has none that you may read (it answered {status})"
            raise ConnectionError(f"{hub_id!r} is no path here, and {reason}; {remedy}") from None
    options = {"streaming": True} if streaming else {}
    try:
        loaded = datasets.load_dataset(hub_id, hub_config, **options)
    except Exception as error:  # its builders raise whatever the files make them raise
        reason = str(error).strip().split("\n")[0]
        kind = ConnectionError if isinstance(error, OSError) else ValueError
        raise kind(
            f"{hub_id!r} is no path here, and not read from the hub: {reason}; {remedy}"
        ) from None
    return _hub_splits(loaded, hub_id)


def _hub_splits(loaded: Any, name: str) -> dict[str, HubSplit]:
    return {str(key): HubSplit(f"{name}[{key}]", dataset) for key, dataset in loaded.items()}


def _saved(path: Path) -> dict[str, HubSplit]:
    import datasets

    return _hub_splits(datasets.load_from_disk(str(path)), path.name)


def _mapped(source: Mapping[str, str | Path], required: Sequence[str]) -> dict[str, Source]:
    for key, value in source.items():
        if not Path(value).is_file():
            raise FileNotFoundError(f"{key}: {value}: no such file; pass one that exists")
    found: dict[str, Source] = {key: Path(value) for key, value in source.items()}
    if unknown := [key for key in found if len(splits_of(key)) != 1]:
        raise ValueError(f"{unknown[0]!r} is no split; use {', '.join(SPLIT_WORDS)}")
    return _pick(found, "the mapping", required)


def splits_of(name: str) -> list[str]:
    """The splits whose words occur in a name; none, one, or a name that says too much."""
    parts = re.split(r"[._-]", name.lower())
    return [split for split, words in SPLIT_WORDS.items() if set(words) & set(parts)]


def _pick(candidates: Mapping[str, Any], place: str, required: Iterable[str]) -> dict[str, Source]:
    """One candidate a split, by name."""
    found: dict[str, Source] = {}
    listing = ", ".join(candidates) or "nothing"
    for split, words in SPLIT_WORDS.items():
        names = [name for name in candidates if split in splits_of(name)]
        if len(names) > 1:
            raise ValueError(
                f"{place}: {' and '.join(names)} could each be the {split} split; leave one there,"
                " or pass a mapping from split to file"
            )
        if names:
            found[split] = candidates[names[0]]
        elif split in required:
            raise ValueError(
                f"{place}: no {split} split (looked for {', '.join(words)}; found {listing}); add"
                " it, or pass a mapping from split to file"
            )
    return found
