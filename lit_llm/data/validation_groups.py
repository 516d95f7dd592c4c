"""Which documents validate: decided by group, by a hash, whatever else the corpus holds."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Collection


def is_validation(group: str, fraction: float, named: Collection[str] = ()) -> bool:
    """Whether the documents of a group are for validation.

    A function of its arguments alone: it is the same in every run, whatever the seed, and adding
    documents or sources moves no other group. A larger fraction adds groups and takes none away.

    Args:
        group: a document's ``group``.
        fraction: of the groups (not of the text), in [0, 1]. Of few groups it is a rough aim:
            of 72 novels, 5 % is 3.6 expected with a standard deviation of 1.8.
        named: groups that validate in any case.

    Raises:
        ValueError: a fraction outside [0, 1].
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"data.validation_fraction must be in [0, 1], not {fraction}")
    digest = hashlib.blake2b(group.encode(), digest_size=8, person=b"validation").digest()
    return group in named or int.from_bytes(digest) < fraction * 2**64


def refuse_unknown_groups(named: Collection[str], groups: Collection[str]) -> None:
    """Refuse a validation group that is not in the corpus, such as a misspelt one.

    Args:
        named: groups asked for.
        groups: all the corpus has.

    Raises:
        ValueError: names the first unknown one and what is closest to it.
    """
    for name in named:
        if name not in groups:
            close = difflib.get_close_matches(name, groups, n=3, cutoff=0.0)
            raise ValueError(
                f"validation group {name!r} is not among the {len(groups):,} of the corpus; the"
                f" closest are {', '.join(map(repr, close))}: pass one of them"
            )


def nothing_left(split: str, of_split: int, num_groups: int, fraction: float) -> ValueError:
    """What to say when no document of a split is left."""
    purpose = "validation" if split == "val" else "training"
    if of_split:
        return ValueError(
            f"no document is left for {purpose}: data.leave_out holds the text of all {of_split:,}"
            " of them; give other text, or leave that evaluation set out of data.leave_out"
        )
    if num_groups == 1:
        return ValueError(
            f"no document is left for {purpose}: the text is a single group (document, file, or "
            "value of group_column), which is never split; give its parts by document_marker or "
            "group_column, or set data.validation_fraction to 0 to train without validation"
        )
    return ValueError(
        f"no document is left for {purpose}: of {num_groups:,} groups, "
        f"data.validation_fraction = {fraction} takes {'none' if split == 'val' else 'all'}; "
        "change it, or name data.validation_groups"
    )
