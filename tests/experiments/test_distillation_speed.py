"""The benchmark of distillation on a tiny model; no figure is held against a clock."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lit_llm.losses.soft_targets import soft_targets


def test_ceilings_are_those_of_the_arithmetic() -> None:
    from experiments.distillation_speed.shapes import ceiling

    # Student of half the teacher: 3 x (1 + 3/2) = 7.5 units against 1 + 3 x 3/2 = 5.5.
    assert ceiling(teacher=2, student=1, epochs=3) == pytest.approx(7.5 / 5.5)
    # An eighth, as 12 x 768^2 of 6 x 384^2: 3 x (1 + 3/8) = 4.125 against 1 + 3 x 3/8 = 2.125.
    assert ceiling(teacher=8, student=1, epochs=3) == pytest.approx(4.125 / 2.125)
    assert ceiling(teacher=8, student=1, epochs=1) == 1.0


@pytest.mark.parametrize(("shape", "blocks"), [("half", (2, 1)), ("base", (12, 2))])
def test_ceiling_of_a_shape_counts_its_blocks(
    shape: str, blocks: tuple[int, int], model: Path
) -> None:
    from experiments.distillation_speed.shapes import (
        SHAPES,
        block_parameters,
        ceiling,
        ceiling_of,
        configurations,
    )

    configs = configurations(SHAPES[shape], str(model))
    assert tuple(config.num_hidden_layers for config in configs) == blocks
    counts = []
    for config in configs:
        width, inner = config.hidden_size, config.intermediate_size
        attention = 4 * (width * width + width)
        feed_forward = 2 * width * inner + inner + width
        counts.append(config.num_hidden_layers * (attention + feed_forward + 4 * width))
    assert [block_parameters(config) for config in configs] == counts
    assert ceiling_of(SHAPES[shape], str(model), 3) == ceiling(*counts, epochs=3)


def test_ceilings_of_minilm() -> None:
    from experiments.distillation_speed.shapes import ceiling

    wide, narrow = (12 * width**2 + 13 * width for width in (768, 384))  # parameters of a block
    assert ceiling(6 * narrow, 3 * narrow, epochs=3) == pytest.approx(1.36, abs=0.005)
    assert ceiling(12 * wide, 6 * narrow, epochs=3) == pytest.approx(1.94, abs=0.005)


def test_the_trainers_loss_is_ours() -> None:
    from experiments.distillation_speed.hugging_face import soft_loss

    torch.manual_seed(0)
    student, teacher = torch.randn(2, 2, 5, 3)
    labels = torch.tensor([[-100, 1, 0, -100, 2], [-100, 2, -100, -100, -100]])
    chosen = labels != -100
    total, count = soft_targets(student[chosen], teacher[chosen], 2.5, "kl")
    assert int(count) == 4
    torch.testing.assert_close(soft_loss(student, teacher, labels, 2.5), total / count)


def test_table_pairs_rounds_and_says_what_was_reached() -> None:
    from experiments.distillation_speed.table import table, verdicts

    seconds = {"cached": (10, 20, 40), "live": (13, 28, 40), "trainer_default": (20, 80, 120)}
    common = {"run": "a", "shape": "half", "epochs": 3, "examples": 64, "examples_per_batch": 32}
    common |= {"device_name": "a processor"}
    rows = [
        {
            **common,
            "system": system,
            "repetition": repetition,
            "seconds": each,
            "tokens_per_second": 1000 / each,
            "ceiling": 7.5 / 5.5,
            "peak_rss_gb": 1.0,
            "tokens_used_fraction": 1.0,
        }
        for system, values in seconds.items()
        for repetition, each in enumerate(values)
    ]
    # Ratios 1.3, 1.4, 1.0 and 2, 4, 3; of the medians they would be 1.4 and 4.
    assert "| cached | 20.0 | 10.0-40.0 | 3 | 50 | 1.30 | 3.00 | 1.36 |" in table(rows)
    live, trainer = verdicts(rows).splitlines()
    assert "1.30" in live
    assert live.endswith("goal 1.25: reached")
    assert trainer.endswith("goal 3: reached")


@pytest.mark.slow
def test_all_systems_train_on_the_same_items(
    corpus: Path, model: Path, words: list[str], run_module: Callable[..., str], tmp_path: Path
) -> None:
    results = tmp_path / "results.jsonl"
    out = run_module(
        "experiments.distillation_speed.run",
        *("--shapes", "half", "--epochs", 2, "--examples", 6, "--examples_per_batch", 4),
        *("--repetitions", 1, "--threads", 1, "--max_length", 16),
        *("--model", model, "--data_dir", corpus),
        *("--results", results),
    )
    rows = {row["system"]: row for row in map(json.loads, results.read_text().splitlines())}
    assert set(rows) == {"cached", "live", "trainer_default"}
    for row in rows.values():
        assert row["timed_steps"] == 2 * 2  # the second of an epoch has two sentences
        assert row["timed_tokens"] == 2 * 6 * (len(words) + 2)  # [CLS] and [SEP] count
        assert row["matmul_dtype"] == row["teacher_matmul_dtype"] == "bfloat16"
        assert (row["hidden_size"], row["num_hidden_layers"]) == (8, 1)
        assert 0 < row["first_step_seconds"] < row["seconds"]
        assert row["ceiling"] == pytest.approx(5 / 4)  # 2 x (1 + 3/2) against 1 + 2 x 3/2
    assert len({row["num_parameters"] for row in rows.values()}) == 1
    assert "| cached |" in out
