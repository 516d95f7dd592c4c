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
    num_tokens: int = 0
    num_tokens_lost: int = 0

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
