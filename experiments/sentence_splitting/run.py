"""Sentence splitters against the annotated sentences of the Brown Corpus, and their speed.

``python -m experiments.sentence_splitting.run --output results.jsonl``

Splitters that are not installed are left out. Each is given one paragraph at a time.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lit_llm.data.corpus_source import CorpusSource
from lit_llm.data.documents import read_documents
from lit_llm.data.sentences import split_sentences

Splitter = Callable[[str], list[str]]


def sentencex() -> Splitter:
    """The library alone."""
    from sentencex import segment

    return lambda text: segment("en", text)


def blingfire() -> Splitter:
    """Finite-state rules in C++."""
    from blingfire import text_to_sentences

    return lambda text: text_to_sentences(text).split("\n")


def syntok() -> Splitter:
    """By its tokens' offsets: it rewrites some of the tokens themselves."""
    from syntok import segmenter

    def split(text: str) -> list[str]:
        starts = [sentence[0].offset for part in segmenter.process(text) for sentence in part]
        return [text[a:b] for a, b in zip(starts, [*starts[1:], len(text)], strict=True)]

    return split


def sentence_splitter() -> Splitter:
    """Moses' rules and its list of abbreviations."""
    from sentence_splitter import SentenceSplitter

    return SentenceSplitter("en").split


def pysbd() -> Splitter:
    """Rules made for a golden list."""
    import pysbd

    return pysbd.Segmenter(language="en", clean=False).segment


def spacy() -> Splitter:
    """The rule-based ``sentencizer``; its trained parsers need a download."""
    import spacy

    pipeline = spacy.blank("en")
    pipeline.add_pipe("sentencizer")
    return lambda text: [sentence.text for sentence in pipeline(text).sents]


def nltk() -> Splitter:
    """Punkt without its trained parameters, which are not on PyPI."""
    from nltk.tokenize.punkt import PunktSentenceTokenizer

    return PunktSentenceTokenizer().tokenize


SPLITTERS: dict[str, tuple[str, Callable[[], Splitter]]] = {
    "split_sentences": ("sentencex", lambda: split_sentences),
    "sentencex": ("sentencex", sentencex),
    "blingfire": ("blingfire", blingfire),
    "syntok": ("syntok", syntok),
    "sentence-splitter": ("sentence-splitter", sentence_splitter),
    "pysbd": ("pysbd", pysbd),
    "spacy sentencizer": ("spacy", spacy),
    "nltk punkt, untrained": ("nltk", nltk),
}


def boundaries(sentences: list[str]) -> set[int]:
    """Where sentences end inside a paragraph, counted in characters that are not white space."""
    ends, end = set(), 0
    for sentence in sentences:
        end += len("".join(sentence.split()))
        ends.add(end)
    return ends - {0, end}


def scores(found: list[set[int]], gold: list[set[int]]) -> dict[str, float]:
    """Precision, recall and F1 over all paragraphs."""
    hits = sum(len(a & b) for a, b in zip(found, gold, strict=True))
    precision = hits / sum(map(len, found))
    recall = hits / sum(map(len, gold))
    f1 = 2 * precision * recall / (precision + recall)
    return {"precision": precision, "recall": recall, "f1": f1}


def marks(sentences: list[str]) -> set[int]:
    """The boundaries after ``;`` and ``:``, which Brown counts and no splitter looks for."""
    ends, end = set(), 0
    for sentence in sentences:
        end += len("".join(sentence.split()))
        if sentence[-1] in ";:":
            ends.add(end)
    return ends


def measure(
    split: Splitter, brown: list[list[str]], novels: list[str], limit_seconds: float
) -> Any:
    """One splitter's scores and speed."""
    texts = [" ".join(sentences) for sentences in brown]
    split(texts[0])  # what it loads at its first call
    results = [split(text) for text in texts]
    found = [boundaries(sentences) for sentences in results]
    gold = [boundaries(sentences) for sentences in brown]
    without = [every - marks(s) for every, s in zip(gold, brown, strict=True)]
    found_without = [every - marks(s) for every, s in zip(found, brown, strict=True)]
    altered = sum(
        "".join("".join(sentences).split()) != "".join(text.split())
        for sentences, text in zip(results, texts, strict=True)
    )
    began, num_bytes, num_sentences, num_lower = time.process_time(), 0, 0, 0
    for paragraph in novels:
        sentences = split(paragraph)
        num_sentences += len(sentences)
        num_lower += sum(sentence[:1].islower() for sentence in sentences[1:])
        num_bytes += len(paragraph.encode())
        if time.process_time() - began > limit_seconds:
            break
    seconds = time.process_time() - began
    return {
        "all_boundaries": scores(found, gold),
        "without_semicolons": scores(found_without, without),
        "paragraphs_altered": altered,
        "novels_mb_per_second": num_bytes / 1e6 / seconds,
        "novels_bytes_per_sentence": num_bytes / num_sentences,
        "novels_lower_case_fraction": num_lower / num_sentences,
    }


def paragraphs(source: CorpusSource) -> Iterator[Any]:
    """All paragraphs of a source."""
    for document in read_documents(source):
        yield from document["paragraphs"]


def main() -> None:
    """Measure what is installed; a line of JSON each, and a table."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--data_dir", type=Path, default=Path("../shared/data"))
    parser.add_argument("--output", type=Path)
    parser.add_argument("--limit_seconds", type=float, default=20, help="on the novels, for each")
    options = parser.parse_args()
    brown_file = str(options.data_dir / "brown" / "brown.jsonl.gz")
    brown = list(paragraphs(CorpusSource(brown_file, text_column="paragraphs", tokenised=True)))
    novels_file = str(options.data_dir / "novels" / "train.parquet")
    novels = list(paragraphs(CorpusSource(novels_file)))[::10]
    print("| splitter | version | precision | recall | F1 | F1, all | MB/s | lower | altered |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, (package, build) in SPLITTERS.items():
        try:
            split, version = build(), importlib.metadata.version(package)
        except ImportError:
            continue
        row = measure(split, brown, novels, options.limit_seconds)
        row = {"splitter": name, "version": version, **row}
        best = row["without_semicolons"]
        print(
            f"| {name} | {version} | {best['precision']:.3f} | {best['recall']:.3f} |"
            f" {best['f1']:.3f} | {row['all_boundaries']['f1']:.3f} |"
            f" {row['novels_mb_per_second']:.2f} | {row['novels_lower_case_fraction']:.2%} |"
            f" {row['paragraphs_altered']} |",
            flush=True,
        )
        if options.output:
            with options.output.open("a") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
