"""``lit-llm predict``: label or continue text with a finished run's best model."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from lit_llm.argument_parser import CommandParser, exit_code
from lit_llm.predict_input import (
    INPUT_FORMATS,
    Request,
    chunks,
    requests_of_stream,
    requests_of_texts,
)
from lit_llm.run_directory import existing_run
from lit_llm.sampling import Sampling

if TYPE_CHECKING:  # torch takes seconds to import, and a mistyped flag should not
    from lit_llm.predict_model import Predictor
    from lit_llm.predict_text import TextGenerator

DESCRIPTION = """\
Label text with a finished run's best model, or continue it with a causal language model.

  lit-llm predict --run DIR --text "Bonn is quiet." --text "..."
  lit-llm predict --run DIR --file reviews.txt --output labelled.jsonl
  cat texts.jsonl | lit-llm predict --run DIR > labelled.jsonl

Input is one text a line, or one JSON object a line: {"text": "..."} or, already cut into the
words of one sentence, {"words": ["..."]} (or "tokens"); an "id" is passed on. The result is one
JSON object for each, in order: "entities" with character offsets, or "label" and "probabilities";
on a terminal, coloured text. For entities, lines that follow each other are one document, if the
run was trained with a context; an empty line ends a document.

A causal language model adds a "continuation": the most probable one, or a sample.

  lit-llm predict --run DIR --text "Once upon a time" --temperature 0.8 --top_p 0.95
"""


def main(words: list[str]) -> int:
    """Run ``predict``; the process's exit code.

    Args:
        words: the command line after ``predict``.
    """
    return exit_code("predict", lambda: _predict(_parsed(words)))


def _parsed(words: list[str]) -> argparse.Namespace:
    parser = CommandParser("predict", DESCRIPTION)
    add = parser.add_argument
    add("--run", metavar="DIR", help="the run whose best/ labels the text")
    add("--text", action="append", metavar="TEXT", help="a text; may be given several times")
    add("--file", metavar="FILE", help="lines or JSONL; - is standard input")
    add("--input_format", choices=INPUT_FORMATS, default="auto", help="default: auto")
    add("--output", metavar="FILE", help="default: standard output")
    add("--json", action="store_true", help="JSONL on a terminal too")
    add("--logits", action="store_true", help="add raw scores, for entities those of every word")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")
    for flag in fields(Sampling):
        default = "" if flag.default is None else f" (default: {flag.default})"
        text = f"causal language models: {flag.metadata['help']}{default}"
        kind = flag.metadata["type"]
        add(f"--{flag.name}", type=kind, default=flag.default, metavar="NUMBER", help=text)
    add("--allow_import", action="append", default=[], metavar="PACKAGE", help="a package of yours")
    options = parser.parse_args(words)
    if not options.run:
        raise ValueError('say which run: lit-llm predict --run DIR --text "..."')
    if options.text and options.file:
        raise ValueError("--text and --file are both given: give one of them")
    if options.file not in (None, "-"):
        if Path(options.file).is_dir() or not Path(options.file).exists():
            raise ValueError(f"--file {options.file}: there is no such file")
    elif not options.text and sys.stdin.isatty():
        raise ValueError("nothing to predict: give --text TEXT or --file FILE, or pipe lines in")
    return options


def _predict(options: argparse.Namespace) -> int:
    try:
        _write_predictions(options)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read standard output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _write_predictions(options: argparse.Namespace) -> None:
    run_dir = existing_run(options.run, "--run", "best")
    with ExitStack() as stack:
        predictor = _load(options, run_dir)
        write = _writer(options, predictor, stack)
        for chunk in chunks(_requests(options), predictor.uses_documents, _tell):
            write(predictor(chunk, options.logits))
    count, reading = getattr(predictor, "count", None), getattr(predictor, "reading", None)
    if count and reading and (count.num_cut or count.num_windowed):
        _tell(f"{count} (max_length {reading.max_length}, truncation {reading.truncation})")


def _requests(options: argparse.Namespace) -> Iterator[Request]:
    if options.text:
        yield from requests_of_texts(options.text)
    elif options.file in (None, "-"):
        stream = cast(BinaryIO, sys.stdin.buffer)
        yield from requests_of_stream(stream, "standard input", options.input_format)
    else:
        with Path(options.file).open("rb") as file:
            yield from requests_of_stream(file, options.file, options.input_format)


def _load(options: argparse.Namespace, run_dir: Path) -> Predictor | TextGenerator:
    import torch

    from lit_llm.predict_run import load_predictor

    sampling = Sampling(**{flag.name: getattr(options, flag.name) for flag in fields(Sampling)})
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    elif device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: PyTorch sees no CUDA device here; leave --device out")
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)  # what was loaded from where is of interest in training
    try:
        return load_predictor(run_dir, options.allow_import, device, sampling)
    finally:
        logger.setLevel(level)


def _writer(
    options: argparse.Namespace, predictor: Predictor | TextGenerator, stack: ExitStack
) -> Any:
    from rich.console import Console

    from lit_llm.predict_output import JsonLines, Screen, open_output

    if options.output:
        return JsonLines(stack.enter_context(open_output(Path(options.output)))).write
    if sys.stdout.isatty() and not options.json:
        return Screen(Console(highlight=False), predictor.label_names).write
    return JsonLines(sys.stdout).write


def _tell(sentence: str) -> None:
    print(f"lit-llm predict: {sentence}", file=sys.stderr)
