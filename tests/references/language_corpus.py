"""A corpus of made-up words for language models that ``save_tiny`` makes."""

import random

from lit_llm.data.batch_config import BatchConfig
from lit_llm.data.causal_corpus import CausalCorpus
from lit_llm.data.corpus_source import CorpusSource
from lit_llm.data.masked_corpus import MaskedCorpus
from tests.helpers import words


def language_corpus(directory, task, settings=None, **batches):
    """24 documents of 5 sentences, written to ``directory`` if need be; four rows a batch."""
    path = directory / "text.txt"
    if not path.exists():
        rng = random.Random(0)
        texts = [
            " ".join(" ".join(["W1", *words(rng, rng.randint(3, 9))]) + "." for _ in range(5))
            for _ in range(24)
        ]
        path.write_text("\n<end>\n".join(texts))
    corpus = CausalCorpus if task == "causal" else MaskedCorpus
    layout = {"tokens_per_batch": 256, "row_length": 64, "seed": 3, **batches}
    return corpus(
        [CorpusSource(str(path), document_marker="<end>")],
        max_length=32,
        batches=BatchConfig(**layout),
        **{"validation_fraction": 0.3, **(settings or {})},
    )
