import hashlib
import json
import math
import os
from pathlib import Path

import pytest

from lit_llm.backbone.sizes import SIZES
from lit_llm.study import content
from lit_llm.study.content import Hashes, file_sha256, must_exist, newest_change, path_in


def tree(directory, files):
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    return directory


FILES = {"train.txt": "a", "test.txt": "b", "more/dev.txt": "c"}


def test_a_file_is_its_sha256_wherever_it_lies(tmp_path):
    files = [tree(tmp_path / name, {f"{name}.txt": "Anna"}) / f"{name}.txt" for name in "xy"]
    expected = hashlib.sha256(b"Anna").hexdigest()
    assert [file_sha256(file) for file in files] == [expected] * 2
    assert [Hashes().of(file) for file in files] == [expected] * 2


def test_directories_of_equal_content_are_equal(tmp_path):
    one, two = tree(tmp_path / "one", FILES), tree(tmp_path / "far" / "two", FILES)
    assert Hashes().of(one) == Hashes().of(two)
    assert len(Hashes().of(one)) == 64


@pytest.mark.parametrize(
    "other",
    [
        {**FILES, "test.txt": "B"},  # a byte
        {**FILES, "test.txt": "bb"},
        {"train.txt": "a", "TEST.txt": "b", "more/dev.txt": "c"},  # a name
        {"train.txt": "a", "test.txt": "b", "dev.txt": "c"},  # a place
        {"train.txt": "b", "test.txt": "a", "more/dev.txt": "c"},  # exchanged
        {**FILES, "new.txt": ""},
        {"train.txt": "a", "test.txt": "b"},
    ],
)
def test_a_directory_is_names_and_contents(tmp_path, other):
    one, two = tree(tmp_path / "one", FILES), tree(tmp_path / "two", other)
    assert Hashes().of(one) != Hashes().of(two)


def test_hidden_files_do_not_count(tmp_path):
    one, two = tree(tmp_path / "one", FILES), tree(tmp_path / "two", FILES)
    tree(two, {".DS_Store": "x", ".git/HEAD": "x", "more/.lock": "x"})
    assert Hashes().of(one) == Hashes().of(two)
    hidden = tree(tmp_path / ".data", FILES)  # but one may be asked for
    assert Hashes().of(hidden) == Hashes().of(one)


def test_a_link_counts_as_what_it_points_to(tmp_path):
    real = tree(tmp_path / "real", FILES)
    (tmp_path / "link").symlink_to(real)
    linked = tree(tmp_path / "linked", {"train.txt": "a", "test.txt": "b"})
    (linked / "more").symlink_to(real / "more")
    hashes = Hashes()
    assert hashes.of(tmp_path / "link") == hashes.of(linked) == hashes.of(real)


def test_what_is_not_there_has_no_hash(tmp_path):
    assert Hashes().of(tmp_path / "none") is None


@pytest.fixture
def read(monkeypatch):
    """The files that were read, in order."""
    files = []

    def counted(path):
        files.append(path.name)
        return file_sha256(path)

    monkeypatch.setattr(content, "file_sha256", counted)
    return files


def test_hashes_are_remembered_between_processes(tmp_path, read):
    data, memory = tree(tmp_path / "data", FILES), tmp_path / "new" / ".hashes.json"
    first = Hashes(memory)
    found = first.of(data)
    assert first.of(data) == found
    assert len(read) == 3
    first.save()
    assert Hashes(memory).of(data) == found
    assert len(read) == 3
    tree(data, {"train.txt": "another"})
    second = Hashes(memory)
    assert second.of(data) != found
    assert len(read) == 6
    tree(data, {"train.txt": "a third"})
    assert second.of(data) not in (None, found, Hashes(memory).of(tmp_path / "none"))
    assert len(read) == 9


def test_without_a_memory_nothing_is_written(tmp_path, read):
    data = tree(tmp_path / "data", FILES)
    hashes = Hashes()
    hashes.of(data)
    hashes.save()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b'{"a": [', b"\xff\xfe", b'{"DATA": 1}', b'{"DATA": ["a"]}', b'{"DATA": [1, 2]}'],
)
def test_a_damaged_memory_only_costs_time(tmp_path, read, damage):
    data, memory = tree(tmp_path / "data", FILES), tmp_path / "memory"
    memory.write_bytes(damage.replace(b"DATA", bytes(data)))
    hashes = Hashes(memory)
    assert hashes.of(data) == Hashes().of(data)
    hashes.save()
    assert len(json.loads(memory.read_text())) == 1


