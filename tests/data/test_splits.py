from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import datasets
import huggingface_hub
import pytest

from lit_llm.data.splits import HubSplit, find_splits, load_hub_splits
from lit_llm.data.table_examples import read_text_table, read_token_table


def fill(directory: Path, *names: str) -> Path:
    for name in names:
        (directory / name).write_text("x")
    return directory


def hub_dataset() -> datasets.DatasetDict:
    """The hub's form of CoNLL-2003: word lists and class indices with names."""
    features = datasets.Features(
        id=datasets.Value("string"),
        tokens=datasets.List(datasets.Value("string")),
        ner_tags=datasets.List(datasets.ClassLabel(names=["O", "B-PER", "I-PER"])),
    )
    rows = {"id": ["0", "1"], "tokens": [["Ann", "Lee"], ["on"]], "ner_tags": [[1, 2], [0]]}
    split = datasets.Dataset.from_dict(rows, features=features)
    return datasets.DatasetDict(train=split, validation=split, test=split)


@pytest.mark.parametrize(
    "names",
    [
        ("eng.train", "eng.testa", "eng.testb"),
        ("train.txt", "dev.txt", "test.txt"),
        ("train.parquet", "validation.parquet", "test.parquet"),
        ("train-00000-of-00001.parquet", "val-00000-of-00001.parquet", "test.parquet"),
        ("reviews_train.csv", "reviews_valid.csv", "reviews_test.csv"),
    ],
)
def test_find_splits_by_name(tmp_path: Path, names: tuple[str, str, str]) -> None:
    fill(tmp_path, *names, "README.md", ".train.swp", "latest.txt")
    expected = dict(zip(("train", "dev", "test"), (tmp_path / n for n in names), strict=True))
    assert find_splits(tmp_path) == expected
    assert find_splits(str(tmp_path)) == expected


def test_find_splits_missing_lists_what_is_there(tmp_path: Path) -> None:
    fill(tmp_path, "train.csv", "notes.txt")
    with pytest.raises(
        ValueError, match=r"no dev split \(looked for dev, .*testa; found notes.txt, train.csv\)"
    ):
        find_splits(tmp_path)
    assert list(find_splits(tmp_path, required=["train"])) == ["train"]


def test_find_splits_empty_directory_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no train split .* found nothing"):
        find_splits(tmp_path)


def test_find_splits_ambiguous_is_refused_even_if_not_required(tmp_path: Path) -> None:
    fill(tmp_path, "train.csv", "dev.csv", "testa.csv", "test.csv")
    with pytest.raises(ValueError, match=r"dev.csv and testa.csv could each be the dev split"):
        find_splits(tmp_path, required=["train"])


def test_find_splits_mapping(tmp_path: Path) -> None:
    fill(tmp_path, "a", "b")
    mapping = {"train": tmp_path / "a", "validation": str(tmp_path / "b")}
    found = find_splits(mapping, required=["train", "dev"])
    assert found == {"train": tmp_path / "a", "dev": tmp_path / "b"}
    with pytest.raises(ValueError, match="the mapping: no test split"):
        find_splits(mapping)
    with pytest.raises(ValueError, match="'trian' is no split; use train, dev, test"):
        find_splits({"trian": tmp_path / "a"})
    with pytest.raises(FileNotFoundError, match=r"train: .*/c: no such file"):
        find_splits({"train": tmp_path / "c"})


def test_find_splits_refuses_one_file_and_no_path(tmp_path: Path) -> None:
    fill(tmp_path, "train.csv")
    with pytest.raises(ValueError, match="one file holds one split; pass its directory"):
        find_splits(tmp_path / "train.csv")
    with pytest.raises(FileNotFoundError, match="/nowhere: no such directory"):
        find_splits("/nowhere")
    with pytest.raises(FileNotFoundError, match="no such directory"):
        find_splits(Path("nowhere"))


def test_saved_dataset_is_read_as_the_hub_form(tmp_path: Path) -> None:
    hub_dataset().save_to_disk(str(tmp_path / "conll"))
    splits = find_splits(tmp_path / "conll")
    assert list(splits) == ["train", "dev", "test"]
    assert read_token_table(splits["dev"]) == [
        {"id": "conll[validation]#1", "words": ["Ann", "Lee"], "tags": ["B-PER", "I-PER"]}
        | {"document": 0},
        {"id": "conll[validation]#2", "words": ["on"], "tags": ["O"], "document": 0},
    ]


def test_hub_id_is_loaded_when_it_is_no_path(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(*args: object) -> datasets.DatasetDict:
        asked.append(args)
        return hub_dataset()

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets, "load_dataset", load)
    splits = find_splits("someone/conll", hub_config="english")
    assert asked == [("someone/conll", "english")]
    assert isinstance(splits["test"], HubSplit)
    assert splits["test"].name == "someone/conll[test]"


def test_hub_id_offline_fails_at_once(
    monkeypatch: pytest.MonkeyPatch, attempts: list[object]
) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        ConnectionError, match=r"'nobody/nothing' is no path.*HF_HUB_OFFLINE is set"
    ):
        find_splits("nobody/nothing")
    assert attempts == []


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError("no route"), "the hub cannot be reached"),
        (type("NotFound", (OSError,), {"response": SimpleNamespace(status_code=404)})(), "404"),
    ],
)
def test_hub_id_is_asked_for_once_then_refused(
    monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    asked = []

    def info(self: object, hub_id: str, timeout: float) -> None:
        asked.append(hub_id)
        raise error

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", info)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_: pytest.fail("loaded without a hub"))
    with pytest.raises(ConnectionError, match=f"{message}.*pass a directory or files"):
        load_hub_splits("imdb")
    assert asked == ["imdb"]


def test_hub_data_that_cannot_be_read_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object) -> None:
        raise RuntimeError("scripts are no longer supported\nmore")

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(ValueError, match="hub: scripts are no longer supported; HF_HUB_OFFLINE"):
        load_hub_splits("imdb")


def test_text_from_a_hub_split_uses_its_class_names() -> None:
    features = datasets.Features(
        text=datasets.Value("string"), label=datasets.ClassLabel(names=["neg", "pos"])
    )
    split = datasets.Dataset.from_dict({"text": ["good", "bad"], "label": [1, 0]}, features)
    examples = read_text_table(HubSplit("reviews[train]", split))
    assert [e["label"] for e in examples] == ["pos", "neg"]
    assert [e["id"] for e in examples] == ["reviews[train]#1", "reviews[train]#2"]
