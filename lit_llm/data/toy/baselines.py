"""What simple methods score on the toy tasks, and the best score that any method can have."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from lit_llm.data.toy.ner import NERExample, ner_noise, toy_ner
from lit_llm.data.toy.reviews import review_noise, toy_reviews
from lit_llm.data.toy.world import Split

Task = Literal["ner", "reviews"]
Span = tuple[int, int, int, str]  # sentence, first word, end word (exclusive), type


def best_possible(task: Task, split: Split = "test", seed: int = 0) -> float:
    """The best score a method can expect: entity F1 for ``"ner"``, accuracy for ``"reviews"``.

    Apart from the noise every label follows from the texts, so a perfect reader is right wherever
    the label was not changed. Which labels were changed, and to what, is independent of the
    texts, and a label is far more often right than not (19 of 20), so nobody can expect more.
    The noise changes types and never spans: the perfect reader predicts as many entities as there
    are, and precision, recall and F1 are all 1 - wrong / names. The number of changed labels is
    fixed for a split, so this is what the perfect reader scores on it, without sampling error.

    Args:
        task: ``"ner"`` or ``"reviews"``.
        split: which examples.
        seed: the corpus seed.

    Raises:
        ValueError: an unknown task or split.
    """
    _check(task)
    wrong, total = ner_noise(split, seed) if task == "ner" else review_noise(split)
    return (total - wrong) / total


def toy_rows(task: Task, split: Split = "test", seed: int = 0) -> dict[str, float]:
    """The rows to print beside a model's score, trained on the training split alone.

    Args:
        task: ``"ner"`` (entity F1) or ``"reviews"`` (accuracy).
        split: the examples to score.
        seed: the corpus seed.

    Returns:
        ``majority``, ``gazetteer`` (``"ner"`` only), ``bag_of_words`` and ``best_possible``, each
        from 0 to 1. ``majority`` gives every name the commonest type, or every review the
        commonest label. ``gazetteer`` looks names up among those of the training split, which is 0
        on the other splits by construction. ``bag_of_words`` is naive Bayes over the words of
        the review, or over the other words of the name's sentence. Both NER rows but the
        gazetteer take runs of capitalised words for names.

    Raises:
        ValueError: an unknown task or split.
    """
    _check(task)
    rows = _ner_rows(split, seed) if task == "ner" else _review_rows(split, seed)
    return rows | {"best_possible": best_possible(task, split, seed)}


def _check(task: str) -> None:
    if task not in ("ner", "reviews"):
        raise ValueError(f"unknown toy task {task!r}: take ner or reviews")


class NaiveBayes:
    """Multinomial naive Bayes over bags of words, with one added to each count.

    Args:
        bags: the words of each training example.
        labels: the label of each.

    Source:
        McCallum and Nigam 1998, "A comparison of event models for naive Bayes text
        classification", section 2.2.
    """

    def __init__(self, bags: Sequence[Sequence[str]], labels: Sequence[str]) -> None:
        self.labels = sorted(set(labels))
        self._index = {word: i for i, word in enumerate(sorted({w for bag in bags for w in bag}))}
        counts_CV = np.ones((len(self.labels), len(self._index)))
        for bag, label in zip(bags, labels, strict=True):
            for word in bag:
                counts_CV[self.labels.index(label), self._index[word]] += 1
        self._log_prob_CV = np.log(counts_CV / counts_CV.sum(1, keepdims=True))
        totals = Counter(labels)
        self._log_prior_C = np.log([totals[label] / len(labels) for label in self.labels])

    def predict(self, bag: Iterable[str]) -> str:
        """The likeliest label of a bag; words never seen in training are passed over."""
        known = [self._index[word] for word in bag if word in self._index]
        scores_C = self._log_prior_C + self._log_prob_CV[:, known].sum(1)
        return self.labels[int(scores_C.argmax())]


def _review_rows(split: Split, seed: int) -> dict[str, float]:
    train, scored = toy_reviews("train", seed), toy_reviews(split, seed)
    majority = Counter(example["label"] for example in train).most_common(1)[0][0]
    model = NaiveBayes([_bag(e["text"]) for e in train], [e["label"] for e in train])
    return {
        "majority": float(np.mean([e["label"] == majority for e in scored])),
        "bag_of_words": float(
            np.mean([model.predict(_bag(e["text"])) == e["label"] for e in scored])
        ),
    }


def _bag(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _ner_rows(split: Split, seed: int) -> dict[str, float]:
    train, scored = toy_ner("train", seed), toy_ner(split, seed)
    gold = _gold(scored)
    types: dict[str, Counter[str]] = defaultdict(Counter)
    for number, start, end, type_ in _gold(train):
        types[" ".join(train[number]["words"][start:end])][type_] += 1
    majority = sum(types.values(), Counter()).most_common(1)[0][0]
    lexicon = {name: counts.most_common(1)[0][0] for name, counts in types.items()}
    model = NaiveBayes(
        [_rest(train[s]["words"], start, end) for s, start, end, _ in _gold(train)],
        [span[3] for span in _gold(train)],
    )
    runs = _capitalised_runs(train, scored)
    guesses = {(s, a, b, model.predict(_rest(scored[s]["words"], a, b))) for s, a, b in runs}
    return {
        "majority": _f1(gold, {(*run, majority) for run in runs}),
        "gazetteer": _f1(gold, _look_up(scored, lexicon)),
        "bag_of_words": _f1(gold, guesses),
    }


def _gold(examples: list[NERExample]) -> list[Span]:
    """The entities of IOB2 tags, in order."""
    spans: list[Span] = []
    for number, example in enumerate(examples):
        for i, tag in enumerate(example["tags"]):
            if tag.startswith("B-"):
                spans.append((number, i, i + 1, tag[2:]))
            elif tag.startswith("I-"):
                spans[-1] = (*spans[-1][:2], i + 1, tag[2:])
    return spans


def _rest(words: list[str], start: int, end: int) -> list[str]:
    """The words of a sentence without one name."""
    return [word.lower() for word in (*words[:start], *words[end:])]


def _capitalised_runs(
    train: list[NERExample], scored: list[NERExample]
) -> list[tuple[int, int, int]]:
    """Runs of capitalised words, but for those that training sentences show outside of names."""
    ordinary = {
        word.lower()
        for example in train
        for word, tag in zip(example["words"], example["tags"], strict=True)
        if tag == "O"
    }
    runs = []
    for number, example in enumerate(scored):
        words = [*example["words"], ""]
        start = None
        for i, word in enumerate(words):
            name = word[:1].isupper() and word.lower() not in ordinary
            if name and start is None:
                start = i
            elif not name and start is not None:
                runs.append((number, start, i))
                start = None
    return runs


def _look_up(examples: list[NERExample], lexicon: dict[str, str]) -> set[Span]:
    """Names of the lexicon, the longest first at each word."""
    longest = max(name.count(" ") + 1 for name in lexicon)
    found: set[Span] = set()
    for number, example in enumerate(examples):
        words, i = example["words"], 0
        while i < len(words):
            ends = range(min(i + longest, len(words)), i, -1)
            end = next((e for e in ends if " ".join(words[i:e]) in lexicon), i)
            if end > i:
                found.add((number, i, end, lexicon[" ".join(words[i:end])]))
            i = max(end, i + 1)
    return found


def _f1(gold: list[Span], predicted: set[Span]) -> float:
    """Entity F1: span and type must both be right."""
    right = len(predicted & set(gold))
    return 2 * right / (len(gold) + len(predicted))
