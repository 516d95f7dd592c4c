"""``lit-llm table``: a study's results as rows and columns."""

from __future__ import annotations

from lit_llm.argument_parser import CommandParser, exit_code
from lit_llm.run_command import open_study, study_arguments
from lit_llm.study.ledger import Ledger
from lit_llm.study.plan import plan_study
from lit_llm.tables.write import write_table

DESCRIPTION = """\
Print a study's table: mean and standard deviation over seeds, and what a reader must know.

  lit-llm table experiments/quickstart/study.yaml
  lit-llm table STUDY --csv               one line for each figure, with every seed's value

table.md and table.csv are written beside the results.
"""


def main(words: list[str]) -> int:
    """Run ``lit-llm table``; the process's exit code.

    Args:
        words: the command line after ``table``.
    """
    return exit_code("table", lambda: _table(words))


def _table(words: list[str]) -> int:
    parser = CommandParser("table", DESCRIPTION)
    study_arguments(parser)
    parser.add_argument("--csv", action="store_true", help="print CSV instead of Markdown")
    options = parser.parse_args(words)
    study, results, runs = open_study(options)
    plan = plan_study(study, runs)
    print(write_table(Ledger(plan, results, runs), options.csv), end="")
    return 0
