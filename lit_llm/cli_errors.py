"""From the parser's pages of subtypes to one sentence: the key, what is wrong, where it stands."""

from __future__ import annotations

import difflib
import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lit_llm.strict_yaml import Document

_NOISE = re.compile(
    r"Does not validate|Subtypes:|Errors:|Given value type:|Given value: (NestedArg|Namespace|\{)"
    r"|Expected a <class 'NoneType'>|Problem with given class_path|Parser key"
    r"|Subclass types expect one of|a class path \(str\)|a dict with|Importing 'lightning.Callback'"
)


_GROUP = r"Option '\1.\2' is not accepted"


def check_yaml(paths: Iterable[str]) -> None:
    """Refuse a configuration file that does not exist or is no YAML mapping.

    Raises:
        ValueError: names file and line.
    """
    for path in paths:
        if not Path(path).is_file():
            raise ValueError(f"--config {path}: there is no such file")
        content = Document(Path(path)).content
        if "dict_kwargs" in _keys(content):
            raise ValueError(f"{path}: dict_kwargs is not accepted; settings stand in init_args")


def _keys(content: Any) -> Iterator[str]:
    if isinstance(content, dict):
        yield from content
        content = list(content.values())
    if isinstance(content, list):
        for item in content:
            yield from _keys(item)


def readable(text: str, configs: Sequence[str] = (), words: Sequence[str] = ()) -> str:
    """One sentence out of a parser's message.

    Args:
        text: the message.
        configs: configuration files given, to say where a key stands.
        words: the other words of the command line, likewise.
    """
    keys = re.findall(r'Parser key "([^"]+)"', text)
    key = ".".join(keys)
    text = re.sub(r"Group '([^']+)' does not accept option '([^']+)'", _GROUP, text)
    option = re.search(r"Option '([^']+)' is not accepted", text)
    unknown = re.search(r"unrecognized arguments: (.+)", text)
    denied = re.search(r"Importing '([^']+)' is not allowed", text)
    if option:
        path = re.search(r"class_path '([^']+)'", text)
        name = f"{key}.{option[1]}" if key else option[1]
        known = ["model", "data", "trainer", "wandb", "seed_everything"]
        if path or name.startswith("trainer."):
            known = _settings_of(path[1] if path else "lightning.pytorch.Trainer")
        hint = _suggestion(option[1].removeprefix("trainer."), known)
        return f"{name}: there is no such setting{hint}{_place(option[1], configs, words)}"
    if unknown:
        flag = unknown[1].split()[0].split("=")[0]
        last = flag.split(".")[-1].lstrip("-")
        known = _settings_of("lightning.pytorch.Trainer") if "trainer." in flag else []
        return f"{unknown[1]}: there is no such flag{_suggestion(last, known)}"
    if denied and "Problem with given class_path 'lightning.Callback'" not in text:
        package = denied[1].split(".")[0]
        return (
            f"{key}: {denied[1]} may not be imported from a configuration; if it is your own and "
            f"you trust it, pass --allow_import {package}"
        )
    lines = [line.strip(" -") for line in text.splitlines()]
    kept = [_plain(line) for line in lines if line and not _NOISE.match(line)]
    message = "; ".join(dict.fromkeys(kept)) or text.strip()
    return f"{key}: {message}" if key and not message.startswith(keys[-1]) else message


def _plain(line: str) -> str:
    line = re.sub(r"^Expected a <class '(?:\w+\.)*(\w+)'>\.?", r"expected a \1", line)
    return re.sub(r"(Got value|Given value):", "got", line)


def _settings_of(class_path: str) -> list[str]:
    """Arguments of a class that is imported already: the message may quote a stranger's path."""
    module, _, name = class_path.rpartition(".")
    try:
        return list(inspect.signature(getattr(sys.modules.get(module), name)).parameters)
    except (AttributeError, TypeError, ValueError):
        return []


def _suggestion(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word.split(".")[0], known, n=1)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; there are {', '.join(known)}" if 0 < len(known) <= 12 else ""


def _place(name: str, configs: Sequence[str], words: Sequence[str]) -> str:
    last = name.split(".")[-1]
    flags = [word.split("=")[0].split(".")[-1] for word in words if word.startswith("--")]
    if last in flags:
        return " (on the command line)"
    for path in reversed(configs):
        for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
            if re.match(rf"\s*-?\s*{re.escape(last)}\s*:", line):
                return f" ({path}:{number})"
    return ""
