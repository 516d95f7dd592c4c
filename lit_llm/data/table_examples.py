"""Rows to examples: tokens with tags, or a text with a label."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from lit_llm.data.cells import Cell
from lit_llm.data.columns import DOCUMENT_START
from lit_llm.data.splits import HubSplit
from lit_llm.data.tables import read_table
from lit_llm.data.tag_scheme import Example, convert_tags, row_location

CONLL2003_TAGS = (*("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC", "B-MISC", "I-MISC"),)
"""The order of the class indices in the hub's ``conll2003``; only used when passed."""

PROBLEM_TYPES = ("single_label_classification", "multi_label_classification", "regression")


def read_token_table(
    source: str | Path | HubSplit,
    tokens: str = "tokens",
    tags: str | None = "ner_tags",
    document: str | None = None,
    label_names: Sequence[str] | None = None,
    scheme: str | None = "auto",
    keep: Sequence[str] = (),
) -> list[Example]:
    """Sentences from a table whose columns hold lists: words, and one tag for each.

    A row whose only word is ``-DOCSTART-`` is a document border, as in column files.

    Args:
        source: as ``read_table``.
        tokens: column of word lists.
        tags: column of tags (strings) or class indices; None for sentences without tags.
        document: column whose value changes where a document starts; None for one document, or
            as many as ``-DOCSTART-`` rows say.
        label_names: the tags' names by class index, when the file does not carry them; with
            string tags, the tags there may be.
        scheme: as ``convert_tags``; None leaves the tags as they stand, to be converted with
            those of the other splits.
        keep: more columns to keep, as they stand.

    Returns:
        One example a row: ``id``, ``words``, ``tags`` (IOB2; absent without a tags column),
        ``document`` (from 0), and what is kept.

    Raises:
        ValueError: names row (or line), column and remedy: a missing or mistyped value, no token,
            an empty token, lengths that differ, an index out of range, an unknown tag.
    """
    wanted = [column for column in (tokens, tags, document) if column is not None]
    table = read_table(source, [*wanted, *keep])
    names = label_names or table.class_names.get(tags or "")
    examples: list[Example] = []
    number_of_document, before = -1, object()
    for number, row in table.rows:
        cell = Cell(table, number, row)
        words = cell.strings(tokens, "token")
        example: Example = {"id": f"{table.name}#{number}", "words": words}
        if tags is not None:
            example["tags"] = cell.tags(tags, names)
            if len(example["tags"]) != len(words):
                raise cell.error(tags, f"{len(example['tags'])} tags for {len(words)} tokens")
        border = words == [DOCUMENT_START]
        changed = document is not None and row[document] != before
        before = row[document] if document is not None else before
        number_of_document += border or changed or number_of_document < 0
        if not border:
            example["document"] = number_of_document
            examples.append({**example, **cell.kept(keep, example)})
    if not examples:
        raise ValueError(f"{table.place}: the table holds no sentence; give one with words")
    if tags is not None and scheme is not None:
        convert_tags([examples], scheme)
    return examples


def read_text_table(
    source: str | Path | HubSplit,
    text: str = "text",
    label: str | None = "label",
    label_names: Sequence[str] | None = None,
    problem_type: str = "single_label_classification",
    keep: Sequence[str] = (),
) -> list[Example]:
    """Texts with a label each, as the row holds them.

    Args:
        source: as ``read_table``.
        text: column of strings.
        label: column of labels; None for texts without. For one label, a string, an integer
            (a class index if names are known, else it is its own name) or a truth value (0 or 1);
            for several, a list of these, perhaps empty; for regression a finite number.
        label_names: names by class index, and all the labels there may be; default what the file
            says of itself.
        problem_type: transformers' names, one of ``PROBLEM_TYPES``.
        keep: more columns to keep, as they stand.

    Returns:
        One example a row: ``id``, ``text``, ``label`` (str, list of str, or float; absent without
        a label column), and what is kept.

    Raises:
        ValueError: names row (or line), column and remedy: a missing, empty or mistyped value, or
            a label outside the set.
    """
    if problem_type not in PROBLEM_TYPES:
        raise ValueError(
            f"unknown problem_type {problem_type!r}; use one of {', '.join(PROBLEM_TYPES)}"
        )
    table = read_table(source, [text, *([] if label is None else [label]), *keep])
    names = label_names or table.class_names.get(label or "")
    examples: list[Example] = []
    for number, row in table.rows:
        cell = Cell(table, number, row)
        example: Example = {"id": f"{table.name}#{number}", "text": cell.text(text)}
        if label is not None:
            if problem_type == "regression":
                example["label"] = cell.number(label)
            elif problem_type == "multi_label_classification":
                example["label"] = cell.labels(label, names)
            else:
                example["label"] = cell.label(label, cell.value(label), names)
        examples.append({**example, **cell.kept(keep, example)})
    return examples


def check_text_labels(examples: Iterable[Example], names: Collection[str]) -> None:
    """Refuse examples with a label (or one of several) that is not in ``names``.

    Raises:
        ValueError: names the row or line of the first, and the known labels.
    """
    for example in examples:
        label = example["label"]
        for name in label if isinstance(label, list) else [label]:
            if name not in names:
                raise ValueError(
                    f"{row_location(example['id'])}: label {name!r} is not in the training data,"
                    f" which has {', '.join(map(repr, sorted(names)))}; correct it"
                )
