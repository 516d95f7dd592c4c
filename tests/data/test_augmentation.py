"""Copies are changed as said, and their labels stay right."""

from collections import Counter

import pytest

from lit_llm.data.augmentation import AugmentationConfig, augmented
from lit_llm.data.batch_config import BatchConfig
from lit_llm.data.sample import SampleConfig
from lit_llm.data.toy_ner import ToyNER
from tests.data.test_data_modules import attach
from tests.helpers import TAGGED

TEXT = "one two three four five six seven eight nine ten"
REVIEWS = [{"id": "a", "text": TEXT, "label": "good"}, {"id": "b", "text": "bad", "label": "bad"}]
SENTENCES = [
    {"id": f"s{i}", "words": words, "tags": tags, "document": 0}
    for i, (words, tags) in enumerate(TAGGED)
]


def copies(operation, examples, strength=0.1, number=50):
    config = AugmentationConfig(number, [operation], strength)
    found = augmented(config, examples, seed=1)
    assert len(found) == len(examples) * (number + 1)
    assert found[0] == examples[0]
    return found[1 : number + 1]


def test_swapped_words_are_the_same_words():
    found = copies("swap", REVIEWS)
    assert all(Counter(copy["text"].split()) == Counter(TEXT.split()) for copy in found)
    moved = [
        sum(a != b for a, b in zip(c["text"].split(), TEXT.split(), strict=True)) for c in found
    ]
    assert set(moved) == {2}
    assert {copy["label"] for copy in found} == {"good"}


def test_deleted_words_leave_the_others_in_order():
    for copy in copies("delete", REVIEWS, strength=0.3):
        words = copy["text"].split()
        assert len(words) == 7
        assert words == [word for word in TEXT.split() if word in words]


def test_punctuation_is_put_between_the_words():
    for copy in copies("punctuation", REVIEWS, strength=0.2):
        words = copy["text"].split()
        assert [word for word in words if word[0].isalpha()] == TEXT.split()
        assert sum(word in ".;?:!," for word in words) == 2


def test_a_single_word_is_never_lost():
    found = augmented(AugmentationConfig(20, ["swap", "delete"]), REVIEWS[1:], seed=0)
    assert {example["text"] for example in found} == {"bad"}


def test_a_mention_is_replaced_by_one_of_its_type_and_tagged_anew():
    sentences = [*SENTENCES, {"id": "x", "words": ["New", "York"], "tags": ["B-LOC", "I-LOC"]}]
    seen = set()
    for copy in copies("mentions", sentences, strength=1.0):
        pairs = list(zip(copy["words"], copy["tags"], strict=True))
        assert [word for word, tag in pairs if tag == "O"] == ["sees", "."]
        person, place = (
            " ".join(word for word, tag in pairs if tag[2:] == kind) for kind in ("PER", "LOC")
        )
        seen.add((person, place))
    assert {person for person, _ in seen} == {"Ann", "Bob", "Eve"}
    assert {place for _, place in seen} == {"Bonn", "Ulm", "New York"}


def test_a_word_is_replaced_by_one_that_has_its_tag():
    by_tag = {}
    for words, tags in TAGGED:
        for word, tag in zip(words, tags, strict=True):
            by_tag.setdefault(tag, set()).add(word)
    for copy in copies("words_of_a_tag", SENTENCES, strength=0.5):
        assert copy["tags"] == SENTENCES[0]["tags"]
        changed = [a != b for a, b in zip(copy["words"], SENTENCES[0]["words"], strict=True)]
        assert sum(changed) <= 2
        for word, tag in zip(copy["words"], copy["tags"], strict=True):
            assert word in by_tag[tag]


def test_copies_depend_on_the_seed_and_have_ids_of_their_own():
    config = AugmentationConfig(3)
    one, again, other = (augmented(config, REVIEWS, seed) for seed in (1, 1, 2))
    assert one == again != other
    assert [example["id"] for example in one[:5]] == ["a", "a+1", "a+2", "a+3", "b"]


def test_only_training_examples_have_copies(tmp_path):
    def served(**settings):
        sample = SampleConfig(train=30, val=10, seed=2, **settings)
        batches = BatchConfig(examples_per_batch=8)
        data = ToyNER(context="none", batches=batches, cache_dir=str(tmp_path), sample=sample)
        return attach(data, max_positions=512)

    plain, more = served(), served(augmentation=AugmentationConfig(2))
    assert len(more.examples("train")) == 90
    assert [example["id"] for example in more.examples("train")][::3] == [
        example["id"] for example in plain.examples("train")
    ]
    assert len(more.examples("val")) == 10
    assert sum(batch.num_examples for batch in more.train_dataloader()) == 90
    assert more.notices["train"]["changed copies"] == 60
    assert more.fingerprints["train"] != plain.fingerprints["train"]
    assert more.fingerprints["val"] == plain.fingerprints["val"]


@pytest.mark.parametrize(
    ("settings", "examples", "message"),
    [
        ({"copies": 0}, REVIEWS, "copies must be at least 1, not 0"),
        ({"strength": 0}, REVIEWS, r"strength must lie in \(0, 1\], not 0"),
        ({"operations": ["translate"]}, REVIEWS, "'translate' is none of swap"),
        (
            {"operations": ["mentions"]},
            REVIEWS,
            "mentions is not for labelled texts; there",
        ),
        ({"operations": ["swap"]}, SENTENCES, "swap is not for tagged words; there are"),
        ({}, [{"id": "d", "sentences": []}], "neither tagged words nor labelled texts"),
    ],
)
def test_what_makes_no_sense_is_refused(settings, examples, message):
    with pytest.raises(ValueError, match=message):
        augmented(AugmentationConfig(**settings), examples, seed=0)
