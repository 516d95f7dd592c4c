"""``lit-llm COMMAND``: prints the help, or hands over to the command named first."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module

from lit_llm.signals_of_parent import end_with_parent

HELP = """\
usage: lit-llm COMMAND ...

Train language models in several steps, compare the ways, print the table.

commands:
  fit        train, keep the best model on the development set, test it
               lit-llm fit --config configs/token_classification/toy.yaml
               lit-llm fit --config FILE --run_dir DIR --data.path DIR --trainer.max_epochs 5
               lit-llm fit --resume DIR            go on with an interrupted run
  validate   score a run's best model on the development set    lit-llm validate --run DIR
  test       score a run's best model on the test set           lit-llm test --run DIR
  schedule   which layers would learn when, at what rate
               lit-llm schedule --config FILE --plot schedule.svg
  run        a study: many stages, variants, seeds   lit-llm run experiments/quickstart --jobs 2
  table      a study's table                         lit-llm table experiments/quickstart
  plot       what runs logged, as curves             lit-llm plot RUN --metrics val/loss
  predict    label text                       lit-llm predict --run DIR --text "Bonn is quiet."

lit-llm COMMAND --help says more. Every setting of a run can be given as a flag
(--model.optimizer.lr 3e-5); settings in files are given with --config, later ones win.
"""

TRAINER_COMMANDS = ("fit", "validate", "test", "schedule")
OWN_PARSERS = {
    "run": "lit_llm.run_command",
    "table": "lit_llm.table_command",
    "plot": "lit_llm.plot_command",
    "predict": "lit_llm.predict",
}
"""Modules whose ``main`` reads the words after the command; imported only then."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the process's exit code."""
    end_with_parent()
    words = sys.argv[1:] if arguments is None else arguments
    if not words or words[0] in ("-h", "--help", "help"):
        print(HELP)
        return 0
    if words[0] == "--version":
        from importlib.metadata import version

        print(f"lit_llm {version('lit_llm')}")
        return 0
    if words[0] in TRAINER_COMMANDS:
        from lit_llm.cli import main as run

        return run(words[0], words[1:])
    if words[0] in OWN_PARSERS:
        command: Callable[[list[str]], int] = import_module(OWN_PARSERS[words[0]]).main
        return command(words[1:])
    print(
        f"lit-llm: there is no command {words[0]!r}; the commands are "
        f"{', '.join((*TRAINER_COMMANDS, *OWN_PARSERS))}",
        file=sys.stderr,
    )
    return 2


if __name__ == "__main__":
    sys.exit(main())
