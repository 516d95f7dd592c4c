from __future__ import annotations

import re

import pytest

from lit_llm.data.toy.baselines import best_possible
from lit_llm.data.toy.review_frames import (
    KINDS,
    LINKS,
    NEGATIVE,
    OPENINGS,
    POSITIVE,
    polarity_words,
    verdicts,
)
from lit_llm.data.toy.reviews import (
    LABELS,
    NOISE_FRACTION,
    review_noise,
    toy_reviews,
    toy_unlabelled_reviews,
)
from lit_llm.data.toy.world import SPLITS, Split, toy_world


def words_of(texts: list[str]) -> set[str]:
    return {word for text in texts for word in re.findall(r"\w+", text.lower())}


def perfect_reader(text: str) -> str:
    """Read the label off the text: the main clause, its word, and whether it is turned."""
    polarity = set(POSITIVE) | set(NEGATIVE)
    (verdict,) = (s for s in text.lower().split(".") if words_of([s]) & polarity)
    verdict = verdict.strip()
    if verdict.startswith(("although ", "even if ")):
        verdict = verdict.split(", ", 1)[1]
    verdict = re.split(r", although |, even if ", verdict)[0]
    verdict = re.split(r", but |, yet ", verdict)[-1]
    (word,) = words_of([verdict]) & polarity
    turned = bool(words_of([verdict]) & {"not", "never", "no", "nobody"})
    return LABELS[(word in POSITIVE) ^ turned]


@pytest.mark.parametrize("split", SPLITS)
def test_perfect_reader_scores_exactly_the_best_possible(split: Split) -> None:
    examples = toy_reviews(split, 0)
    right = sum(perfect_reader(example["text"]) == example["label"] for example in examples)
    assert right / len(examples) == best_possible("reviews", split, 0)


@pytest.mark.parametrize(("split", "count"), [("train", 4000), ("dev", 1000), ("test", 2400)])
def test_examples_are_well_formed(split: Split, count: int) -> None:
    examples = toy_reviews(split, 0)
    assert len(examples) == count
    assert len({example["id"] for example in examples}) == count
    assert all(re.fullmatch(r"[A-Z][\w ,.]+\.", example["text"]) for example in examples)
    positive = sum(example["label"] == "positive" for example in examples)
    assert 0.45 < positive / count < 0.55
    assert review_noise(split) == (round(NOISE_FRACTION * count), count)


def test_training_text_covers_a_third_of_the_polarity_words() -> None:
    every = set(POSITIVE) | set(NEGATIVE)
    assert len(every) == 72
    labelled = words_of([example["text"] for example in toy_reviews("train", 0)]) & every
    assert 3 * len(labelled) == len(every)
    assert labelled == {word for pair in polarity_words("train") for word in pair}
    test = words_of([example["text"] for example in toy_reviews("test", 0)]) & every
    assert len(test - labelled) == len(every) / 2
    dev = words_of([example["text"] for example in toy_reviews("dev", 0)]) & every
    assert not (dev - labelled) & test


def test_unlabelled_text_links_every_polarity_word_to_the_labelled_ones() -> None:
    # Follow "and": words of one review sentence without a "but" share their polarity.
    texts = [review["text"] for review in toy_unlabelled_reviews(0)]
    negative, positive = set(polarity_words("train")[0]), set(polarity_words("train")[1])
    every = set(POSITIVE) | set(NEGATIVE)
    for _ in range(2):
        for text in texts:
            for sentence in text.lower().split("."):
                words = words_of([sentence]) & every
                if " but " in sentence or "expected" in sentence:
                    continue
                for known in (negative, positive):
                    if words & known:
                        known |= words
    assert (negative, positive) == (set(NEGATIVE), set(POSITIVE))


def test_templates_are_disjoint_across_splits() -> None:
    every = [t for split in SPLITS for kind in verdicts(split).values() for t in kind]
    every += [opening for split in SPLITS for opening in OPENINGS[split]] + list(LINKS)
    assert len(set(every)) == len(every)
    assert all(verdicts(split)[kind] for split in SPLITS for kind, _ in KINDS)


def test_names_are_disjoint_across_splits() -> None:
    for split in SPLITS:
        text = " ".join(example["text"] for example in toy_reviews(split, 0))
        for other in set(SPLITS) - {split}:
            names = toy_world(0).regions[other].types()
            assert not set(re.findall(r"\w+", text)) & {w for name in names for w in name.split()}


def test_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match="'validation'"):
        toy_reviews("validation", 0)  # type: ignore[arg-type]
