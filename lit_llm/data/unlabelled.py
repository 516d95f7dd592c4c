"""Texts without a label, for a teacher to say what they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_info

from lit_llm.data.cache import ArrowTable, build_once, fingerprint, write_table
from lit_llm.data.corpus_identity import TOY, content_identity
from lit_llm.data.corpus_source import CorpusSource
from lit_llm.data.documents import document_text, read_documents
from lit_llm.data.text_key import text_key

_DRAW = 3  # beside those of the splits, see ``sample``


def check_source(source: CorpusSource) -> None:
    """Refuse what means something of a corpus alone.

    Raises:
        ValueError: names the key.
    """
    if source.path == TOY:
        raise ValueError(f"data.unlabelled.path: {TOY} is a corpus of stories; name files of texts")
    if source.shuffle_words or source.weight != 1.0:
        key = "shuffle_words" if source.shuffle_words else "weight"
        raise ValueError(f"data.unlabelled.{key} is for the sources of a corpus: leave it out")


def unlabelled_texts(source: CorpusSource, cache_dir: Path) -> tuple[ArrowTable, str]:
    """All texts of a source, ``{"id", "text"}``, cached on disk, and what names their content.

    Raises:
        OSError, ValueError: as ``read_documents``.
    """
    key = fingerprint(["unlabelled", content_identity(source, cache_dir)])
    directory = cache_dir / f"examples-{key}"

    def build(staging: Path) -> None:
        rank_zero_info(f"reading the texts of {source.path}")
        documents = read_documents(source, cache_dir=cache_dir)
        rows = ({"id": f"unlabelled/{d['id']}", "text": document_text(d)} for d in documents)
        write_table(staging / "examples.arrow", rows)

    return ArrowTable(build_once(directory, build) / "examples.arrow"), key


def drawn_texts(
    texts: Sequence[Mapping[str, Any]],
    number: int | None,
    seed: int,
    evaluated: Iterable[Mapping[str, Any]],
    fields: Iterable[str],
) -> tuple[list[dict[str, Any]], list[int], int]:
    """Some texts as training examples, none of which is evaluated on.

    Args:
        texts: as ``unlabelled_texts`` gives them.
        number: how many; None takes all.
        seed: of the draw; of one seed, the smaller number is a part of the larger.
        evaluated: the examples of the other splits.
        fields: what a training example has; whatever a text has not is None.

    Returns:
        The examples, in file order, their places, and how many were left out because they are
        evaluated on.

    Raises:
        ValueError: there are fewer.
    """
    known = {text_key(example["text"]) for example in evaluated}
    free = [i for i, text in enumerate(texts) if not known or text_key(text["text"]) not in known]
    if number is not None and number > len(free):
        raise ValueError(f"sample.unlabelled = {number:,}, but there are {len(free):,} texts")
    order = np.random.default_rng([seed, _DRAW]).permutation(len(free))[:number]
    empty, places = dict.fromkeys(fields), sorted(free[i] for i in order.tolist())
    examples = [{**empty, **texts[place]} for place in places]
    return examples, places, len(texts) - len(free)
