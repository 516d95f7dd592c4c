import random
from itertools import pairwise

import pytest

from lit_llm.data.words import split_sentences, split_words


def words_of(text):
    return [word for word, _, _ in split_words(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("EU rejects German call.", "EU|rejects|German|call|."),
        ("The U.N. won 9-0, 3.5%!", "The|U.N.|won|9-0|,|3.5|%|!"),
        ("U.S.-based AT&T paid $1,234.50", "U.S.-based|AT&T|paid|$|1,234.50"),
        ("Mr. J. Smith of IBM Corp. left.", "Mr.|J.|Smith|of|IBM|Corp.|left|."),
        ("EU's O'Brien didn't; it 's we’ll", "EU|'s|O'Brien|did|n't|;|it|'s|we|’ll"),
        ("at 10:30 on 1996-08-22: so", "at|10:30|on|1996-08-22|:|so"),
        ("well... (yes) -- hit .500", "well|...|(|yes|)|--|hit|.500"),
        ("हिन्दी में x\u0301y", "हिन्दी|में|x\u0301y"),
        ("soft\u00adhyphen zero\u200bwidth \ufeffstart", "soft\u00adhyphen|zero|width|start"),
        ("", ""),
        (" \n\x00\t", ""),
    ],
)
def test_words_hand_values(text, expected):
    assert words_of(text) == (expected.split("|") if expected else [])


def test_chinese_words_have_exact_offsets_and_sentences_end():
    text = "王小明在北京。他说：“好！”然后买了iPhone6手机？是"
    words = split_words(text)
    assert words[:3] == [("王", 0, 1), ("小", 1, 2), ("明", 2, 3)]
    assert all(text[start:end] == word for word, start, end in words)
    assert "".join(word for word, _, _ in words) == text
    sentences = ["".join(word for word, _, _ in sentence) for sentence in split_sentences(words)]
    assert sentences == ["王小明在北京。", "他说：“好！”", "然后买了iPhone6手机？", "是"]
    assert "iPhone6" in words_of(text)


def test_offsets_are_exact_and_lose_only_blanks():
    rng = random.Random(0)
    alphabet = "aB9 .,-'’&:/(\"…王。ー\u0301\u200d👍\n_$nst"
    for _ in range(1000):
        text = "".join(rng.choices(alphabet, k=rng.randint(0, 30)))
        words = split_words(text)
        assert all(text[start:end] == word and word for word, start, end in words)
        assert all(a[2] <= b[1] for a, b in pairwise(words))
        assert "".join(word for word, _, _ in words) == "".join(text.split())
        assert [word for sentence in split_sentences(words) for word in sentence] == words
        assert all(split_sentences(words))


def test_sentences_hand_value():
    text = 'He left. "Really?" she asked. "Yes (no)." Dr. Who went to the U.N. today... maybe! End'
    sentences = [" ".join(w for w, _, _ in part) for part in split_sentences(split_words(text))]
    assert sentences == [
        "He left .",
        '" Really ? " she asked .',
        '" Yes ( no ) . "',
        "Dr. Who went to the U.N. today ... maybe !",
        "End",
    ]
