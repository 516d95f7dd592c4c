"""Secrets reach no file: whatever looks like one is written as ``***``."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_plus

import yaml

MASK = "***"

# ``KEY`` of ``WANDB_API_KEY`` but not of ``KEYBOARD``; ``AUTH_METHOD`` and ``KEY_FILE`` only
# speak of a secret.
_ENVIRONMENT_NAME = re.compile(
    r"(?:TOKEN|KEYS?|SECRETS?|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|(?<![A-Z])(?:O?AUTH|PASS|PAT))"
    r"(?![A-Z])(?!.*_(?:SOCK|FILE|PATH|DIR|TYPE|METHOD|MODE|URL|URI|HOST|PORT|NAME|USER)$)"
)
_SHORTEST_VALUE = 8

_SHAPES = re.compile(
    r"""
    -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----.*?(?:-----END\ [A-Z ]*PRIVATE\ KEY-----|\Z)
    | hf_[A-Za-z0-9]{20,}
    | gh[pousr]_[A-Za-z0-9]{20,} | github_pat_\w{20,} | glpat-[\w-]{20,}
    | wandb_v\d+_[\w-]{20,}
    | (?<![\w-])sk-(?=[\w-]*\d)(?=[\w-]*\w{16})(?:(?=[\w-]*[A-Z])[\w-]{20,}|[\w-]*[0-9a-f]{32,})
    | (?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])
    | xox[abeoprs]-[\w-]{10,} | AIza[\w-]{35}
    | (?<=://)[^\s/:@"'?#]*:[^\s/"'?#]+(?=@)
    """,
    re.VERBOSE | re.DOTALL,
)
# W&B's older keys look like commits, so only beside a word that says what they are.
_HEX_KEY = re.compile(r"((?:key|token|secret|login|wandb)\W{1,4})[0-9a-f]{40}(?!\w)", re.IGNORECASE)

# How a setting's name ends that holds a secret; ``pad_token`` and ``label_key`` hold none.
_ROLES = ("pad", "eos", "bos", "unk", "cls", "sep", "mask", "special", "start", "end", "stop")
_TOKEN = "".join(f"(?<!{role}[_-])" for role in _ROLES) + "(?<![a-z0-9])token"
_PLAIN_NAME = (
    r"(?:(?:password|passwd|passphrase|secret|credential)s?|(?<![a-z0-9])o?auth(?:orization)?"
    r"|(?:api|access|secret|private|auth|account|encryption|signing|wandb|hf|openai)[_-]?keys?"
    r"|(?:access|auth|api|bearer|refresh|session)[_-]?token)"
)
_SECRET_NAME = re.compile(rf"(?:{_PLAIN_NAME}|(?P<token>{_TOKEN}))$", re.IGNORECASE)

_QUOTED = r""""(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|\\"(?:(?!\\").)*\\\""""
_NO_SECRET = r"(?!(?:null|none|true|false|~|-?[\d.]+(?:e[+-]?\d+)?)\s*(?:[,}\]\n]|\Z)|[{\[|>&!*])"
_FLAG = re.compile(
    rf"""(?P<before>(?<![\w-])--[\w.+-]*?(?:{_PLAIN_NAME}|{_TOKEN})(?:=|\\*["']?,?\s+))"""
    rf"""(?P<value>{_QUOTED}|(?!--)[^\s"'\\]+)""",
    re.IGNORECASE | re.DOTALL,
)
_KEY = re.compile(
    rf"""(?P<before>(?:{_PLAIN_NAME}|(?P<token>{_TOKEN}))\\*["']?"""
    rf"""(?:(?P<colon>:[ \t]*(?=\\*["'])|:[ \t]+)|[ ]?=[ ]?))"""
    rf"""(?P<value>{_QUOTED}|{_NO_SECRET}"""
    rf"""(?(colon)[^\s"'\\][^\n,}}\]"]*|[^\s"'\\,;&}}\])=]+))""",
    re.IGNORECASE | re.DOTALL,
)
# An access token is one long word; ``token: Bonn`` is somebody's data.
_TOKEN_VALUE = re.compile(r"[^\s<>\[\]{}|]{8,}")


def redact(text: str) -> str:
    """The text with ``***`` for every secret; anything else stays as it is.

    A secret is the value of an environment variable that is named like one (``HF_TOKEN``,
    ``MY_PASSWORD``; at least 8 characters, no path that exists), plain, URL-quoted or
    JSON-escaped; a token of a well-known shape; the password in a URL; and what follows a flag or
    key named like a secret (``--x.token=...``, ``api_key: ...``), numbers aside.
    """
    text = _environment_pattern().sub(MASK, text)
    text = _HEX_KEY.sub(rf"\1{MASK}", _SHAPES.sub(MASK, text))
    return _KEY.sub(_without_value, _FLAG.sub(_without_value, text))


def redacted(data: Any) -> Any:
    """Plain data with every string redacted, and whole strings under keys that name a secret.

    A list may be arguments: what stands after ``--password`` is its value.
    """
    if isinstance(data, str):
        return redact(data)
    if isinstance(data, Mapping):
        return {redacted(key): _value(str(key), value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return list(_elements(data))
    return data


def redact_yaml(text: str) -> str:
    """YAML with its values redacted; the same text where there is nothing to hide."""
    data = yaml.safe_load(text)
    hidden = redacted(data)
    return text if hidden == data else yaml.safe_dump(hidden, sort_keys=False, allow_unicode=True)


def _elements(items: Sequence[Any]) -> Iterator[Any]:
    awaited = False
    for item in items:
        is_flag = isinstance(item, str) and item.startswith("--")
        flag, equals, _ = item.partition("=") if is_flag else ("", "", "")
        if awaited and isinstance(item, str) and not is_flag:
            yield MASK
        else:
            yield f"{flag}={MASK}" if equals and _SECRET_NAME.search(flag) else redacted(item)
        awaited = not equals and _SECRET_NAME.search(flag) is not None


def _value(key: str, value: Any) -> Any:
    name = _SECRET_NAME.search(key)
    if name and isinstance(value, list | tuple):
        return [_value(key, item) for item in value]
    if name and isinstance(value, str) and value:
        return MASK if not name["token"] or _TOKEN_VALUE.fullmatch(value) else redact(value)
    return redacted(value)


def _without_value(found: re.Match[str]) -> str:
    value = found["value"]
    mark = next((mark for mark in ('"', "'", '\\"') if value.startswith(mark)), "")
    inside = value[len(mark) : len(value) - len(mark)]
    if not inside or (found.groupdict().get("token") and not _TOKEN_VALUE.fullmatch(inside)):
        return found[0]
    return f"{found['before']}{mark}{MASK}{mark}"


def _environment_pattern() -> re.Pattern[str]:
    """Matches the secrets that are in the environment now."""
    values = (
        value
        for name, value in os.environ.items()
        if _ENVIRONMENT_NAME.search(name.upper()) and not os.path.exists(value)
    )
    return _pattern_of(frozenset(line.strip() for value in values for line in value.splitlines()))


@lru_cache(maxsize=8)
def _pattern_of(secrets: frozenset[str]) -> re.Pattern[str]:
    forms: set[str] = set()
    for secret in secrets:
        if len(secret) < _SHORTEST_VALUE:
            continue
        escaped = (json.dumps(secret, ensure_ascii=ascii)[1:-1] for ascii in (True, False))
        quoted = (quote(secret), quote(secret, safe=""), quote_plus(secret))
        forms.update((secret, *escaped, *quoted, secret.replace("'", "''")))
    if not forms:
        return re.compile(r"(?!)")  # nothing
    return re.compile("|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True)))
