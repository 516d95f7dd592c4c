"""A study's table as files beside its results."""

from __future__ import annotations

from lit_llm.durable import replace_text
from lit_llm.study.ledger import Ledger
from lit_llm.tables.render import csv_text, markdown
from lit_llm.tables.study_table import study_table


def write_table(ledger: Ledger, as_csv: bool = False) -> str:
    """Write ``table.md`` and ``table.csv`` beside the results; the text of one of them.

    Raises:
        ValueError: there is nothing to show, or a metric is missing.
    """
    table = study_table(ledger.plan, ledger)
    texts = {"table.md": markdown(table), "table.csv": csv_text(table)}
    for name, text in texts.items():
        replace_text(ledger.results / name, text)
    return texts["table.csv" if as_csv else "table.md"]