def test_a_memory_that_cannot_be_written_only_costs_time(tmp_path):
    data, memory = tree(tmp_path / "data", FILES), tmp_path / "file" / "memory"
    (tmp_path / "file").write_text("no directory")
    hashes = Hashes(memory)
    assert hashes.of(data) == Hashes().of(data)
    hashes.save()


def test_an_answer_may_be_as_old_as_one_says(tmp_path, read):
    data = tree(tmp_path / "data", FILES)
    hashes = Hashes()
    before = hashes.of(data)
    tree(data, {"train.txt": "another"})
    assert hashes.of(data, not_older_than_seconds=60.0) == before
    assert hashes.of(data) != before


@pytest.mark.parametrize(
    ("key", "value", "path"),
    [
        ("data.path", "conll2003", "conll2003"),
        ("data.train_path", "conll2003", "conll2003"),
        ("data.files", "data/conll2003", "data/conll2003"),
        ("model.source", "google/electra-small", "google/electra-small"),  # it is not there
        ("data.path", "~/data", str(Path.home() / "data")),
        ("model.source", "bert-base", "bert-base"),
        ("model.source", "gpt2-tiny", None),  # a named size, whatever stands there
        ("model.sources", "bert-base", None),
        ("data.path.train", "train.txt", "train.txt"),
        ("data.path_of.train", "train.txt", None),
        ("model.backbone.init_from", "mybert", "mybert"),
        ("model.backbone.tokenizer", "words", "words"),
        ("trainer.profiler.path", "logs/a", None),  # it is written, not read
        ("run", "${finetune}", None),
        ("data.path", "${finetune}/best", None),
        ("data.prompt", "a / b\nc", None),
        ("data.path", None, None),
        ("data.path", "", None),
        ("data.path", "./", None),
        ("data.separator", "/", None),
        ("data.path", "~nobody_of_this_name/x", None),
        ("data.path", 3, None),
        ("data.path", ["a/b"], None),
        ("model.source", "pkg://no_such_package_here/a", "pkg:/no_such_package_here/a"),
        ("model.source", "pkg://../etc", "pkg:/../etc"),
        ("model.source", "pkg://json/a", str(Path(json.__file__).parent / "a")),
        (
            "model.source",
            "pkg://lit_llm/base.yaml",
            str(Path(content.__file__).parents[1] / "base.yaml"),
        ),
    ],
)
def test_a_setting_names_a_path_or_none(key, value, path):
    assert path_in(key, value) == (None if path is None else Path(path))


def test_named_sizes_are_those_of_the_backbone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for size in SIZES:  # found before a directory of that name
        (tmp_path / size).mkdir()
        assert path_in("model.backbone.source", size) is None
        assert path_in("model.backbone.source", f"./{size}") == Path(size)
        assert path_in("data.path", size) == Path(size)


def test_a_backbone_reads_only_the_best_of_a_run(tmp_path):
    run = tree(tmp_path / "run", {"best/model.txt": "a", "report.md": "b"})
    for name in ("source", "init_from", "tokenizer"):
        assert path_in(f"model.backbone.{name}", str(run)) == run / "best"
    assert path_in("data.path", str(run)) == path_in("run", str(run)) == run
    assert path_in("model.backbone.source", str(run / "best")) == run / "best"


@pytest.mark.parametrize(
    ("key", "value", "must"),
    [
        ("data.path", "typo", True),
        ("data.path.train", "dta/train.txt", True),
        ("data.path", 3, False),
        ("data.context", "typo", False),
        ("model.backbone.source", "bert", False),  # a hub id, perhaps
        ("model.backbone.source", "google/bert", False),
        ("model.backbone.source", "tiny", False),
        ("model.backbone.source", "./bert", True),
        ("model.backbone.source", "runs/x/y", True),
    ],
)
def test_what_can_be_nothing_but_a_path_is_known(key, value, must):
    assert must_exist(key, value) == must


def test_the_newest_change_is_that_of_any_file_or_directory(tmp_path):
    data = tree(tmp_path / "data", FILES)
    everything = [data, *data.rglob("*")]
    for path in everything:
        os.utime(path, (100, 100))
    assert newest_change(data) == newest_change(data / "test.txt") == 100
    for path in everything:
        os.utime(path, (200, 200))
        assert newest_change(data) == 200
        os.utime(path, (100, 100))
    assert newest_change(tmp_path / "none") == math.inf


def test_what_is_no_file_is_passed_over(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    alone = Hashes().of(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert Hashes().of(tmp_path) == alone
    assert Hashes().of(Path("/dev/null")) is None
