"""The words of a command line, before LightningCLI sees them."""

from __future__ import annotations

import argparse
import json
import re
from typing import Any

import yaml
from jsonargparse import get_loader, set_loader, set_parsing_settings

from lit_llm.cli_errors import check_yaml

ALLOWED_IMPORTS = ("lit_llm", "lightning.pytorch", "torch.optim", "torch.nn", "torchmetrics")
"""Packages whose classes a configuration may name."""

_load_yaml = get_loader("yaml")
_NESTED = re.compile(r"--(?:model|data)(?:\.init_args)?\.\w+\.[\w.]+")


def own_options(
    words: list[str], command: str, flags: dict[str, str]
) -> tuple[argparse.Namespace, list[str]]:
    """Take our own flags out, and put configs before flags, as LightningCLI wants them.

    From here on, configurations may import what is on the allow-list, and read no URL.

    Args:
        words: the command line after the command.
        command: ``fit``, ``validate`` or ``test``.
        flags: name and help text of those that LightningCLI does not know.

    Returns:
        The values of ``flags``, and the other words.

    Raises:
        ValueError: a flag lacks its value, or a configuration file cannot be read.
    """
    parser = argparse.ArgumentParser(
        f"lit-llm {command}", add_help=False, allow_abbrev=False, exit_on_error=False
    )
    for flag, text in flags.items():
        parser.add_argument(flag, help=text)
    parser.add_argument("--allow_import", action="append", default=[])
    try:
        options, rest = parser.parse_known_args(words)
        configs, rest = split_configs(rest)
    except argparse.ArgumentError as error:
        raise ValueError(str(error)) from None
    check_yaml(configs)
    if wants_help(rest):
        parser.print_help()
    set_parsing_settings(
        import_path_denylist=["*"],
        import_path_allowlist=[*ALLOWED_IMPORTS, *options.allow_import],
        config_read_mode_urls_enabled=False,
        config_read_mode_fsspec_enabled=False,  # Lightning enables it: any setting could be a URL
    )
    set_loader("yaml", _load_value, (yaml.YAMLError,))
    nulls, rest = _split_nulls(rest)
    return options, [*(word for path in [*configs, *nulls] for word in ("--config", path)), *rest]


def split_configs(words: list[str]) -> tuple[list[str], list[str]]:
    """The configuration files, in order, and the other words."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--config", "-c", action="append", default=[])
    options, rest = parser.parse_known_args(words)
    return options.config, rest


def _load_value(text: str) -> Any:
    """A value as jsonargparse reads it, but for what YAML takes for no content at all.

    jsonargparse 4.53 makes null of a string such as ``---`` or ``# end``, in files too: a document
    marker would be lost without a word.
    """
    value = _load_yaml(text)
    said = text.strip().lower() in ("", "~", "null")
    return text if value is None and not said and "\n" not in text else value


def _split_nulls(words: list[str]) -> tuple[list[str], list[str]]:
    """Settings of settings that are to be null, each as a configuration, and the other words.

    jsonargparse 4.53 hands a nested flag's value on as text: ``--model.backbone.init_from null``
    would name a model called None.
    """
    nulls, rest = [], []
    position = 0
    while position < len(words):
        flag, equals, value = words[position].partition("=")
        taken = 1
        if not equals and position + 1 < len(words):
            value, taken = words[position + 1], 2
        if _NESTED.fullmatch(flag) and value == "null":
            room, *keys = flag.removeprefix("--").replace(".init_args.", ".", 1).split(".")
            content: Any = None
            for key in reversed([room, "init_args", *keys]):
                content = {key: content}
            nulls.append(json.dumps(content))
            position += taken
        else:
            rest.append(words[position])
            position += 1
    return nulls, rest


def wants_help(words: list[str]) -> bool:
    """Whether the words ask for the help, or for the configuration, instead of a run."""
    return any(word in ("-h", "--help") or word.startswith("--print_config") for word in words)
