"""Data in archives: read like their directories, or refused whole with nothing written."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from lit_llm.data import archives
from lit_llm.data import imdb as imdb_module
from lit_llm.data.archives import ArchiveError, unpacked
from lit_llm.data.conll2003 import CoNLL2003
from lit_llm.data.imdb import IMDB
from lit_llm.data.text_classification import TextClassification

SENTENCES = "Ann B-PER\nsees O\nBonn B-LOC\n\nBob B-PER\nsleeps O\n\n"
SPLITS = ("eng.train", "eng.testa", "eng.testb")
Build = Callable[[Path, Path], None]


def tar_of(*members: tarfile.TarInfo | tuple[str, bytes], opener=open) -> Build:
    """A builder of a tar file; a name's ``CANARY`` becomes the path that must not come to be."""

    def build(path: Path, canary: Path) -> None:
        with opener(path, "wb") as file, tarfile.open(fileobj=file, mode="w") as tar:
            for member in members:
                content = b""
                if not isinstance(member, tarfile.TarInfo):
                    name, content = member
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                member.name = member.name.replace("CANARY", str(canary))
                member.linkname = member.linkname.replace("CANARY", str(canary))
                tar.addfile(member, io.BytesIO(content))

    return build


def info(name: str, kind: bytes = tarfile.REGTYPE, **fields) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type = kind
    for key, value in fields.items():
        setattr(found, key, value)
    return found


