"""Raw text for masked language modelling, alone or with pairs of sentence runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray

from lit_llm.batch import Item
from lit_llm.data.batch_config import BatchConfig
from lit_llm.data.cache import ArrowTable, build_once, fingerprint, write_table
from lit_llm.data.corpus_data_module import CorpusDataModule
from lit_llm.data.corpus_source import CorpusSource
from lit_llm.data.data_module import Split
from lit_llm.data.loader import Prepare
from lit_llm.data.masking import Masking, MaskingConfig
from lit_llm.data.sentence_baseline import SegmentBags
from lit_llm.data.sentence_pair_count import SentencePairCount
from lit_llm.data.sentence_pairs import SentenceObjective, SentencePairs
from lit_llm.data.sentences import document_sentences, splitter_version
from lit_llm.data.stored_documents import by_source
from lit_llm.data.streaming import StreamingConfig
from lit_llm.data.subwords import Subwords
from lit_llm.data.word_pieces import vocabulary_size

_BULK = 64
_BASELINE_PAIRS = 20_000


class MaskedCorpus(CorpusDataModule):
    """Runs of sentences that fill ``max_length``, masked anew each time they are served.

    Whether they are single runs or pairs for next-sentence or sentence-order prediction is said
    once, by the model (``MaskedLM.sentence_objective``). The pairs are made once and are the same
    for every seed of a run; the masks are a function of (seed, batch, item). With
    ``masking.variants`` they are one of (seed, variant, item), and a batch says which variant:
    ``mask_variants``, (B,).

    Args:
        sources: where the text lies; ``path: toy`` is the built-in corpus.
        masking: which tokens are scored, and what stands in their place.
        short_prob: how often a run aims at a random shorter length than ``max_length``.
        full_sentences: end a run before the sentence that does not fit, so that nothing is cut off;
            false fills each item and cuts what is too much, as BERT does, and counts it.
        validation_fraction: of the groups (books, files, texts).
        validation_groups: groups that validate in any case.
        validation_sources: text to validate on instead of a part of ``sources``.
        leave_out: evaluation sets whose texts may not be trained on.
        streaming: read a corpus that does not fit the disk while the model trains.
        max_length: tokens of the longest item, special tokens included.
        batches: how items are laid out in batches.
        cache_dir: where tokenised data is kept.
    """

    def __init__(
        self,
        sources: list[CorpusSource],
        masking: MaskingConfig = MaskingConfig(),
        short_prob: float = 0.1,
        full_sentences: bool = True,
        validation_fraction: float = 0.01,
        validation_groups: list[str] | None = None,
        validation_sources: list[CorpusSource] | None = None,
        leave_out: list[CorpusSource] | None = None,
        streaming: StreamingConfig | None = None,
        max_length: int | None = None,
        batches: BatchConfig = BatchConfig(),
        cache_dir: str | None = None,
    ) -> None:
        super().__init__(
            sources,
            validation_fraction,
            validation_groups,
            validation_sources,
            leave_out,
            streaming,
            max_length,
            batches,
            cache_dir,
        )
        self.masking, self.short_prob, self.full_sentences = masking, short_prob, full_sentences
        if streaming is not None and masking.variants is not None:
            raise ValueError(
                "data.masking.variants names the ways of masking an item that is seen again, and "
                "data.streaming keeps no items: set one of them to null"
            )

    def items(
        self, examples: Sequence[dict[str, Any]], backbone: Any, notices: dict[str, int]
    ) -> Iterator[Item]:
        """Runs or pairs of runs, not masked yet, with how many of their tokens may be.

        Raises:
            ValueError: the model is a decoder; no item can be made, or for NSP no pair whose
                second segment is the true one; as ``Masking`` and ``SentencePairs``.
        """
        _refuse_decoder(backbone)
        assert isinstance(examples, ArrowTable)
        documents = self._tokenised(examples, backbone.tokenizer)
        return self._runs(examples, documents, backbone, notices)

    def block_items(
        self, examples: ArrowTable, backbone: Any, notices: dict[str, int], seed: int
    ) -> Iterator[Item]:
        """As ``items``; a random second segment comes from the same block."""
        _refuse_decoder(backbone)
        path = Path(examples.path).with_name("sentences.arrow")
        self._write_sentences(examples, backbone.tokenizer, path)
        documents = TokenisedDocuments(ArrowTable(path))
        return self._runs(examples, documents, backbone, notices, seed)

    def _runs(
        self,
        examples: ArrowTable,
        documents: TokenisedDocuments,
        backbone: Any,
        notices: dict[str, int],
        seed: int = 0,
    ) -> Iterator[Item]:
        assert self.max_length is not None
        masking, count = self._masking(), SentencePairCount()
        numbers = {self.source_names[i]: found for i, found in by_source(examples).items()}
        names = [self.source_names.index(name) for name in numbers]
        pairs = SentencePairs(
            documents,
            numbers,
            backbone.tokenizer,
            max_length=self.max_length,
            objective=self._sentence_objective,
            short_prob=self.short_prob,
            full_sentences=self.full_sentences,
            seed=seed,
            count=count,
        )
        for item in pairs:
            maskable = masking.num_maskable(item["input_ids"])
            yield {**item, "source_ids": names[item["source_ids"]], "num_maskable": maskable}
        of_training = examples is self._examples.get("train")
        count.check(self._sentence_objective if of_training else "none")
        notices |= {what: n for what, n in _notices(count).items() if n}

    def item_options(self) -> dict[str, Any]:
        """How runs are made; the masks are drawn later."""
        return {
            "sentence_objective": self._sentence_objective,
            "short_prob": self.short_prob,
            "full_sentences": self.full_sentences,
            "splitter": self._splitting(),
        }

    def prepare(self, split: Split) -> Prepare:
        """Mask: in validation always in the same way."""
        return partial(_masked, self._masking(), split == "train")

    def targets_of_items(self) -> NDArray[np.int64]:
        """Masked tokens of each training item, (B,), whatever the variant."""
        return self._masking().num_targets_of(self._items["train"].column("num_maskable"))

    def num_variants(self) -> int:
        """Of the masks.

        Raises:
            ValueError: items are not kept, or masked anew each time.
        """
        super().num_variants()
        if self.masking.variants is None:
            raise ValueError(
                "masks are drawn anew in every step: set data.masking.variants, or leave "
                "model.cache at false"
            )
        return self.masking.variants

    def prepare_variant(self) -> Prepare:
        """Mask in one of the fixed ways."""
        return partial(_variant, self._masking())

    def variant_options(self) -> Any:
        """How masks are drawn; NumPy may draw other numbers in another version."""
        return [asdict(self.masking), self._seed(), np.__version__]

    def target_counts(self) -> dict[str, NDArray[Any]]:
        """Masked tokens of each training item, and one sentence label."""
        return self.target_counts_of(self._items["train"])

    def target_counts_of(self, items: ArrowTable) -> dict[str, NDArray[Any]]:
        """As ``target_counts``, of some training items; a teacher is asked for masked tokens."""
        pairs = ["masked", "sentence"] if self._sentence_objective != "none" else []
        terms = self.loss_terms() or pairs
        if not terms:
            return {}
        masked = self._masking().num_targets_of(items.column("num_maskable"))
        sentences = np.ones(len(masked), np.int64)
        return {name: sentences if name == "sentence" else masked for name in terms}

    def reference_rows(self) -> dict[str, float]:
        """What a bag of words makes of the validation pairs, of all and of each source."""
        if self._sentence_objective == "none" or not self.has_split("val") or self.streams_train:
            return {}
        train, val = self._items["train"], self._items["val"]
        learnt = range(0, len(train), max(1, len(train) // _BASELINE_PAIRS))
        bags = SegmentBags(vocabulary_size(self._backbone().tokenizer))
        bags.learn(train[i] for i in learnt)
        right: dict[str, list[bool]] = {"": []}
        for item in val:
            hit = bags.predict(item) == item["sentence_labels"]
            right[""].append(hit)
            right.setdefault(f"_{self.source_names[item['source_ids']]}", []).append(hit)
        name = "val/bag_of_words_sentence_accuracy"
        return {f"{name}{source}": float(np.mean(hits)) for source, hits in right.items()}

    @property
    def _sentence_objective(self) -> SentenceObjective:
        module: Any = self.trainer and self.trainer.lightning_module
        module = getattr(module, "student", module)  # which another may teach
        objective: SentenceObjective = getattr(module, "sentence_objective", "none")
        return objective

    def _masking(self) -> Masking:
        if not self.masking.rate and self._sentence_objective == "none":
            raise ValueError(
                "data.masking.rate = 0 and no sentence objective leave nothing to learn: give a "
                "rate such as 0.15"
            )
        return Masking(self.masking, self._backbone().tokenizer, self._seed())

    def _splitting(self) -> str:
        """What else than the tokenizer decides a sentence's tokens: part of the caches' names."""
        joined = ", joined by blanks" if Subwords(self._backbone().tokenizer).joiner else ""
        return splitter_version() + joined

    def _tokenised(self, examples: ArrowTable, tokenizer: Any) -> TokenisedDocuments:
        """Every document's sentences as tokens, on disk: a pair may need any of them."""
        state = self._backbone().tokenizer_state()
        key = fingerprint([Path(examples.path).parent.name, state, self._splitting()])

        def build(staging: Path) -> None:
            rank_zero_info(f"splitting {len(examples):,} documents into sentences")
            self._write_sentences(examples, tokenizer, staging / "sentences.arrow")

        directory = build_once(self.cache_dir / f"sentences-{key}", build)
        return TokenisedDocuments(ArrowTable(directory / "sentences.arrow"))

    def _write_sentences(self, examples: ArrowTable, tokenizer: Any, path: Path) -> None:
        documents = (document_sentences(self.document(example)) for example in examples)
        write_table(path, tokenised(documents, tokenizer))


