"""Every configuration in the repository runs: two steps, then an evaluation."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from lit_llm.__main__ import main
from lit_llm.data import imdb

ROOT = Path(__file__).parents[1] / "configs"
CONFIGS = sorted(path for path in ROOT.rglob("*.yaml") if path.parent != ROOT)


def small_data(kind, root, monkeypatch):
    """A few examples in the form that a data class wants."""
    root.mkdir()
    if kind.endswith("CoNLL2003"):
        for name in ("eng.train", "eng.testa", "eng.testb"):
            (root / name).write_text(
                "Ann I-PER\nsees O\nBonn I-LOC\n\nBob I-PER\nsleeps O\n\n" * 20
            )
    elif kind.endswith("IMDB"):
        monkeypatch.setattr(imdb, "_PER_CLASS", 40)
        monkeypatch.setattr(imdb, "_DEV_PER_CLASS", 2)
        monkeypatch.setattr(imdb, "_BLOCK", 2)
        for split in ("train", "test"):
            rows = [{"text": f"review {i} of {split}", "label": i // 40} for i in range(80)]
            pq.write_table(pa.Table.from_pylist(rows), root / f"{split}.parquet")
        free = [{"text": f"review {i} without a label"} for i in range(20)]
        pq.write_table(pa.Table.from_pylist(free), root / "unsupervised.parquet")
    elif kind.endswith("Corpus"):
        sources = ["--data.sources", '[{"path": "toy"}]', "--data.leave_out", "null"]
        batches = ["--data.batches.tokens_per_batch", "2048", "--data.batches.num_workers", "0"]
        split = ["--data.validation_groups", "null", "--data.validation_fraction", "0.02"]
        return [*sources, *batches, *split]
    else:
        return []
    return ["--data.path", str(root)]


def test_there_are_configurations():
    assert len(CONFIGS) >= 6


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_configuration_opens_with_a_header(config):
    text = config.read_text()
    for word in ("# Source:", "# Expect:", "# Run:", "Hardware:"):
        assert word in text, word
    assert f"configs/{config.relative_to(ROOT)}" in text


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_configuration_runs_a_few_steps(config, tmp_path, monkeypatch):
    content = yaml.safe_load(config.read_text())
    words = small_data(content["data"]["class_path"], tmp_path / "data", monkeypatch)
    # What needs a hub or an optional package is replaced by a tiny model from scratch.
    size = "gpt2-tiny" if content["data"]["class_path"].endswith("CausalCorpus") else "tiny"
    scratch = ["--model.backbone.source", size, "--model.backbone.tokenizer", "train:300"]
    smoke = ["--config", str(ROOT / "smoke.yaml"), "--trainer.enable_progress_bar", "false"]
    run = tmp_path / "run"
    if config.parent.name == "distillation":
        student = content["model"]["init_args"]["student"]
        student["init_args"]["backbone"].pop("keep_layers", None)
        labelled = dict(content["data"]["init_args"])
        unlabelled = labelled.pop("unlabelled", None)
        labelled.pop("sample", None)
        file, teacher = tmp_path / "teacher.yaml", str(tmp_path / "teacher")
        data = {**content["data"], "init_args": labelled}
        file.write_text(yaml.safe_dump({**content, "model": student, "data": data}))
        scored = [*smoke, *words, *scratch, "--run_dir", teacher]
        assert main(["fit", "--config", str(file), *scored]) == 0
        scratch = ["--model.teacher", teacher, "--model.student.backbone.source", teacher]
        scratch += ["--model.student.backbone.keep_layers", "[1]"]
        if unlabelled:
            free = tmp_path / "data" / "unsupervised.parquet"
            scratch += ["--data.unlabelled.path", str(free)]
            scratch += ["--data.sample.train", "30", "--data.sample.unlabelled", "10"]
    words += [*scratch, "--run_dir", str(run)]
    assert main(["fit", "--config", str(config), *smoke, *words]) == 0
    results = json.loads((run / "results.json").read_text())
    assert results["steps"] == 2
    monitor = results["best"]["monitor"]
    assert results["metrics"][monitor] == pytest.approx(results["best"]["value"], abs=1e-6)
