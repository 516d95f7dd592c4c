"""What became of documents that were made into sentence pairs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class SentencePairCount:
    """What became of the documents; ``SentencePairs`` adds to it as its items are taken.

    Attributes:
        num_documents: documents seen.
        num_empty_documents: of these, without a single token.
        num_items: items made.
        num_negatives: of these, with label 1.
        num_sentences: sentences with tokens.
        num_split: of these, split because they were too long.
        num_halved: of the pieces, those that became A and B by themselves (SOP, document's end).
        num_alone: of the items, those of a document's last sentence with no other beside it, which
            is halved (SOP) or gets a random B (NSP).
        num_tokens: tokens of all sentences.
        num_tokens_lost: of these, tokens that are in no item (as the document's own; what a random
            B repeats or leaves out of another document is not counted).
    """

    num_documents: int = 0
    num_empty_documents: int = 0
    num_items: int = 0
    num_negatives: int = 0
    num_sentences: int = 0
    num_split: int = 0
    num_halved: int = 0
    num_alone: int = 0
    num_tokens: int = 0
    num_tokens_lost: int = 0

    def check(self, objective: str) -> None:
        """Refuse training data that cannot be learnt from.

        Raises:
            ValueError: no item at all; for NSP, no document with a second sentence.
        """
        if not self.num_items:
            raise ValueError(
                f"none of the {self.num_documents:,} documents gives an item: they hold "
                f"{self.num_tokens:,} tokens, and a sentence pair needs two; give text with words "
                "that backbone.tokenizer knows"
            )
        if objective == "nsp" and self.num_alone == self.num_items:
            raise ValueError(
                f"every one of the {self.num_documents:,} documents is a single sentence, so every "
                "second segment would be a random one: next-sentence prediction needs longer "
                "documents; set model.sentence_objective to none or sop"
            )

    def __str__(self) -> str:
        """One line to print."""
        lost = 100 * self.num_tokens_lost / max(self.num_tokens, 1)
        line = (
            f"{self.num_items:,} items of {self.num_documents:,} documents, "
            f"{self.num_tokens_lost:,} of {self.num_tokens:,} tokens lost ({lost:.1f} %)"
        )
        if self.num_negatives:
            share = 100 * self.num_negatives / self.num_items
            line += f"; {share:.1f} % random or swapped"
        for number, what in (
            (self.num_split, "long sentences split"),
            (self.num_halved, "single sentences halved"),
            (self.num_empty_documents, "documents empty"),
        ):
            if number:
                line += f"; {number:,} {what}"
        return line