class TokenisedDocuments(Sequence[list[NDArray[np.int32]]]):
    """``documents[i]`` is the i-th document's sentences, each an array of token ids."""

    def __init__(self, table: ArrowTable) -> None:
        self._table = table

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, index: Any) -> Any:
        row = self._table[index]
        return np.split(row["input_ids"], np.cumsum(row["sentence_lengths"])[:-1])


def tokenised(
    documents: Iterable[Sequence[Sequence[str]]], tokenizer: Any
) -> Iterator[dict[str, Any]]:
    """Documents (paragraphs of sentences) as rows of tokens end to end, with their lengths.

    Each sentence but a document's first has the tokens that it has after a blank, so that they are
    together those of the sentences in one line.
    """
    subwords = Subwords(tokenizer)
    joiner = subwords.joiner
    iterator = ([*chain.from_iterable(document)] for document in documents)
    while some := list(islice(iterator, _BULK)):
        ids = subwords.of_texts(
            joiner * (i > 0) + text for document in some for i, text in enumerate(document)
        )
        for document in some:
            found = [np.array(next(ids), np.int32) for _ in document]
            lengths = [len(sentence) for sentence in found]
            yield {"input_ids": np.concatenate(found), "sentence_lengths": lengths}


def _refuse_decoder(backbone: Any) -> None:
    if backbone.causal:
        raise ValueError(
            f"data: MaskedCorpus is for encoders, and backbone.source = {backbone.source!r} is a "
            "decoder: take lit_llm.data.causal_corpus.CausalCorpus"
        )


def _masked(masking: Masking, anew: bool, item: Item, batch: int, item_id: int) -> Item:
    if anew and masking.config.variants is not None:
        return _variant(masking, item, masking.variant(batch, item_id), item_id)
    return masking(_stored(item), batch if anew else 0, item_id)


def _variant(masking: Masking, item: Item, variant: int, item_id: int) -> Item:
    return {**masking(_stored(item), variant, item_id), "mask_variants": variant}


def _stored(item: Item) -> Item:
    """Without what is for us alone."""
    return {key: value for key, value in item.items() if key != "num_maskable"}


def _notices(count: SentencePairCount) -> dict[str, int]:
    """What the user should know of."""
    return {
        "tokens of text": count.num_tokens,
        "of them cut off and in no item": count.num_tokens_lost,
        "sentences too long for their place, split": count.num_split,
        "documents without a word": count.num_empty_documents,
        "sentences alone at a document's end, halved or with a random second segment": (
            count.num_alone
        ),
        "pairs with a random or swapped second segment": count.num_negatives,
    }
