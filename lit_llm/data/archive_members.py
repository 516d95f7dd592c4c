"""What an archive holds, one member after the other, before anything is done with it."""

from __future__ import annotations

import bz2
import gzip
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

TAR_OPENERS: dict[str, Callable[..., Any]] = {
    ".tar": open,
    ".tar.gz": gzip.open,
    ".tgz": gzip.open,
    ".tar.bz2": bz2.open,
    ".tar.xz": lzma.open,
}
_LONGEST_READ = 2**24
_CHUNK = 2**20
_TAR_KINDS = (
    (tarfile.TarInfo.isreg, stat.S_IFREG),
    (tarfile.TarInfo.isdir, stat.S_IFDIR),
    (tarfile.TarInfo.issym, stat.S_IFLNK),
    (tarfile.TarInfo.islnk, stat.S_IFLNK),
    (tarfile.TarInfo.isfifo, stat.S_IFIFO),
    (tarfile.TarInfo.isdev, stat.S_IFCHR),
)


class ArchiveError(ValueError):
    """An archive that is not unpacked; the message names it, and the member."""


@dataclass(frozen=True)
class Member:
    """A file or directory of an archive, before anything is done with it.

    Attributes:
        name: as the archive has it.
        size: bytes, unpacked.
        mode: kind and permissions as ``stat`` has them; kind 0 is none that we know.
        open: its content.
    """

    name: str
    size: int
    mode: int
    open: Callable[[], IO[bytes]]


def zip_members(archive: Path, stack: ExitStack) -> Iterator[Member]:
    """Members of a zip file.

    Raises:
        ArchiveError: one is encrypted.
        zipfile.BadZipFile, OSError, ValueError: it is damaged.
    """
    file = stack.enter_context(zipfile.ZipFile(archive))
    for info in file.infolist():
        # orig_filename: zipfile cuts filename at a NUL.
        name, mode = info.orig_filename, info.external_attr >> 16
        if info.flag_bits & 1:
            raise ArchiveError(f"{archive}: member {name!r} is encrypted: unpack it yourself")
        if not stat.S_IFMT(mode):
            mode |= stat.S_IFDIR if name.endswith("/") else stat.S_IFREG

        def content(info: zipfile.ZipInfo = info) -> IO[bytes]:
            return file.open(info)

        yield Member(name, info.file_size, mode, content)


def tar_members(archive: Path, stack: ExitStack) -> Iterator[Member]:
    """Members of a tar file, compressed or not.

    Raises:
        ArchiveError: it is damaged.
        tarfile.TarError, OSError, EOFError, ValueError: likewise, as its reader says it.
    """
    suffix = next(suffix for suffix in TAR_OPENERS if archive.name.lower().endswith(suffix))
    source = _Forward(stack.enter_context(TAR_OPENERS[suffix](archive, "rb")), archive)
    tar: Any = stack.enter_context(tarfile.TarFile(fileobj=source))  # type: ignore[arg-type]
    while (info := tar.next()) is not None:
        tar.members.clear()  # it would keep them all
        mode = info.mode & 0o7777 | next((kind for test, kind in _TAR_KINDS if test(info)), 0)

        def content(info: tarfile.TarInfo = info) -> IO[bytes]:
            return tar.extractfile(info)  # type: ignore[no-any-return]

        yield Member(info.name, info.size, mode, content)
    # tarfile also stops at a header it cannot read, as if the archive ended there.
    ended = len(source.last) == tarfile.BLOCKSIZE
    while source.last and not source.last.strip(b"\0"):
        source.read(_CHUNK)
    if source.last or not ended:
        raise ArchiveError(f"{archive} is damaged or was cut short: fetch it again")


class _Forward:
    """What ``tarfile`` reads from: never back, and no header that would fill the memory."""

    def __init__(self, file: IO[bytes], archive: Path) -> None:
        self.file, self.archive, self.last = file, archive, b""

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _LONGEST_READ:
            raise ArchiveError(f"{self.archive} is damaged: it has a header of {size:,} bytes")
        self.last = self.file.read(size)
        return self.last

    def seek(self, position: int) -> int:
        if position < self.file.tell():
            raise ArchiveError(f"{self.archive} is damaged: its members overlap")
        return self.file.seek(position)

    def tell(self) -> int:
        return self.file.tell()
