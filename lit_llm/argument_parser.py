"""The parser of the commands that are not LightningCLI's."""

from __future__ import annotations

import argparse
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
