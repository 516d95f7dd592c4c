"""Data in one archive: unpacked once into the cache, or refused whole."""

from __future__ import annotations

import lzma
import os
import re
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from contextlib import ExitStack
from pathlib import Path

from lit_llm.data.archive_members import TAR_OPENERS, ArchiveError, Member, tar_members, zip_members
from lit_llm.data.cache import build_once, fingerprint

MAX_BYTES = 16 * 2**30
"""Unpacked size of the largest archive that is accepted."""
MAX_MEMBERS = 1_000_000

_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    lzma.LZMAError,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OverflowError,
    RecursionError,
    ValueError,
)
_CHUNK = 2**20
_LONGEST_NAME = 1000
_KINDS = {
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def is_archive(path: Path) -> bool:
    """Whether a path is a file named like an archive."""
    return path.name.lower().endswith((".zip", *TAR_OPENERS)) and path.is_file()


def unpacked(path: Path, cache_dir: Path) -> Path:
    """The directory an archive holds, unpacked once; any other path as it is.

    If all of it lies in one top-level directory, that directory. Only plain files and directories
    come out of an archive, with our permissions, and only below the cache directory: more is
    refused than by ``tarfile``'s filter ``data``, and the same of zip files.

    Args:
        path: perhaps ``.zip``, ``.tar``, ``.tar.gz``, ``.tgz``, ``.tar.bz2`` or ``.tar.xz``.
        cache_dir: where to.

    Raises:
        ArchiveError: it is damaged, holds nothing, is larger than ``MAX_BYTES`` or
            ``MAX_MEMBERS``, or a member is a link, a device or a pipe, has a set-uid bit, stands
            twice, or is named so that it could land elsewhere. Nothing of it is kept.
    """
    if not is_archive(path):
        return path
    found = path.resolve().stat()
    key = fingerprint([str(path.resolve()), found.st_size, found.st_mtime_ns])

    def build(staging: Path) -> None:
        _unpack(path, staging)

    directory = build_once(cache_dir / f"unpacked-{key}", build)
    inside = [entry for entry in directory.iterdir() if entry.name != "__MACOSX"]
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else directory


def _unpack(archive: Path, target: Path) -> None:
    members = zip_members if archive.name.lower().endswith(".zip") else tar_members
    num_members = num_bytes = 0
    try:
        with ExitStack() as stack:
            for member in members(archive, stack):
                num_members += 1
                num_bytes += member.size
                _check(archive, member, num_members, num_bytes)
                _write(archive, member, target)
    except ArchiveError:
        raise
    except _DAMAGE as error:
        raise ArchiveError(_damaged(archive, error)) from None
    except OSError as error:
        if error.errno is not None:  # the disk's fault, not the archive's
            raise
        raise ArchiveError(_damaged(archive, error)) from None
    if not num_members:
        raise ArchiveError(f"{archive} holds nothing: give an archive of data files")


def _damaged(archive: Path, error: Exception) -> str:
    return f"{archive} is damaged or no such archive ({error}): fetch it again"


def _check(archive: Path, member: Member, num_members: int, num_bytes: int) -> None:
    """Refuse a member for what it is, and the archive for its size so far."""
    kind = stat.S_IFMT(member.mode)
    objection = None
    if kind not in (stat.S_IFREG, stat.S_IFDIR):
        objection = f"is {_KINDS.get(kind, 'of an unknown kind')}"
    elif kind == stat.S_IFREG and member.mode & (stat.S_ISUID | stat.S_ISGID):
        objection = "has a set-uid bit"
    elif member.size < 0 or (kind == stat.S_IFDIR and member.size):
        objection = f"has an impossible size, {member.size}"
    if objection:
        raise ArchiveError(
            f"{archive}: member {_shown(member)} {objection}, and only plain files are unpacked; "
            "if you trust it, unpack it yourself and pass the directory"
        )
    if num_bytes > MAX_BYTES or num_members > MAX_MEMBERS:
        raise ArchiveError(
            f"{archive}: with member {_shown(member)} it holds more than {MAX_BYTES:,} bytes or "
            f"{MAX_MEMBERS:,} members; if it should, unpack it yourself and pass the directory"
        )


def _write(archive: Path, member: Member, target: Path) -> None:
    place = target.joinpath(*_parts(archive, member))
    try:
        if stat.S_ISDIR(member.mode):
            place.mkdir(parents=True, exist_ok=True)
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        with member.open() as source, place.open("xb") as file:
            shutil.copyfileobj(source, file, _CHUNK)
            written = file.tell()
    except (FileExistsError, NotADirectoryError):
        raise ArchiveError(f"{archive}: member {_shown(member)} stands there twice") from None
    if written != member.size:
        raise ArchiveError(f"{archive}: member {_shown(member)} is cut short: fetch it again")


def _parts(archive: Path, member: Member) -> list[str]:
    """The names on the way to a member, each of them safe on any system."""
    name = member.name
    parts = [part for part in name.split("/") if part not in ("", ".")]
    objection = None
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        objection = "has an absolute path"
    elif ".." in parts:
        objection = "leads out of the archive's directory"
    elif re.search(r"[\\\x00-\x1f\x7f]", name):
        objection = "has a backslash or control character in its name"
    elif len(name) > _LONGEST_NAME or any(len(os.fsencode(part)) > 255 for part in parts):
        objection = "has too long a name"
    elif not parts and not stat.S_ISDIR(member.mode):
        objection = "has no name"
    if objection:
        raise ArchiveError(f"{archive}: member {_shown(member)} {objection}: do not use it")
    return parts


def _shown(member: Member) -> str:
    return repr(member.name if len(member.name) <= 100 else f"{member.name[:100]}...")
