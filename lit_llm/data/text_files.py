r"""Bytes to lines, exactly: only ``\n`` ends a line, and what is not UTF-8 is refused."""

from __future__ import annotations

import gzip
import zlib
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable, Iterator
from pathlib import Path

_GZIP = b"\x1f\x8b"
_MARK = "\ufeff"


def read_text(path: str | Path) -> str:
    """The text of a UTF-8 file, character for character.

    A UTF-8 byte order mark at its start is left out; nothing else is changed, line ends included.
    A file whose name ends with ``.gz`` is unpacked on the way, here and in the other functions.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is empty, compressed, UTF-16, not UTF-8, or holds a NUL byte; the message
            names the file and the line of the byte.
    """
    return "".join(_decoded(path))


def read_lines(path: str | Path) -> list[str]:
    r"""The lines of a UTF-8 file, without their ends; ``stream_lines`` says how.

    Raises:
        OSError, ValueError: as ``stream_lines``.
    """
    return list(stream_lines(path))


def stream_lines(path: str | Path) -> Iterator[str]:
    r"""The lines of a UTF-8 file, one in memory at a time, without their ends.

    Lines end with ``\n`` or ``\r\n``, the last one also with the file. The other characters that
    Unicode calls line ends (U+2028, U+0085, form feed, ...) are characters of their line.

    Raises:
        OSError: the file cannot be read.
        ValueError: as ``read_text``; a carriage return without a line feed; a byte order mark at
            the start of a later line, as joining files leaves it. Raised when the line is reached.
    """
    for number, line in enumerate(_decoded(path), start=1):
        if line.endswith("\n"):
            line = line[:-2] if line.endswith("\r\n") else line[:-1]
        if "\r" in line:
            raise ValueError(
                f"{path}:{number}: a carriage return without a line feed; end lines with LF"
            )
        if line.startswith(_MARK):
            raise ValueError(
                f"{path}:{number}: a byte order mark (U+FEFF) inside the file; remove it"
            )
        yield line


def _decoded(path: str | Path) -> Iterator[str]:
    """The file's lines as text, with their ends."""
    unpack = Path(path).suffix.lower() == ".gz"
    with gzip.open(path) if unpack else open(path, "rb") as file:
        number = 0
        for number, line in enumerate(_raw_lines(file, path), start=1):
            if number == 1:
                line = _checked_start(line, path)
            if b"\0" in line:
                raise ValueError(f"{path}:{number}: a NUL byte; remove it, or save as UTF-8 text")
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{path}:{number}: byte 0x{line[error.start]:02x} is not UTF-8; save the file"
                    " as UTF-8"
                ) from None
            if text:
                yield text
        if not number:
            raise _empty(path)


def _raw_lines(file: Iterable[bytes], path: str | Path) -> Iterator[bytes]:
    try:
        yield from file
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: damaged, or not gzip ({error}); fetch it again") from None


def _checked_start(line: bytes, path: str | Path) -> bytes:
    """The first line without its byte order mark."""
    if line.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        raise ValueError(f"{path}:1: the file is UTF-16; save it as UTF-8")
    if line.startswith(_GZIP):
        raise ValueError(
            f"{path}:1: the file is compressed with gzip; unpack it first, or end its name with .gz"
        )
    if line == BOM_UTF8:
        raise _empty(path)
    return line.removeprefix(BOM_UTF8)


def _empty(path: str | Path) -> ValueError:
    return ValueError(f"{path}:1: the file is empty; give a file with data")