def zip_of(*members: tuple[str, bytes, int]) -> Build:
    """A builder of a zip file; each member has a name, its content, and a Unix mode or 0."""

    def build(path: Path, canary: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name, content, mode in members:
                member = zipfile.ZipInfo(name.replace("CANARY", str(canary)))
                member.external_attr = mode << 16
                file.writestr(member, content.replace(b"CANARY", bytes(canary)))

    return build


def patched(build: Build, old: bytes, new: bytes) -> Build:
    """The same archive with bytes of its headers exchanged."""

    def both(path: Path, canary: Path) -> None:
        build(path, canary)
        content = path.read_bytes()
        assert old in content
        path.write_bytes(content.replace(old, new))

    return both


def cut(build: Build, kept: int) -> Build:
    def both(path: Path, canary: Path) -> None:
        build(path, canary)
        path.write_bytes(path.read_bytes()[:kept])

    return both


def encrypted(path: Path, canary: Path) -> None:
    zip_of(("a.txt", b"x", 0))(path, canary)
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flags of the central directory
    path.write_bytes(content)


def long_header(path: Path, canary: Path) -> None:
    """A pax header that says it is 1 GiB long, which is a few kilobytes when compressed."""
    with gzip.open(path, "wb") as file:
        file.write(info("a", tarfile.XHDTYPE, size=2**30).tobuf(tarfile.USTAR_FORMAT))
        file.write(bytes(2**20))


GOOD = ("a.txt", b"x" * 2000)
HOSTILE: dict[str, tuple[str, Build, str]] = {
    "tar traversal": ("a.tar", tar_of(GOOD, ("../../canary", b"x")), "leads out of"),
    "tar traversal inside": ("a.tar", tar_of(("a/../../../canary", b"x")), "leads out of"),
    "tar absolute": ("a.tgz", tar_of(GOOD, ("CANARY", b"x"), opener=gzip.open), "absolute path"),
    "tar link": (
        "a.tar",
        tar_of(GOOD, info("b", tarfile.SYMTYPE, linkname="CANARY"), ("b", b"x")),
        "'b' is a link",
    ),
    "tar link to a directory": (
        "a.tar.bz2",
        tar_of(info("b", tarfile.SYMTYPE, linkname="../.."), ("b/canary", b"x"), opener=bz2.open),
        "'b' is a link",
    ),
    "tar hard link": ("a.tar", tar_of(info("b", tarfile.LNKTYPE, linkname="CANARY")), "is a link"),
    "tar pipe": ("a.tar", tar_of(GOOD, info("pipe", tarfile.FIFOTYPE)), "'pipe' is a pipe"),
    "tar device": ("a.tar.xz", tar_of(info("null", tarfile.CHRTYPE), opener=lzma.open), "a device"),
    "tar unknown kind": ("a.tar", tar_of(info("b", b"Z")), "of an unknown kind"),
    "tar set-uid": ("a.tar", tar_of(info("sh", mode=0o4755)), "'sh' has a set-uid bit"),
    "tar twice": ("a.tar", tar_of(GOOD, GOOD), "'a.txt' stands there twice"),
    "tar file and directory": ("a.tar", tar_of(("a", b""), ("a/b", b"")), "stands there twice"),
    "tar newline": ("a.tar", tar_of(("a\nb", b"")), "control character"),
    "tar drive": ("a.tar", tar_of(("C:/canary", b"")), "absolute path"),
    "tar long name": ("a.tar", tar_of(("a" * 300, b"")), "too long a name"),
    "tar bomb": ("a.tar.gz", tar_of(("a", bytes(5000)), opener=gzip.open), "more than 4,000 bytes"),
    "tar many members": ("a.tar", tar_of(*((f"{i}", b"") for i in range(12))), "10 members"),
    "tar long header": ("a.tar.gz", long_header, "damaged: it has a header of"),
    "tar cut in a member": ("a.tar", cut(tar_of(GOOD), 1024), "is damaged"),
    "tar cut between members": ("a.tar", cut(tar_of(("a", b""), ("b", b"")), 512), "cut short"),
    "tar bad header later": ("a.tar", patched(tar_of(GOOD, ("b", b"")), b"b\0", b"c\0"), "damaged"),
    "tar that is text": ("a.tar", lambda path, _: path.write_text("text" * 500), "is damaged"),
    "gzip that is text": ("a.tar.gz", lambda path, _: path.write_text("text"), "is damaged"),
    "gzip cut short": ("a.tar.gz", cut(tar_of(GOOD, opener=gzip.open), 90), "is damaged"),
    "empty file": ("a.tar.xz", lambda path, _: path.touch(), "is damaged"),
    "tar of nothing": ("a.tar", tar_of(), "holds nothing"),
    "zip traversal": ("a.zip", zip_of(("a.txt", b"x", 0), ("../canary", b"x", 0)), "leads out of"),
    "zip absolute": ("a.zip", zip_of(("CANARY", b"x", 0)), "absolute path"),
    "zip backslash": ("a.zip", zip_of(("..\\canary", b"x", 0)), "backslash"),
    "zip drive": ("a.zip", zip_of(("C:canary", b"x", 0)), "absolute path"),
    "zip link": ("a.zip", zip_of(("b", b"CANARY", stat.S_IFLNK | 0o777)), "'b' is a link"),
    "zip set-gid": ("a.zip", zip_of(("sh", b"x", stat.S_IFREG | 0o2755)), "set-uid"),
    "zip NUL": (
        "a.zip",
        patched(zip_of(("canary_.txt", b"", 0)), b"y_", b"y\0"),
        "control character",
    ),
    "zip bomb": ("a.zip", zip_of(("a", bytes(5000), 0)), "more than 4,000 bytes"),
    "zip that lies about a size": (
        "a.zip",
        patched(zip_of(("a", bytes(3000), 0)), (3000).to_bytes(4, "little"), bytes((9, 0, 0, 0))),
        "is damaged",
    ),
    "zip encrypted": ("a.zip", encrypted, "is encrypted"),
    "zip cut short": ("a.zip", cut(zip_of(("a.txt", b"x" * 99, 0)), 60), "is damaged"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archive_is_refused_whole(tmp_path, monkeypatch, name):
    monkeypatch.setattr(archives, "MAX_BYTES", 4000)
    monkeypatch.setattr(archives, "MAX_MEMBERS", 10)
    file, build, message = HOSTILE[name]
    archive, canary = tmp_path / "in" / file, tmp_path / "outside" / "canary"
    archive.parent.mkdir()
    canary.parent.mkdir()
    build(archive, canary)
    with pytest.raises(ArchiveError, match=message) as caught:
        unpacked(archive, tmp_path / "cache" / "deep")
    assert str(archive) in str(caught.value)
    assert "\n" not in str(caught.value)
    left = {path.name for path in tmp_path.rglob("*") if not path.name.endswith(".lock")}
    assert left == {"in", file, "outside", "cache", "deep"}


def test_hard_link_does_not_change_its_target(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    link = info("a", tarfile.LNKTYPE, linkname="CANARY")
    tar_of(link, ("a", b"yours"))(tmp_path / "a.tar", victim)
    with pytest.raises(ArchiveError, match="'a' is a link"):
        unpacked(tmp_path / "a.tar", tmp_path / "cache")
    assert victim.read_text() == "mine"


def test_imdb_archive_reads_like_its_directory(tmp_path, monkeypatch):
    monkeypatch.setattr(imdb_module, "_PER_CLASS", 20)
    monkeypatch.setattr(imdb_module, "_DEV_PER_CLASS", 2)
    monkeypatch.setattr(imdb_module, "_BLOCK", 2)
    tree = tmp_path / "aclImdb"
    for folder in ("train/neg", "train/pos", "test/neg", "test/pos"):
        (tree / folder).mkdir(parents=True)
        for i in range(20):
            (tree / folder / f"{i}_7.txt").write_text(f"{folder} {i}")
    (tree / "README").write_text("read me")
    archive = shutil.make_archive(str(tmp_path / "aclImdb_v1"), "gztar", tmp_path, "aclImdb")
    packed, plain = IMDB(archive), IMDB(str(tree))
    for split in ("train", "val", "test"):
        assert packed.read(split) == plain.read(split)
        assert packed.source(split) == plain.source(split)
    assert not (tmp_path / "cache").exists() or not list((tmp_path / "cache").glob(".*-*"))


@pytest.mark.parametrize("form", ["zip", "tar", "gztar", "bztar", "xztar"])
def test_conll_archive_reads_like_its_directory(tmp_path, form):
    directory = tmp_path / "conll"
    directory.mkdir()
    for name in SPLITS:
        (directory / name).write_text(SENTENCES)
    archive = shutil.make_archive(str(tmp_path / "packed"), form, directory)
    packed, plain = CoNLL2003(archive), CoNLL2003(str(directory))
    assert packed.read("train") == plain.read("train")
    assert packed.source("val") == plain.source("val")


def test_zip_made_on_a_mac_reads_like_its_directory(tmp_path):
    rows = b"text,label\ngood,yes\nbad,no\n"
    members = [
        ("d/train.csv", rows, 0),
        ("d/test.csv", rows, 0),
        ("__MACOSX/d/._train.csv", b"", 0),
    ]
    zip_of(*members)(tmp_path / "a.ZIP", tmp_path)
    texts = [
        example["text"] for example in TextClassification(str(tmp_path / "a.ZIP")).read("test")
    ]
    assert texts == ["good", "bad"]


def test_archive_is_unpacked_once_and_again_when_it_changes(tmp_path):
    archive, cache = tmp_path / "a.tar", tmp_path / "cache"
    tar_of(("d/one", b"1"), ("d/two", b"2"))(archive, tmp_path)
    first = unpacked(archive, cache)
    assert sorted(path.name for path in first.iterdir()) == ["one", "two"]
    assert unpacked(archive, cache) == first
    tar_of(("d/one", b"other"))(archive, tmp_path)
    os.utime(archive, ns=(1, 1))
    assert (unpacked(archive, cache) / "one").read_bytes() == b"other"


def test_other_paths_are_left_alone(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere.zip", Path("someone/data.tar")):
        assert unpacked(path, tmp_path / "cache") == path


def test_permissions_are_ours(tmp_path):
    members = (info("d", tarfile.DIRTYPE, mode=0o7000), info("d/a", mode=0o000))
    tar_of(*members)(tmp_path / "a.tar", tmp_path)
    directory = unpacked(tmp_path / "a.tar", tmp_path / "cache")
    assert stat.S_IMODE(directory.stat().st_mode) & 0o7700 == 0o700
    assert stat.S_IMODE((directory / "a").stat().st_mode) & 0o7600 == 0o600
