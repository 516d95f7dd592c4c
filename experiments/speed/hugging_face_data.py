"""Datasets as transformers' own scripts prepare them, independent of lit_llm."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

from datasets import Dataset, load_dataset

IGNORED = -100
CONLL_FILES = {"train": "eng.train", "validation": "eng.testa", "test": "eng.testb"}


def iob1_to_iob2(tags: list[str]) -> list[str]:
    """Every entity starts with ``B-``: an ``I-`` without a like-typed tag before it becomes one."""
    converted = []
    before = "O"
    for tag in tags:
        begins = tag.startswith("I-") and before[2:] != tag[2:]
        converted.append("B-" + tag[2:] if begins else tag)
        before = tag
    return converted


def conll2003(data_dir: str, split: str) -> Dataset:
    """Columns ``tokens`` and ``ner_tags`` (IOB2 strings), a row per sentence, in file order."""
    text = Path(data_dir, "conll2003", CONLL_FILES[split]).read_text(encoding="utf-8")
    rows = []
    for block in text.split("\n\n"):
        lines = [line.split() for line in block.splitlines() if line.strip()]
        if lines and lines[0][0] != "-DOCSTART-":
            tags = iob1_to_iob2([fields[-1] for fields in lines])
            rows.append({"tokens": [fields[0] for fields in lines], "ner_tags": tags})
    return Dataset.from_list(rows)


def label_names(dataset: Dataset) -> list[str]:
    """Sorted, as run_ner.py orders labels that are strings."""
    return sorted({tag for tags in dataset["ner_tags"] for tag in tags})


def tokenize_words(dataset: Dataset, tokenizer: Any, names: list[str], max_length: int) -> Dataset:
    """As run_ner.py: a word's label stands at its first sub-word, -100 elsewhere."""
    number = {name: i for i, name in enumerate(names)}

    def encode(rows: dict[str, list[Any]]) -> dict[str, Any]:
        encoded = tokenizer(
            rows["tokens"], truncation=True, max_length=max_length, is_split_into_words=True
        )
        labels = []
        for i, tags in enumerate(rows["ner_tags"]):
            words = encoded.word_ids(batch_index=i)
            before = [None, *words[:-1]]
            labels.append(
                [
                    number[tags[word]] if word is not None and word != previous else IGNORED
                    for word, previous in zip(words, before, strict=True)
                ]
            )
        return {**encoded, "labels": labels}

    return dataset.map(encode, batched=True, remove_columns=dataset.column_names)


def imdb(data_dir: str, tokenizer: Any, max_length: int) -> Dataset:
    """The 25,000 training reviews as run_classification.py encodes them, padded per batch later."""
    path = Path(data_dir, "imdb", "train.parquet")
    dataset = load_dataset("parquet", data_files={"train": str(path)}, split="train")

    def encode(rows: dict[str, list[Any]]) -> dict[str, Any]:
        encoded = tokenizer(rows["text"], truncation=True, max_length=max_length)
        return {**encoded, "labels": rows["label"]}

    return dataset.map(encode, batched=True, remove_columns=dataset.column_names)


def blocks(data_dir: str, tokenizer: Any, length: int) -> Dataset:
    """IMDB's unlabelled reviews end to end in blocks, as run_mlm.py and run_clm.py cut them."""
    path = Path(data_dir, "imdb", "unsupervised.parquet")
    dataset = load_dataset("parquet", data_files={"train": str(path)}, split="train")

    def encode(rows: dict[str, list[Any]]) -> Any:
        return tokenizer(rows["text"], return_special_tokens_mask=True)

    def group(rows: dict[str, list[Any]]) -> dict[str, Any]:
        joined = {key: list(chain.from_iterable(values)) for key, values in rows.items()}
        total = len(joined["input_ids"]) // length * length
        return {
            key: [values[i : i + length] for i in range(0, total, length)]
            for key, values in joined.items()
        }

    encoded = dataset.map(encode, batched=True, remove_columns=dataset.column_names)
    return encoded.map(group, batched=True)
