"""Documents -> pairs of sentence runs, as BERT and ALBERT are pre-trained on."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from lit_llm.data.pair_template import PairTemplate
from lit_llm.data.sentence_pair_count import SentencePairCount
from lit_llm.data.sentence_runs import Sentence, equal_pieces, take_run, truncate_pair
from lit_llm.data.subwords import Subwords

SentenceObjective = Literal["none", "nsp", "sop"]
Run = list[Sentence]


class SentencePairs:
    """Items of one or two runs of consecutive sentences that fill a target length.

    A document's items are a pure function of (seed, the source's name, the document's place in its
    source, the documents of the source): any order, any process. Only the document at hand and the
    one a random B is taken from are read.

    A run takes sentences until the target is reached: what ``max_length`` leaves beside special
    tokens, or with ``short_prob`` a number from 2 to that. Two segments are a run cut after a
    random sentence:

    - ``none``: one segment, the whole run;
    - ``nsp``: in half of the pairs B is a run from a random place of another document of the same
      source, label 1; the sentences it stands for begin the next run;
    - ``sop``: in half of the pairs A and B change places, label 1.

    Label 0 is the true continuation, as in transformers' ``BertForPreTraining`` and
    ``AlbertForPreTraining``. What is too much is taken off one by one from the longer segment, at
    its front or its end; ``full_sentences`` ends the run before instead. A sentence too long for
    its place (the item, or half of it in pairs) is split into equal pieces beforehand. A document's
    last sentence, left alone, gets a random B (NSP) or is halved (SOP; lost if a single token).

    Args:
        documents: ``documents[i]`` is a list of sentences; read by number, as often as needed.
        sources: the numbers of each source's documents, by the source's name.
        tokenizer: a transformers fast tokenizer, for the special tokens around the segments.
        max_length: tokens of an item at most, special ones included.
        objective: which second segment, if any.
        short_prob: how often the target is shorter, in [0, 1].
        full_sentences: end a run before the sentence that does not fit: nothing is cut and lost,
            the items are a little shorter.
        seed: of all draws.
        count: receives what was made, split, and lost.

    Raises:
        ValueError: an argument out of range; no separator in the tokenizer's template; with NSP, a
            source with fewer than two documents (here) or two that have tokens (on the way).

    Source:
        Devlin et al. 2019, appendix A.2, arXiv:1810.04805; Lan et al. 2020, section 3.1,
        arXiv:1909.11942; ``full_sentences``: Liu et al. 2019, section 4.2, arXiv:1907.11692.
        Differs: the target is drawn for each item (BERT's code: for each document); a run has two
        sentences where the document has them (BERT's code takes one that reaches the target, with a
        random B, so that more than half are); ALBERT's code gives a single sentence a random B.
    """

    def __init__(
        self,
        documents: Sequence[Sequence[Sentence]],
        sources: Mapping[str, range],
        tokenizer: Any,
        *,
        max_length: int,
        objective: SentenceObjective = "none",
        short_prob: float = 0.1,
        full_sentences: bool = False,
        seed: int = 0,
        count: SentencePairCount | None = None,
    ) -> None:
        if objective not in get_args(SentenceObjective):
            names = ", ".join(get_args(SentenceObjective))
            raise ValueError(f"the sentence objective is one of {names}, not {objective!r}")
        if not 0 <= short_prob <= 1:
            raise ValueError(f"short_prob must lie in [0, 1], not {short_prob}")
        self.documents, self.sources, self.objective = documents, dict(sources), objective
        self.short_prob, self.full_sentences, self.seed = short_prob, full_sentences, seed
        self.count = SentencePairCount() if count is None else count
        self._single: Subwords | None = None
        if objective == "none":
            self._single = Subwords(tokenizer)
            self.capacity = self._longest = self._single.capacity(max_length)
        else:
            self._pair = PairTemplate(tokenizer)
            self.capacity = self._pair.capacity(max_length)
            self._longest = self.capacity // 2  # any two sentences fit
        self._room = self.capacity if full_sentences else math.inf
        self._source_ids = {source: i for i, source in enumerate(self.sources)}
        for source, numbers in self.sources.items():
            if objective == "nsp" and len(numbers) < 2:
                raise _no_other_document(source)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """All items, source by source, document by document."""
        for source, numbers in self.sources.items():
            for number in numbers:
                yield from self.of_document(source, number)

    def of_document(self, source: str, number: int) -> Iterator[dict[str, Any]]:
        """The items of one document, from its beginning to its end.

        Yields:
            ``input_ids`` (L,), int64; ``source_ids``, the source's place in ``sources``; for pairs
            ``token_type_ids`` (L,), int64, and ``sentence_labels``, 0 or 1.

        Raises:
            ValueError: NSP, and no other document of the source has tokens.
        """
        place = self.sources[source].index(number)
        rng = np.random.default_rng([self.seed, zlib.crc32(source.encode()), place])
        pieces = self._pieces_of(number)
        start = 0
        while start < len(pieces):
            target = self.capacity
            if rng.random() < self.short_prob:
                target = int(rng.integers(min(2, target), target, endpoint=True))
            rest = (pieces[i] for i in range(start, len(pieces)))
            run = take_run(rest, target, self._room, 1 if self._single else 2)
            a, b, label = self._segments(rng, run, target, source, place)
            negative = label == 1 and self.objective == "nsp"
            own = a if negative else run
            start += len(own)
            ids_a, ids_b = truncate_pair(rng, _joined(a), _joined(b), self.capacity)
            kept = len(ids_a) + (0 if negative else len(ids_b))
            self.count.num_tokens_lost += _size(own) - kept
            if kept:
                self.count.num_items += 1
                self.count.num_alone += len(run) == 1 and not self._single
                self.count.num_negatives += label
                yield {**self._item(ids_a, ids_b, label), "source_ids": self._source_ids[source]}

    def _pieces_of(self, number: int) -> Run:
        """A document's sentences, long ones split, counted."""
        sentences = [sentence for sentence in self.documents[number] if len(sentence)]
        pieces = [piece for s in sentences for piece in equal_pieces(s, self._longest)]
        self.count.num_documents += 1
        self.count.num_empty_documents += not sentences
        self.count.num_sentences += len(sentences)
        self.count.num_split += sum(len(sentence) > self._longest for sentence in sentences)
        self.count.num_tokens += _size(sentences)
        return pieces

    def _segments(
        self, rng: np.random.Generator, run: Run, target: int, source: str, place: int
    ) -> tuple[Run, Run, int]:
        """A, B and the label; with NSP's label 1, A is what is used of the run."""
        if self._single:
            return run, [], 0
        if len(run) == 1 and self.objective == "sop":
            self.count.num_halved += len(run[0]) > 1
            run = equal_pieces(run[0], -(-len(run[0]) // 2))
            if len(run) == 1:
                return [], [], 0
        cut = int(rng.integers(1, len(run))) if len(run) > 1 else 1
        a, b = run[:cut], run[cut:]
        label = int(rng.random() < 0.5 or not b)
        if not label:
            return a, b, 0
        if self.objective == "sop":
            return b, a, 1
        other = self._other_document(rng, source, place)
        first = int(rng.integers(len(other)))
        rest = (piece for s in other[first:] for piece in equal_pieces(s, self._longest))
        b = take_run(rest, target - _size(a), self._room - _size(a), 1)
        while len(a) > 1 and _size(a) + _size(b) > self._room:
            a.pop()  # it begins the next run
        return a, b, 1

    def _other_document(self, rng: np.random.Generator, source: str, place: int) -> Run:
        """The sentences of another document of the source, the next one that has any."""
        numbers = self.sources[source]
        num_others = len(numbers) - 1
        first = int(rng.integers(num_others))
        for step in range(num_others):
            other = numbers[(place + 1 + (first + step) % num_others) % len(numbers)]
            sentences = [sentence for sentence in self.documents[other] if len(sentence)]
            if sentences:
                return sentences
        raise _no_other_document(source)

    def _item(self, a: Sentence, b: Sentence, label: int) -> dict[str, Any]:
        if self._single:
            ids = [self._single.prefix, a, self._single.suffix]
            return {"input_ids": np.concatenate([np.asarray(part, np.int64) for part in ids])}
        input_ids, token_type_ids = self._pair.join(a, b)
        return {
            "input_ids": input_ids,
            "token_type_ids": token_type_ids,
            "sentence_labels": label,
        }


def _size(run: Run) -> int:
    return sum(len(sentence) for sentence in run)


def _joined(run: Run) -> Sentence:
    joined: NDArray[np.int64] = np.concatenate([np.zeros(0, np.int64), *run])
    return joined


def _no_other_document(source: str) -> ValueError:
    return ValueError(
        f"source {source!r} has a single document with text in this split, and next-sentence "
        "prediction takes its random sentences from another document of the same source and split: "
        "split it into documents (chapters, articles; document_marker), leave it out, change "
        "data.validation_fraction, or set model.sentence_objective to sop or none"
    )
