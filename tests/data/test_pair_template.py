import pytest
from tokenizers import processors

from lit_llm.data.pair_template import PairTemplate
from lit_llm.data.subwords import Subwords
from lit_llm.data.tokenizers import train_tokenizer

TEXTS = ["the cat sat on the mat", "a cat and a dog"] * 20
ONE, TWO = TEXTS[:2]


def bert():
    return train_tokenizer(TEXTS, vocab_size=60)


def roberta():
    tokenizer = train_tokenizer(TEXTS, "byte_level_bpe", 300)
    tokenizer.add_special_tokens({"bos_token": "<s>", "eos_token": "</s>"})
    ends = [(token, tokenizer.convert_tokens_to_ids(token)) for token in ("</s>", "<s>")]
    tokenizer.backend_tokenizer.post_processor = processors.RobertaProcessing(*ends)
    return tokenizer


@pytest.mark.parametrize(("make", "num_special"), [(bert, 3), (roberta, 4)])
def test_a_pair_is_what_the_tokenizer_makes_of_two_texts(make, num_special):
    tokenizer = make()
    expected = tokenizer(ONE, TWO, return_token_type_ids=True)
    tokenizer.backend_tokenizer.enable_truncation(4)  # as some are published
    tokenizer.backend_tokenizer.enable_padding(length=9)
    template = PairTemplate(tokenizer)
    a, b = Subwords(tokenizer).of_texts([ONE, TWO])
    input_ids, token_type_ids = template.join(a, b)
    assert input_ids.tolist() == expected["input_ids"]
    assert token_type_ids.tolist() == expected["token_type_ids"]
    assert template.num_special == num_special == len(input_ids) - len(a) - len(b)


def test_capacity_leaves_room_for_two_tokens():
    assert PairTemplate(bert()).capacity(5) == 2
    with pytest.raises(ValueError, match=r"max_length = 5 leaves no room .* at least 6"):
        PairTemplate(roberta()).capacity(5)


def test_tokenizers_without_a_separator_are_refused():
    with pytest.raises(ValueError, match="no separator between two texts"):
        PairTemplate(train_tokenizer(TEXTS, "byte_level_bpe", 300))
    with pytest.raises(ValueError, match="not a fast tokenizer"):
        PairTemplate(object())
