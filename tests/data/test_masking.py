import pickle
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import binomtest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from lit_llm.data.masked_units import Words, span_lengths
from lit_llm.data.masking import Masking, MaskingConfig
from lit_llm.data.tokenizers import train_tokenizer
from tests.references.masking import span_law, token_law, whole_word_law

UNITS = ["token", "whole_word", "span"]
PAD, UNK, CLS, SEP, MASK, A, B, INNER, MORE = range(9)
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "##c", "##d"]
ALPHA = 1e-6


def tiny_tokenizer():
    model = models.WordPiece({piece: i for i, piece in enumerate(PIECES)}, unk_token="[UNK]")
    names = ("pad", "unk", "cls", "sep", "mask")
    roles = {f"{name}_token": f"[{name.upper()}]" for name in names}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model), **roles)


TOKENIZER = tiny_tokenizer()


def masking(seed=0, **settings):
    return Masking(MaskingConfig(**settings), TOKENIZER, seed)


def item_of(runs):
    """[CLS] run [SEP] run [SEP] ...; each word a first piece and continuing ones."""
    ids = [CLS]
    for run in runs:
        for size in run:
            ids += [A] + [INNER] * (size - 1)
        ids.append(SEP)
    return {"input_ids": np.array(ids, np.int32)}


def random_item(rng, length):
    return {"input_ids": rng.choice(len(PIECES), length, p=[0.02] * 5 + [0.225] * 4)}


def assert_law(law, counts):
    """Each set as often as the law says, by an exact binomial test; no other set at all."""
    draws = sum(counts.values())
    assert sum(law.values()) == 1
    assert set(counts) <= set(law)
    for outcome, chance in law.items():
        assert binomtest(counts[outcome], draws, float(chance)).pvalue > ALPHA


def observed(runs, draws=1200, **settings):
    """How often each set of text tokens is masked."""
    item, mask = item_of(runs), masking(**settings)
    text = np.flatnonzero(item["input_ids"] >= A)
    counts = Counter()
    for position in range(draws):
        chosen = mask(item, position)["target_positions"]
        counts[frozenset(np.searchsorted(text, chosen).tolist())] += 1
    return counts


RUNS = [[1, 2, 1], [3, 1]]  # 8 tokens


@pytest.mark.parametrize("count", [1, 3, 5, 8])
def test_sets_of_tokens_and_words_follow_their_laws(count):
    rate = count / 8
    assert_law(token_law(RUNS, count), observed(RUNS, rate=rate))
    assert_law(whole_word_law(RUNS, count), observed(RUNS, rate=rate, unit="whole_word"))


@pytest.mark.parametrize("runs", [[[3, 3]], [[4], [2, 3]]])
def test_a_word_is_cut_where_none_fits(runs):
    law = whole_word_law(runs, 4)
    assert_law(law, observed(runs, rate=4 / sum(map(sum, runs)), unit="whole_word"))


@pytest.mark.parametrize(("prob", "max_words"), [(0.2, 10), (0.5, 2), (1.0, 3)])
@pytest.mark.parametrize("count", [1, 3, 5])
def test_sets_of_spans_follow_their_law(prob, max_words, count):
    settings = {"rate": count / 8, "span_prob": prob, "span_max_words": max_words}
    law = span_law(RUNS, count, Fraction(prob), max_words)
    assert_law(law, observed(RUNS, unit="span", **settings))


def test_whole_words_hand_value():
    # Words of 2, 2 and 1 tokens, 3 to mask: a pair first (2/3), then the single token or, after the
    # other pair that does not fit, the single token again: {pair, single}. The single first (1/3),
    # then a pair. So only the two sets of pair and single, each 1/2.
    half = Fraction(1, 2)
    assert whole_word_law([[2, 2, 1]], 3) == {
        frozenset({0, 1, 4}): half,
        frozenset({2, 3, 4}): half,
    }


def test_a_word_ends_at_a_special_token():
    # Positions 1 2 | 4 5 6, special tokens between: the continuing piece at 4 begins a word.
    words = Words(np.array([1, 2, 4, 5, 6]), np.array([False, True, True, True, False]))
    assert words.borders.tolist() == [0, 2, 4, 5]
    assert words.run_ends.tolist() == [1, 3, 3]


def test_span_lengths_have_the_mean_of_the_paper():
    # Joshi et al. 2020, section 3.1: p = 0.2, at most 10 words, mean 3.8.
    # By hand for p = 1/2 and 2 words: weights 1/2 and 1/4, so one word in 2/3 of the cases.
    uniform = (np.arange(100_000) + 0.5) / 100_000
    assert span_lengths(uniform, 0.2, 10).mean() == pytest.approx(3.8, abs=0.005)
    assert span_lengths(uniform, 0.2, 10).max() == 10
    assert span_lengths(np.array([0.0, 0.66, 0.67, 0.99]), 0.5, 2).tolist() == [1, 1, 2, 2]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("rate", [0.01, 0.15, 0.4, 0.9, 1.0])
