"""What ``lit-llm predict`` is asked: texts, lines or JSONL, read as a stream."""

from __future__ import annotations

import json
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

InputFormat = Literal["auto", "lines", "jsonl"]
INPUT_FORMATS: tuple[str, ...] = get_args(InputFormat)

CHUNK_SIZE = 512
"""Requests that are predicted together."""
LARGEST_CHUNK = 8192
"""A document is not cut before it has this many lines."""

_JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
_EXAMPLE = '{"text": "..."} or {"words": ["...", "..."]}'


@dataclass(frozen=True)
class Request:
    """One thing to predict.

    Attributes:
        text: as it was given; of given words, the words joined by blanks.
        words: given words, which are then one sentence; None for running text.
        document: consecutive requests with the same number are one document.
        passed_on: what the answer repeats (``id``).
    """

    text: str
    words: list[str] | None = None
    document: int = 0
    passed_on: dict[str, Any] = field(default_factory=dict)


def requests_of_texts(texts: Iterable[str]) -> Iterator[Request]:
    """Each text is a document of its own.

    Raises:
        ValueError: bytes that are not UTF-8; the message has the text's number.
    """
    for number, text in enumerate(texts):
        yield Request(_checked(text, f"--text number {number + 1}"), document=number)


def requests_of_stream(
    stream: Iterable[bytes], name: str, input_format: InputFormat = "auto"
) -> Iterator[Request]:
    """Read lines of text, or of JSON objects, as they come.

    Every line of text is a request, an empty one too; in JSONL empty lines are none. In both an
    empty line ends a document. An object has ``text``, or the ``words`` (or ``tokens``) of one
    sentence; its ``id`` is passed on, other keys are not looked at.

    Args:
        stream: lines in bytes, with their ends, as a binary file gives them.
        name: for messages.
        input_format: ``auto`` means JSONL if the name ends in .jsonl, .ndjson or .json, or the
            first line that is not empty begins with a brace.

    Raises:
        ValueError: the stream is empty or holds no object; a line is not UTF-8 or not such an
            object. The message names the line.
    """
    document, empty, jsonl = 0, 0, _by_name(name, input_format)
    count = 0
    for number, raw in enumerate(stream, 1):
        line, where = _decoded(raw, number, name), f"{name}:{number}"
        if not line.strip():
            document += 1
            if jsonl is None:
                empty += 1
            elif not jsonl:
                yield Request(line, document=document)
            continue
        if jsonl is None:
            jsonl = line.lstrip().startswith("{")
            yield from (Request("", document=i) for i in range(0 if jsonl else empty))
        count += 1
        yield _parsed(line, where, document) if jsonl else Request(line, document=document)
    if jsonl is None:
        yield from (Request("", document=i) for i in range(empty))
        count = empty
    if jsonl and not count:
        raise ValueError(f"{name}: there is no JSON object in it; write one a line: {_EXAMPLE}")
    if not count and not document:
        raise ValueError(f"{name} is empty: there is nothing to predict")


def chunks(
    requests: Iterable[Request], whole_documents: bool, notice: Callable[[str], None]
) -> Iterator[list[Request]]:
    """Group requests, in order, so that inputs of any size fit in memory.

    Args:
        requests: as they come.
        whole_documents: a chunk ends where a document does; one of more than ``LARGEST_CHUNK``
            lines is cut all the same.
        notice: receives a sentence where that happens.
    """
    chunk: list[Request] = []
    for request in requests:
        inside = whole_documents and bool(chunk) and request.document == chunk[-1].document
        if len(chunk) >= (LARGEST_CHUNK if inside else CHUNK_SIZE):
            if inside:
                notice(
                    f"a document of more than {LARGEST_CHUNK:,} lines is read in parts: words at "
                    "their borders see less context (an empty line ends a document)"
                )
            yield chunk
            chunk = []
        chunk.append(request)
    if chunk:
        yield chunk


def _by_name(name: str, input_format: InputFormat) -> bool | None:
    """Whether the input is JSONL; None if its first line has to tell."""
    if input_format == "auto":
        return True if Path(name).suffix.lower() in _JSON_SUFFIXES else None
    return input_format == "jsonl"


def _decoded(raw: bytes, number: int, name: str) -> str:
    r"""A line without its end, ``\n`` or ``\r\n``."""
    if number == 1:
        if raw.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
            raise ValueError(f"{name}:1: the input is UTF-16; give UTF-8")
        raw = raw.removeprefix(BOM_UTF8)
    raw = raw.removesuffix(b"\n").removesuffix(b"\r")
    if b"\0" in raw:
        raise ValueError(f"{name}:{number}: a NUL byte; give UTF-8 text")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = raw[error.start]
        raise ValueError(f"{name}:{number}: byte 0x{byte:02x} is not UTF-8; give UTF-8") from None


def _parsed(line: str, where: str, document: int) -> Request:
    try:
        record = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        what = "nested too deeply"
        if isinstance(error, json.JSONDecodeError):
            what = f"{error.msg} at character {error.pos + 1}"
        raise ValueError(
            f"{where}: not a line of JSON ({what}); write {_EXAMPLE}, or say --input_format lines "
            "if these are lines of text"
        ) from None
    if not isinstance(record, dict):
        raise ValueError(f"{where}: not a JSON object; write {_EXAMPLE}")
    given = [key for key in ("text", "words", "tokens") if key in record]
    if len(given) != 1:
        found = " and ".join(given) or f"only {', '.join(record) or 'nothing'}"
        raise ValueError(f"{where}: {found} given; write {_EXAMPLE}")
    passed_on = {"id": record["id"]} if "id" in record else {}
    value = record[given[0]]
    if given == ["text"]:
        if not isinstance(value, str):
            raise ValueError(f'{where}: "text" must be a string, not {json.dumps(value)[:40]}')
        return Request(_checked(value, where), None, document, passed_on)
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise ValueError(f'{where}: "{given[0]}" must be a list of strings')
    return Request(_checked(" ".join(value), where), value, document, passed_on)


def _checked(text: str, where: str) -> str:
    """Half of a surrogate pair is no character, and tokenizers take none."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"{where}: the text cannot be written as UTF-8; give UTF-8") from None
    return text
