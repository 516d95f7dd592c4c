"""The parser of the commands that are not LightningCLI's."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import NoReturn


class CommandParser(argparse.ArgumentParser):
    """Says what is wrong in a sentence, without a page of usage.

    Args:
        command: such as ``run``.
        description: of the command, printed as it is.

    Raises:
        ValueError: while parsing, for anything that is wrong with the words.
    """

    def __init__(self, command: str, description: str) -> None:
        super().__init__(
            f"lit-llm {command}",
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Say it as an error that the command prints."""
        raise ValueError(f"{message}; {self.prog} --help lists the flags")


def exit_code(command: str, action: Callable[[], int]) -> int:
    """What ``action`` returns; 1 where it fails for a reason that the user is told in a sentence.

    With ``LIT_LLM_TRACEBACK`` set the error is let through.

    Args:
        command: such as ``run``.
        action: what the command does; raises ValueError or OSError.
    """
    try:
        return action()
    except (ValueError, OSError) as error:
        if os.environ.get("LIT_LLM_TRACEBACK"):
            raise
        print(f"lit-llm {command}: {error}", file=sys.stderr)
        return 1