def test_number_of_targets_is_exact_and_follows_from_the_maskable_tokens(unit, rate):
    rng = np.random.default_rng(1)
    mask = masking(unit=unit, rate=rate)
    for length in [*range(1, 40), 128, 512]:
        item = random_item(rng, length)
        found = mask(item, length)
        maskable = mask.num_maskable(item["input_ids"])
        assert maskable == np.isin(item["input_ids"], [UNK, A, B, INNER, MORE]).sum()
        expected = max(1, round(rate * maskable)) if maskable else 0
        assert len(found["target_positions"]) == mask.num_targets(maskable) == expected


def test_number_of_targets_hand_values():
    # 0.15 * 3 = 0.45, at least 1; 0.15 * 10 = 1.5 and 0.15 * 30 = 4.5 round to even: 2 and 4.
    assert masking().num_targets_of([0, 1, 3, 10, 30, 100]).tolist() == [0, 1, 1, 2, 4, 15]
    assert masking(rate=0.0).num_targets_of([0, 1, 100]).tolist() == [0, 0, 0]
    assert masking(rate=1.0).num_targets_of([0, 1, 100]).tolist() == [0, 1, 100]
    one_by_one = [masking().num_targets(n) for n in range(600)]
    assert masking().num_targets_of(np.arange(600)).tolist() == one_by_one


@pytest.mark.parametrize("unit", UNITS)
def test_rate_one_masks_everything_but_special_tokens(unit):
    ids = [CLS, A, INNER, SEP, UNK, MASK, B, SEP, PAD]
    found = masking(unit=unit, rate=1.0, mask_fraction=1.0, random_fraction=0.0)(
        {"input_ids": ids}, 0
    )
    assert found["input_ids"].tolist() == [CLS, MASK, MASK, SEP, MASK, MASK, MASK, SEP, PAD]
    assert found["target_positions"].tolist() == [1, 2, 4, 6]
    assert found["labels"].tolist() == [A, INNER, UNK, B]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize(("rate", "ids"), [(0.0, [CLS, A, SEP]), (1.0, [CLS, SEP]), (1.0, [])])
def test_nothing_to_mask_leaves_the_item_and_no_target(unit, rate, ids):
    found = masking(unit=unit, rate=rate)({"input_ids": np.array(ids, np.int32)}, 0)
    assert found["input_ids"].tolist() == ids
    assert found["target_positions"].size == found["labels"].size == 0


@pytest.mark.parametrize("unit", UNITS)
def test_invariants_of_every_item(unit):
    rng = np.random.default_rng(2)
    mask = masking(unit=unit)
    for position in range(300):
        item = random_item(rng, int(rng.integers(1, 60)))
        before = item["input_ids"].copy()
        found = mask(item, position)
        positions = found["target_positions"]
        assert np.array_equal(item["input_ids"], before)
        assert (np.diff(positions) > 0).all()
        assert np.array_equal(found["labels"], before[positions])
        assert not np.isin(found["labels"], [PAD, CLS, SEP, MASK]).any()
        others = np.setdiff1d(np.arange(len(before)), positions)
        assert np.array_equal(found["input_ids"][others], before[others])
        assert np.isin(found["input_ids"][positions], [MASK, A, B, INNER, MORE, UNK]).all()


@pytest.mark.parametrize("unit", ["token", "whole_word"])
def test_80_10_10_per_token(unit):
    # Only UNK is masked and it is no random replacement, so the three fates can be told apart.
    item = {"input_ids": np.full(500, UNK)}
    mask = masking(unit=unit, rate=1.0)
    fates = Counter(np.concatenate([mask(item, i)["input_ids"] for i in range(40)]).tolist())
    random = sum(fates[i] for i in (A, B, INNER, MORE))
    assert fates.total() == fates[MASK] + random + fates[UNK] == 20_000
    for number, total, chance in (
        (fates[MASK], 20_000, 0.8),
        (random, 20_000, 0.1),
        *((fates[i], random, 0.25) for i in (A, B, INNER, MORE)),
    ):
        assert binomtest(number, total, chance).pvalue > ALPHA


