"""The toy NER task: cues to learn, strings of two types, and noise of a known rate."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TypedDict

from lit_llm.data.toy.names import pick_other, stream
from lit_llm.data.toy.ner_frames import SLOT_TYPES, SMALL_WORDS, Frame, frames, neutral_frames
from lit_llm.data.toy.world import TYPES, EntityType, Region, Split, toy_world

NUM_SENTENCES: dict[Split, int] = {"train": 3000, "dev": 1000, "test": 2400}
NOISE_FRACTION = 0.05
"""The share of names whose label was drawn among the three wrong types."""

# What comes next in a document: a sentence that shows types, the same and then a neutral one about
# one of its names, a neutral one about a name that only other texts explain.
_MOVES = (("typed", 0.6), ("typed_then_neutral", 0.2), ("neutral", 0.2))
_SHARED_PROB = 0.2  # of a name being a string of two types, where the sentence shows its type
_SHARED_FOLLOWED_PROB = 0.5  # the same, where only the sentence before shows it
_TWO_CLAUSES_PROB = 0.5
_MOVES_PER_DOCUMENT = (3, 5)


class NERExample(TypedDict):
    """One sentence: words and their IOB2 tags; ``document`` numbers the text it stands in."""

    id: str
    words: list[str]
    tags: list[str]
    document: int


@dataclass(frozen=True)
class _Mention:
    """A name in a sentence: words ``start`` to ``end`` (exclusive)."""

    name: str
    type: EntityType
    start: int
    end: int


@dataclass(frozen=True)
class _Sentence:
    words: tuple[str, ...]
    mentions: tuple[_Mention, ...]
    document: int


def toy_ner(split: Split, seed: int = 0) -> list[NERExample]:
    """The labelled sentences of a split, in document order.

    Names and frames of the three splits are disjoint, down to the single word of a name. A test
    name is in no labelled training sentence, but ``toy_documents`` shows what it is. A type
    follows from the sentence, or else from the sentence before (the only way for a string of two
    types), or else from what other texts tell of the name. Exactly 5 % of the names (rounded)
    bear a wrong type, drawn at random: see ``best_possible``.

    Args:
        split: ``"train"`` (3,000 sentences), ``"dev"`` (1,000) or ``"test"`` (2,400).
        seed: the corpus seed; it also fixes the world.

    Raises:
        ValueError: an unknown split.
    """
    sentences, _ = _noisy(split, seed)
    return [
        NERExample(
            id=f"toy-ner-{split}-{number}",
            words=list(sentence.words),
            tags=_tags(sentence),
            document=sentence.document,
        )
        for number, sentence in enumerate(sentences)
    ]


def ner_noise(split: Split, seed: int = 0) -> tuple[int, int]:
    """How many names of the split are labelled wrongly, and how many names there are."""
    sentences, wrong = _noisy(split, seed)
    return wrong, sum(len(sentence.mentions) for sentence in sentences)


def _noisy(split: Split, seed: int) -> tuple[list[_Sentence], int]:
    """The sentences with the types of an exact share of all names changed."""
    if split not in NUM_SENTENCES:
        raise ValueError(f"unknown split {split!r}: take one of {', '.join(NUM_SENTENCES)}")
    sentences = _draw(split, seed)
    rng = stream(seed, "ner-noise", split)
    places = [(s, m) for s, sentence in enumerate(sentences) for m in range(len(sentence.mentions))]
    chosen = rng.sample(places, round(NOISE_FRACTION * len(places)))
    for s, m in sorted(chosen):
        mentions = list(sentences[s].mentions)
        wrong = rng.choice([t for t in TYPES if t != mentions[m].type])
        mentions[m] = replace(mentions[m], type=wrong)
        sentences[s] = replace(sentences[s], mentions=tuple(mentions))
    return sentences, len(chosen)


def _draw(split: Split, seed: int) -> list[_Sentence]:
    """The sentences with their true types."""
    rng = stream(seed, "ner", split)
    writer = _Writer(rng, split, toy_world(seed).regions[split])
    sentences: list[_Sentence] = []
    document = 0
    while len(sentences) < NUM_SENTENCES[split]:
        start = len(sentences)
        for move in rng.choices(
            [name for name, _ in _MOVES],
            [weight for _, weight in _MOVES],
            k=rng.randint(*_MOVES_PER_DOCUMENT),
        ):
            before = sentences[-1] if len(sentences) > start else None
            sentences += writer.move(move, document, before)
        document += 1
    return sentences[: NUM_SENTENCES[split]]


class _Writer:
    """Fills the frames of one split with the names of its region."""

    def __init__(self, rng: random.Random, split: Split, region: Region) -> None:
        self.rng = rng
        self.one, self.two = frames(split)
        self.neutral = neutral_frames(split)
        types = region.types()
        pools = {
            "PER": region.names("PER"),
            "LOC": region.names("LOC"),
            "ORG": region.names("ORG"),
            "FILM": tuple(film.name for film in region.films),
            "EVENT": tuple(event.name for event in region.events),
        }
        self.own = {s: [n for n in names if len(types[n]) == 1] for s, names in pools.items()}
        self.shared = {s: [n for n in names if len(types[n]) == 2] for s, names in pools.items()}

    def move(self, move: str, document: int, before: _Sentence | None) -> list[_Sentence]:
        """One or two sentences."""
        if move == "typed":
            return [self.write(self._frame(), document, _SHARED_PROB)]
        if move == "neutral":
            slot = self._slot()
            taken = {mention.name for mention in before.mentions} if before else set()
            name = pick_other(self.rng, self.own[slot], taken)
            return [self._write_neutral(document, name, SLOT_TYPES[slot])]
        slot = self._slot()
        while slot not in (frame := self._frame()):
            pass
        first = self.write(frame, document, _SHARED_FOLLOWED_PROB)
        about = self.rng.choice([m for m in first.mentions if m.type == SLOT_TYPES[slot]])
        return [first, self._write_neutral(document, about.name, about.type)]

    def write(self, frame: Frame, document: int, shared_prob: float) -> _Sentence:
        """Fill a typed frame in; no name stands in it twice."""
        filled: list[tuple[str, EntityType | None]] = []
        for word in frame:
            if word in SLOT_TYPES:
                shared = self.shared[word] and self.rng.random() < shared_prob
                pool = self.shared[word] if shared else self.own[word]
                name = pick_other(self.rng, pool, {text for text, _ in filled})
                filled.append((name, SLOT_TYPES[word]))
            else:
                filled.append((self._small(word), None))
        return _assemble(filled, document)

    def _write_neutral(self, document: int, name: str, type_: EntityType) -> _Sentence:
        frame = self.rng.choice(self.neutral)
        return _assemble(
            [(name, type_) if w == "ANY" else (self._small(w), None) for w in frame], document
        )

    def _slot(self) -> str:
        """A kind of slot, each of the four types being as likely as another."""
        slot = self.rng.choice(("PER", "LOC", "ORG", "MISC"))
        return self.rng.choice(("FILM", "EVENT")) if slot == "MISC" else slot

    def _frame(self) -> Frame:
        """A frame of one clause or of two."""
        return self.rng.choice(self.two if self.rng.random() < _TWO_CLAUSES_PROB else self.one)

    def _small(self, word: str) -> str:
        return self.rng.choice(SMALL_WORDS[word]) if word in SMALL_WORDS else word


def _assemble(filled: list[tuple[str, EntityType | None]], document: int) -> _Sentence:
    """Words, a capital at the start and a full stop at the end."""
    words: list[str] = []
    mentions: list[_Mention] = []
    for text, entity_type in filled:
        parts = text.split()
        if entity_type is not None:
            mentions.append(_Mention(text, entity_type, len(words), len(words) + len(parts)))
        words += parts
    words[0] = words[0][0].upper() + words[0][1:]
    return _Sentence((*words, "."), tuple(mentions), document)


def _tags(sentence: _Sentence) -> list[str]:
    tags = ["O"] * len(sentence.words)
    for mention in sentence.mentions:
        tags[mention.start] = f"B-{mention.type}"
        tags[mention.start + 1 : mention.end] = [f"I-{mention.type}"] * (
            mention.end - mention.start - 1
        )
    return tags
