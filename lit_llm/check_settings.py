"""Read the settings of many ``fit`` commands without running any: ``python -m``, words on stdin."""

from __future__ import annotations

import json
import sys
import warnings

from jsonargparse import ArgumentError

from lit_llm.cli import RunCLI
from lit_llm.cli_errors import readable
from lit_llm.cli_options import own_options, split_configs


class _ReadOnly(RunCLI):
    """Parses, and builds nothing."""

    def before_instantiate_classes(self) -> None:
        """Nothing is built."""

    def instantiate_classes(self) -> None:
        """Nothing is built."""


def fault(words: list[str]) -> str | None:
    """What is wrong with a command's configuration files and flags; None if they can be read.

    Args:
        words: the command line after ``fit``.
    """
    try:
        _, rest = own_options(words, "fit", {"--run_dir": "", "--resume": ""})
        _ReadOnly(rest, None)
    except ArgumentError as error:
        return readable(str(error.message), *split_configs(words))
    except (ValueError, OSError) as error:
        return str(error)
    return None


def main() -> None:
    """Read a JSON list of commands from standard input; write a JSON list of faults or nulls."""
    warnings.simplefilter("ignore")
    faults = [fault(words) for words in json.load(sys.stdin)]
    json.dump(faults, sys.stdout)


if __name__ == "__main__":
    main()