def test_80_10_10_per_span():
    # Spans of one word each, words of three tokens: a word has one fate.
    item = item_of([[3] * 400])
    mask = masking(rate=1.0, unit="span", span_max_words=1, mask_fraction=0.6, random_fraction=0.0)
    words = [mask(item, i)["input_ids"][1:-1].reshape(-1, 3) == MASK for i in range(20)]
    masked = np.concatenate(words)
    assert (masked.all(axis=1) == masked.any(axis=1)).all()
    assert binomtest(int(masked[:, 0].sum()), len(masked), 0.6).pvalue > ALPHA


def test_at_most_one_word_of_an_item_is_masked_in_part():
    rng = np.random.default_rng(3)
    for unit in ("whole_word", "span"):
        for position in range(200):
            sizes = rng.integers(1, 6, 30).tolist()
            found = masking(unit=unit)(item_of([sizes]), position)["target_positions"] - 1
            borders = np.cumsum([0, *sizes])
            parts = np.histogram(found, borders)[0]
            assert ((parts > 0) & (parts < sizes)).sum() <= 1


@pytest.mark.parametrize("unit", UNITS)
def test_masks_are_a_function_of_seed_key_and_item_alone(unit):
    rng = np.random.default_rng(4)
    items = [random_item(rng, 50) for _ in range(20)]
    first = masking(7, unit=unit)
    forwards = [first(item, 3, i) for i, item in enumerate(items)]
    other = pickle.loads(pickle.dumps(masking(7, unit=unit)))
    backwards = [other(items[i], 3, i) for i in reversed(range(20))][::-1]
    for one, two in zip(forwards, backwards, strict=True):
        assert all(np.array_equal(one[name], two[name]) for name in one)

    def positions(seed, *key):
        return masking(seed, unit=unit, rate=0.3)(items[0], *key)["target_positions"].tolist()

    draws = [positions(*key) for key in ((7, 1, 2), (8, 1, 2), (7, 2, 1), (7, 1, 3))]
    assert len({tuple(draw) for draw in draws}) == 4


def test_other_entries_are_handed_on():
    item = {"input_ids": [CLS, A, SEP], "token_type_ids": [0, 0, 0], "sentence_labels": 1}
    found = masking()(item, 0)
    assert found["token_type_ids"] is item["token_type_ids"]
    assert found["sentence_labels"] == 1
    assert set(item) == {"input_ids", "token_type_ids", "sentence_labels"}


def test_labels_that_would_be_lost_are_refused():
    with pytest.raises(ValueError, match="labels or target_positions already"):
        masking()({"input_ids": [A], "labels": 1}, 0)


def test_tokenizers_that_cannot_mask_are_refused():
    with pytest.raises(ValueError, match="no mask token"):
        Masking(MaskingConfig(), train_tokenizer(["a b"], "byte_level_bpe", 300), 0)
    with pytest.raises(ValueError, match="not a fast tokenizer"):
        Masking(MaskingConfig(), object(), 0)
    bare = Tokenizer(models.WordPiece({"[UNK]": 0, "[MASK]": 1}, unk_token="[UNK]"))
    empty = PreTrainedTokenizerFast(tokenizer_object=bare, unk_token="[UNK]", mask_token="[MASK]")
    with pytest.raises(ValueError, match="nothing but special tokens"):
        Masking(MaskingConfig(), empty, 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rate": 1.5}, r"masking.rate must lie in \[0, 1\], not 1.5"),
        ({"mask_fraction": -0.1}, r"masking.mask_fraction .* not -0.1"),
        ({"random_fraction": float("nan")}, r"masking.random_fraction .* not nan"),
        ({"mask_fraction": 0.95}, r"more than 1 together: 0.95 \+ 0.1"),
        ({"unit": "word"}, "masking.unit must be one of token, whole_word, span, not 'word'"),
        ({"span_prob": 0}, "masking.span_prob must be above 0"),
        ({"span_max_words": 0}, "masking.span_max_words must be at least 1, not 0"),
        ({"variants": 0}, "masking.variants must be at least 1, not 0"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        MaskingConfig(**settings)


def test_fractions_that_add_up_to_one_are_taken():
    MaskingConfig(mask_fraction=0.7 + 0.2, random_fraction=0.1)


def test_variants_are_drawn_alike_and_from_the_key_alone():
    mask = masking(5, variants=3)
    drawn = [mask.variant(batch, 2) for batch in range(3000)]
    assert drawn == [pickle.loads(pickle.dumps(mask)).variant(batch, 2) for batch in range(3000)]
    for number in Counter(drawn).values():
        assert binomtest(number, 3000, 1 / 3).pvalue > ALPHA
    assert drawn != [mask.variant(batch, 3) for batch in range(3000)]
    assert drawn != [masking(6, variants=3).variant(batch, 2) for batch in range(3000)]
    assert {masking(variants=1).variant(batch, 2) for batch in range(50)} == {0}
