"""YAML that says where each key stands, and in which nothing is given twice."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NOT_PLAIN = {f"tag:yaml.org,2002:{name}" for name in ("timestamp", "binary", "set")}


class _Loader(_Safe):  # type: ignore[misc]
    """Makes what JSON can say. A date stays text, as for the command line's parser."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _NOT_PLAIN]
    for first, resolvers in _Safe.yaml_implicit_resolvers.items()
}
_Loader.yaml_constructors = {
    tag: make for tag, make in _Safe.yaml_constructors.items() if tag not in _NOT_PLAIN
}

Keys = tuple[str | int, ...]
"""Where a value stands: the keys and positions that lead to it."""


class Document:
    """A YAML file's content, and the line of every key in it.

    Attributes:
        path: the file.
        content: plain data.

    Raises:
        ValueError: there is no such file, it is no YAML mapping, or a key stands in it twice.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise ValueError(f"{path}: there is no such file")
        loader = None
        try:
            loader = _Loader(path.read_text(encoding="utf-8"))
            node = loader.get_single_node()
            self._lines: dict[Keys, int] = {}
            self._note(node, ())
            self.content: Any = loader.construct_document(node) if node else {}
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            line = f":{mark.line + 1}" if mark else ""
            raise ValueError(f"{path}{line}: this is not YAML: {error.problem}") from None
        except RecursionError:
            raise ValueError(f"{path}: an anchor in it refers to itself") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: this is not YAML: {error}") from None
        finally:
            if loader is not None:
                loader.dispose()
        if not isinstance(self.content, dict):
            raise ValueError(f"{path}: keys and values were expected, such as 'seed: 0'")

    def _note(self, node: Any, keys: Keys) -> None:
        if isinstance(node, yaml.MappingNode):
            for key_node, value in node.value:
                where = (*keys, str(key_node.value))
                line = key_node.start_mark.line + 1
                if where in self._lines and key_node.value != "<<":
                    raise ValueError(
                        f"{self.path}:{line}: {dotted(where)} is given twice "
                        f"(first in line {self._lines[where]})"
                    )
                self._lines[where] = line
                self._note(value, where)
        elif isinstance(node, yaml.SequenceNode):
            for number, item in enumerate(node.value):
                self._lines[(*keys, number)] = item.start_mark.line + 1
                self._note(item, (*keys, number))

    def fault(self, keys: Keys, message: str) -> ValueError:
        """An error that names file, line and key."""
        line = ""
        for length in range(len(keys), 0, -1):
            if keys[:length] in self._lines:
                line = f":{self._lines[keys[:length]]}"
                break
        return ValueError(f"{self.path}{line}: {dotted(keys)}: {message}")

    def check_keys(self, content: Any, keys: Keys, known: Iterable[str]) -> None:
        """Refuse a value that is no mapping, and a key in it that is not known."""
        if not isinstance(content, dict):
            raise self.fault(keys, f"a mapping was expected, not {content!r}")
        known = list(known)
        for key in content:
            if key not in known:
                hint = did_you_mean(key, known)
                raise self.fault((*keys, str(key)), f"there is no such key{hint}")


def read_value(text: str) -> Any:
    """What a file would hold with this text as a value; the text itself if it is no YAML."""
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError:
        return text


def dotted(keys: Keys) -> str:
    """``('stages', 'finetune', 'configs', 0)`` as it is read: ``stages.finetune.configs[0]``."""
    text = ""
    for key in keys:
        text += f"[{key}]" if isinstance(key, int) else f".{key}"
    return text.lstrip(".")


def did_you_mean(word: Any, known: Iterable[str]) -> str:
    """A hint to append to a message: the closest of the known words, or all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(str(word), names, n=1)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; there are {', '.join(names)}" if names else ""
