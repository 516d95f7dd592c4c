"""The stages of a study: which command, which configuration files, which settings, which seeds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lit_llm.strict_yaml import Document, Keys, did_you_mean

COMMANDS = ("fit", "validate", "test")
"""Commands a stage may be: each fills a ``--run_dir`` with a ``results.json``."""

REFERENCE = re.compile(r"\$\{([^}]*)\}")
"""``${name}``: an earlier stage's run directory, or one of the study's parameters."""

_OURS = {
    "run_dir": "leave it out",
    "resume": "leave it out",
    "seed_everything": "use seeds",
    "config": "use configs",
}
_OF_SCORING = ("run", "allow_import", "trainer", "model", "data", "wandb")
"""What ``validate`` and ``test`` take, or that with more words after a dot."""

_SHARED = "shared"


@dataclass(frozen=True)
class Stage:
    """One step of a study: a ``lit-llm`` command.

    Attributes:
        name: its key in the file.
        command: one of ``COMMANDS``.
        configs: configuration files, later ones win.
        settings: flags without their dashes, such as ``trainer.max_epochs``.
        seeds: those it is run with.
    """

    name: str
    command: str
    configs: tuple[str, ...]
    settings: Mapping[str, Any]
    seeds: tuple[int, ...]

    def changed(self, changes: Mapping[str, Any]) -> Stage:
        """The stage as a variant has it."""
        configs, settings = self.configs, dict(self.settings)
        for key, value in changes.items():
            if key == "configs":
                configs = tuple(value)
            elif key == "configs+":
                configs = (*configs, *value)
            else:
                settings[key] = value
        return Stage(self.name, self.command, configs, settings, self.seeds)

    def references(self) -> list[str]:
        """Names in ``${...}``, in order, each once."""
        return references(self.configs, list(self.settings.values()))


def read_stages(document: Document) -> dict[str, Stage]:
    """The stages in the order of the file, each with its own seeds or the study's.

    Raises:
        ValueError: names file, line and key.
    """
    content = document.content.get("stages")
    if not isinstance(content, dict) or not content:
        raise document.fault(("stages",), "a study names at least one stage")
    all_seeds = _seeds(document, ("seeds",), document.content.get("seeds", [0]))
    stages = {}
    for name, stage in content.items():
        keys: Keys = ("stages", str(name))
        check_name(document, keys, name, marks="_ -")
        document.check_keys(stage, keys, ("command", "configs", "settings", "seeds"))
        command = stage.get("command", "fit")
        if command not in COMMANDS:
            raise document.fault(
                (*keys, "command"), f"a stage is one of {', '.join(COMMANDS)}, not {command!r}"
            )
        seeds = all_seeds
        if "seeds" in stage:
            seeds = _seeds(document, (*keys, "seeds"), stage["seeds"])
        configs = read_configs(document, (*keys, "configs"), stage.get("configs", []))
        settings = stage.get("settings", {})
        if not isinstance(settings, dict):
            where = (*keys, "settings")
            raise document.fault(where, "settings such as 'trainer.max_epochs: 3' were expected")
        for key, value in settings.items():
            check_setting(document, (*keys, "settings", str(key)), key, value, command)
        stages[str(name)] = Stage(str(name), command, configs, settings, seeds)
    return stages


def _seeds(document: Document, keys: Keys, content: Any) -> tuple[int, ...]:
    numbers = content if isinstance(content, list) else []
    if not numbers or any(type(seed) is not int or seed < 0 for seed in numbers):
        raise document.fault(
            keys, f"a list of numbers such as [0, 1, 2] was expected, not {content!r}"
        )
    twice = sorted({seed for seed in numbers if numbers.count(seed) > 1})
    if twice:
        raise document.fault(keys, f"seed {twice[0]} is given twice")
    return tuple(numbers)


def read_configs(document: Document, keys: Keys, content: Any) -> tuple[str, ...]:
    """A list of file names; anything else is refused."""
    if not isinstance(content, list) or any(not isinstance(item, str) for item in content):
        raise document.fault(keys, f"a list of configuration files was expected, not {content!r}")
    return tuple(content)


def check_setting(document: Document, keys: Keys, key: Any, value: Any, command: str) -> None:
    """Refuse what is no flag of the command, or is the study's own to set."""
    if not isinstance(key, str) or not re.fullmatch(r"[^\s=-][^\s=]*", key):
        raise document.fault(keys, "a setting's name was expected, such as trainer.max_epochs")
    if key in _OURS:
        raise document.fault(keys, f"the study sets this itself: {_OURS[key]}")
    if isinstance(value, dict):
        inner = next(iter(value), "KEY")
        raise document.fault(keys, f"settings are written as flags are: {key}.{inner}: VALUE")
    group = key.split(".")[0].removesuffix("+")
    known = (*_OF_SCORING, "split") if command == "validate" else _OF_SCORING
    if command != "fit" and group not in known:
        hint = did_you_mean(group, known)
        raise document.fault(keys, f"{command} has no such setting{hint}")


def check_name(document: Document, keys: Keys, name: Any, marks: str = "_ . + = -") -> None:
    """Refuse what cannot be a directory's name everywhere, and YAML's other words for true."""
    if isinstance(name, bool):
        raise document.fault(keys, "write this name in quotes: YAML reads it as true or false")
    pattern = rf"([A-Za-z]|-?\d)[\w{re.escape(marks.replace(' ', ''))}]*"
    if not re.fullmatch(pattern, str(name)) or str(name) == _SHARED:
        raise document.fault(
            keys,
            f"a name is made of letters, digits and {marks}, begins with a letter or a number, and "
            f"is not {_SHARED!r}",
        )


def references(*data: Any) -> list[str]:
    """Names in ``${...}`` anywhere in plain data, in order, each once."""
    found = (name for text in _strings(data) for name in REFERENCE.findall(text))
    return list(dict.fromkeys(name.split("/")[0] for name in found))


def _strings(data: Any) -> list[str]:
    if isinstance(data, str):
        return [data]
    if isinstance(data, Mapping):
        return [text for value in data.values() for text in _strings(value)]
    if isinstance(data, list | tuple):
        return [text for value in data for text in _strings(value)]
    return []
