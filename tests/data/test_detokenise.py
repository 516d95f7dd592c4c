"""Brown's words put together again, as they would be printed."""

from __future__ import annotations

import pytest

from lit_llm.data.detokenise import detokenise

PRINTED = {
    "He came , saw , and won .": "He came, saw, and won.",
    "`` Go '' , he said , `` or stay '' .": '"Go," he said, "or stay."',
    "`` Where's the Lieut '' ? ?": '"Where\'s the Lieut?"',
    "Run ! !": "Run!",
    "It was reactivated ; ;": "It was reactivated;",
    "It rained ( as in 1954 ) again .": "It rained (as in 1954) again.",
    "( It rained . )": "(It rained.)",
    "Meet at 5 p.m. .": "Meet at 5 p.m.",
    "He said `` at 5 p.m. '' .": 'He said "at 5 p.m."',
    "`` To save ' humanity ' '' .": "\"To save 'humanity.'\"",
    "The ' gay ' , the ' sad ' .": "The 'gay,' the 'sad.'",
    "The `` trust '' ; the `` cheat '' : both": 'The "trust"; the "cheat": both',
    "It says `` yes '' -- or `` no '' .": 'It says "yes" -- or "no."',
    "and / or": "and/or",
    "`` ''": '""',
    "$5,000 and 5% of U.S. sales": "$5,000 and 5% of U.S. sales",
    "": "",
}


@pytest.mark.parametrize("words", PRINTED)
def test_sentence_is_written_as_printed(words: str) -> None:
    assert detokenise(words.split()) == PRINTED[words]


def test_letters_and_digits_are_all_kept_in_order() -> None:
    words = ["``", "A1", "''", ".", "'", "b2", ",", "'", "(", "c3", ")", ";", ";", "d4", "?", "?"]
    kept = [letter for letter in detokenise(words) if letter.isalnum()]
    assert "".join(kept) == "A1b2c3d4"
