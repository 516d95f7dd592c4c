"""Loss, perplexity and bits per byte of hand-made sums."""

import math

import pytest

from lit_llm.metrics.language_model_scores import language_model_scores


def test_a_coin_for_each_of_eight_tokens():
    """Eight tokens at probability 1/2: 8 bits; over 4 bytes 2 bits each; perplexity 2."""
    scores = language_model_scores(8 * math.log(2), 8, 4)
    assert scores["loss"] == pytest.approx(math.log(2))
    assert scores["perplexity"] == pytest.approx(2.0)
    assert scores["bits_per_byte"] == pytest.approx(2.0)


def test_nothing_scored_gives_no_number():
    assert language_model_scores(0.0, 0, 0) == {}
    assert language_model_scores(1.0, 2, 0).keys() == {"loss", "perplexity"}


def test_perplexity_of_a_broken_model_is_infinite():
    assert language_model_scores(1e6, 1, 1)["perplexity"] == math.inf
