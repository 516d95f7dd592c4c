"""How well a language model predicts text, from summed log-likelihoods."""

from __future__ import annotations

import math


def language_model_scores(nats: float, tokens: float, num_bytes: float) -> dict[str, float]:
    """Cross-entropy per token, perplexity and bits per byte.

    Perplexity depends on how the tokenizer cuts the text; bits per byte do not, and may be compared
    between models of different vocabularies.

    Args:
        nats: minus the log-likelihood of all scored tokens.
        tokens: how many were scored; 0 gives no number.
        num_bytes: of UTF-8 text that the scored tokens stand for; 0 gives no bits per byte.

    Returns:
        ``loss`` (nats a token), ``perplexity`` (``exp(loss)``; infinite above the largest float)
        and ``bits_per_byte`` (``nats / ln 2 / num_bytes``).

    Source:
        Gao et al. 2020, section 3.1, arXiv:2101.00027 (bits per UTF-8 encoded byte).
    """
    scores: dict[str, float] = {}
    if tokens:
        loss = nats / tokens
        scores = {"loss": loss, "perplexity": math.exp(loss) if loss < 709 else math.inf}
    if num_bytes:
        scores["bits_per_byte"] = nats / math.log(2) / num_bytes
    return scores
