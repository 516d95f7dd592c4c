"""What the benchmarks' tests share: a made-up corpus, a tiny model, a program's run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import BertConfig, BertModel, BertTokenizerFast

ROOT = Path(__file__).resolve().parents[2]
WORDS = ["anna", "smith", "lives", "in", "new", "rome", "for", "acme", "inc"]
TAGS = ["I-PER", "I-PER", "O", "O", "I-LOC", "I-LOC", "O", "I-ORG", "I-ORG"]


@pytest.fixture(scope="session", autouse=True)
def _experiments_on_path() -> object:
    sys.path.insert(0, str(ROOT))
    yield
    sys.path.remove(str(ROOT))


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("data") / "conll2003"
    directory.mkdir()
    sentence = "".join(f"{w} X X {t}\n" for w, t in zip(WORDS, TAGS, strict=True))
    for name in ("eng.train", "eng.testa", "eng.testb"):
        text = "-DOCSTART- -X- -X- O\n\n" + "\n".join([sentence] * 24) + "\n"
        (directory / name).write_text(text, encoding="utf-8")
    reviews = directory.with_name("imdb")
    reviews.mkdir()
    texts = [" ".join([*WORDS, f"{i}"]) for i in range(200)]
    pq.write_table(pa.table({"text": texts}), reviews / "unsupervised.parquet")
    return directory.parent


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("model")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (directory / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    BertTokenizerFast(str(directory / "vocab.txt")).save_pretrained(directory)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
    )
    BertModel(config).save_pretrained(directory)
    return directory


@pytest.fixture(scope="session")
def words() -> list[str]:
    """Of each sentence of the corpus."""
    return WORDS


@pytest.fixture(scope="session")
def run_module() -> Callable[..., str]:
    """Runs a module with arguments; what it printed."""
    return _run


def _run(module: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
