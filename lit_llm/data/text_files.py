r"""Bytes to lines, exactly: only ``\n`` ends a line, and what is not UTF-8 is refused."""

from __future__ import annotations

from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from pathlib import Path

_GZIP = b"\x1f\x8b"
_MARK = "\ufeff"


def read_text(path: str | Path) -> str:
    """The text of a UTF-8 file, character for character.

    A UTF-8 byte order mark at its start is left out; nothing else is changed, line ends included.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is empty, compressed, UTF-16, not UTF-8, or holds a NUL byte; the message
            names the file and the line of the byte.
    """
    data = Path(path).read_bytes()
    if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        raise ValueError(f"{path}:1: the file is UTF-16; save it as UTF-8")
    if data.startswith(_GZIP):
        raise ValueError(f"{path}:1: the file is compressed with gzip; unpack it first")
    data = data.removeprefix(BOM_UTF8)
    if not data:
        raise ValueError(f"{path}:1: the file is empty; give a file with data")
    zero = data.find(b"\0")
    if zero >= 0:
        raise ValueError(
            f"{path}:{_line(data, zero)}: a NUL byte; remove it, or save as UTF-8 text"
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = data[error.start]
        raise ValueError(
            f"{path}:{_line(data, error.start)}: byte 0x{byte:02x} is not UTF-8; save the file as"
            " UTF-8"
        ) from None


def read_lines(path: str | Path) -> list[str]:
    r"""The lines of a UTF-8 file, without their ends.

    Lines end with ``\n`` or ``\r\n``, the last one also with the file. The other characters that
    Unicode calls line ends (U+2028, U+0085, form feed, ...) are characters of their line.

    Raises:
        OSError: the file cannot be read.
        ValueError: as ``read_text``; a carriage return without a line feed; a byte order mark at
            the start of a later line, as joining files leaves it.
    """
    lines = read_text(path).split("\n")
    ended = len(lines) - 1  # the last piece has no line feed behind it
    for index, line in enumerate(lines):
        if line.endswith("\r") and index < ended:
            line = lines[index] = line[:-1]
        if "\r" in line:
            raise ValueError(
                f"{path}:{index + 1}: a carriage return without a line feed; end lines with LF"
            )
        if line.startswith(_MARK):
            raise ValueError(
                f"{path}:{index + 1}: a byte order mark (U+FEFF) inside the file; remove it"
            )
    if not lines[-1]:
        lines.pop()
    return lines


def _line(data: bytes, offset: int) -> int:
    return data.count(b"\n", 0, offset) + 1
