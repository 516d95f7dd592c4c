"""Plain text -> words and sentences with character offsets, for prediction only.

Trained models saw the words of their corpus, so the rule leans towards how CoNLL-2003 cuts English
text. It is a simple one and knows its limits: scripts written without spaces, other than Chinese
and Japanese (Thai, Khmer), come out as one word per run of letters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

Word = tuple[str, int, int]
"""(word, start, end): ``text[start:end] == word``."""

# Chinese characters and the Japanese syllabaries, whose texts have no spaces.
_CJK = (
    (0x2E80, 0x2FDF),
    (0x3005, 0x3007),
    (0x3041, 0x3096),
    (0x309D, 0x309F),
    (0x30A1, 0x30FA),
    (0x30FC, 0x30FF),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9D),
    (0x20000, 0x3FFFD),
)
_JOINERS = "\u00ad\u200c\u200d"  # soft hyphen and zero-width joiners stand inside words
_ABBREVIATION = re.compile(
    r"(?:Adm|Bros|Capt|Co|Col|Corp|Dr|Gen|Gov|Inc|Jr|Lt|Ltd|Maj|Messrs|Mrs?|Ms|Prof|Rep|Rev|Sen|Sgt"
    r"|Sr|St|vs)\."
)
_CLITIC = re.compile(r"(?:n['’]t|['’](?:s|re|ve|ll|d|m))\Z", re.IGNORECASE)

# Words over a text's shape: A capital, a other letter, 0 digit, m mark, c CJK, other marks as is.
_RUN = r"(?:(?:[aA]\.){2,}(?![aA0m])|[aA0][aA0m]*)"  # U.N. e.g. keep their dots
_WORD = re.compile(
    r"A\.(?= +A)"  # an initial: J. Smith
    rf"|{_RUN}(?:(?:[-.'&/]|(?<=0)[,:](?=0)){_RUN})*"  # 9-0 1,234.5 O'Brien AT&T
    r"|\.0+|\.+|-+|—+|…+"  # .500 ...
    r"|[^ ]m*"
)
_LONE_CLITIC = re.compile(r"['’](?:s|re|ve|ll|d|m)\b", re.IGNORECASE)
_SENTENCE_END = re.compile(r"\.+|…+|[!?]")
_CJK_SENTENCE_END = frozenset("。！？｡")
_CLOSING = frozenset("\"'’”»)]}」』）】》〉")


def split_words(text: str) -> list[Word]:
    """Cut text into words and punctuation marks; only white space and control characters go.

    - A run of letters, digits and their combining marks is a word. One ``-``, ``.``, ``'``, ``&``
      or ``/`` inside joins two runs (``9-0``, ``O'Brien``), ``,`` and ``:`` between digits only.
    - English endings (``'s``, ``n't``, ``'ll``, ...) are words of their own: ``EU's`` is two words.
    - Letters with dots keep the last dot (``U.N.``), as do initials before a name (``J. Smith``)
      and some twenty abbreviations (``Mr.``, ``Inc.``).
    - Every Chinese or Japanese character is a word of its own.
    - Runs of full stops, hyphens, dashes or ellipses are one word; any other mark or symbol is a
      word of its own, with the marks combined with it.

    Returns:
        (word, start, end) in order, offsets in characters, end exclusive.
    """
    shape = "".join(map(_shape, text))
    words: list[Word] = []
    at = 0
    while match := _WORD.search(shape, at):
        start, at = match.span()
        if _ABBREVIATION.fullmatch(text, start, at + 1):
            at += 1
        elif lone := _LONE_CLITIC.match(text, start):
            at = lone.end()
        clitic = _CLITIC.search(text, start, at)
        cuts = [start, clitic.start(), at] if clitic and clitic.start() > start else [start, at]
        words += [(text[a:b], a, b) for a, b in pairwise(cuts)]
    return words


def split_sentences(words: Sequence[Word]) -> list[list[Word]]:
    """Group words into sentences, in order, none left out.

    ``。``, ``！`` and ``？`` end a sentence; ``.``, ``!``, ``?`` and ``…`` do unless the next word
    begins with a small letter. Closing quotes and brackets that touch the end belong to it. A dot
    that is part of its word (``U.N.``, ``Mr.``) ends nothing.
    """
    sentences: list[list[Word]] = []
    sentence: list[Word] = []
    ended = always = False
    for word in words:
        closes = word[0] in _CLOSING and bool(sentence) and sentence[-1][2] == word[1]
        more = word[0] in _CJK_SENTENCE_END or bool(_SENTENCE_END.fullmatch(word[0]))
        if ended and not closes and not more and (always or not word[0][0].islower()):
            sentences.append(sentence)
            sentence, ended, always = [], False, False
        sentence.append(word)
        if not (ended and closes):
            ended = more
            always = more and word[0] in _CJK_SENTENCE_END
    return [*sentences, sentence] if sentence else sentences


@lru_cache(maxsize=65536)
def _shape(character: str) -> str:
    """The letter of ``_WORD``'s alphabet for a character; blank for what is in no word."""
    category = unicodedata.category(character)
    if any(first <= ord(character) <= last for first, last in _CJK):
        return "c"
    if category[0] == "M" or character in _JOINERS:
        return "m"
    if category[0] == "L" or character == "_":
        return "A" if category in ("Lu", "Lt") else "a"
    if category[0] == "N":
        return "0"
    if character.isspace() or category[0] in "CZ":
        return " "
    if character in "’＇":
        return "'"
    return character if character in "-.,:'&/—…" else "#"
