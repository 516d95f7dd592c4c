"""Two and three gloo processes on the CPU do what one does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForPreTraining,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from tests.helpers import TAGS, save_tiny
from tests.ranks_program import LABELS, LANGUAGE

pytestmark = pytest.mark.ddp
ROOT = Path(__file__).parents[1]
QUIET = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled"}
TIMEOUT_SECONDS = 900


def run(words, **environment):
    """A command in a process of its own; what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env={**os.environ, **QUIET, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_SECONDS,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """``{(world size, rank): results}`` of worlds of 1, 2 and 3 ranks."""
    directory = tmp_path_factory.mktemp("ranks")
    save_tiny(directory / "token", AutoModelForTokenClassification, TAGS)
    save_tiny(directory / "text", AutoModelForSequenceClassification, LABELS)
    save_tiny(directory / "causal", AutoModelForCausalLM, ["x"], "gpt2")
    save_tiny(directory / "masked", AutoModelForPreTraining, ["a", "b"])
    run(["tests.ranks_program", str(directory), "1", "2", "3"])
    return {
        (world_size, rank): torch.load(
            directory / f"world{world_size}-rank{rank}.pt", weights_only=True
        )
        for world_size in (1, 2, 3)
        for rank in range(world_size)
    }


RANKS = [(2, 0), (2, 1), (3, 0), (3, 1), (3, 2)]


@pytest.mark.parametrize("who", RANKS)
def test_parameters_after_two_steps_equal_those_of_one_process(found, who):
    alone, ours = found[1, 0]["training"], found[who]["training"]
    assert alone["steps"] == ours["steps"] == 2
    for part in ("gradients", "parameters"):
        torch.testing.assert_close(ours[part], alone[part], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("task", LANGUAGE)
@pytest.mark.parametrize("world_size", [2, 3])
def test_language_models_are_asked_and_trained_as_by_one_process(found, world_size, task):
    alone = found[1, 0]["language"][task]
    ranks = [found[world_size, rank]["language"][task] for rank in range(world_size)]
    shares = [rank["targets"] for rank in ranks]
    assert all(shares)
    together = {key: value for share in shares for key, value in share.items()}
    assert sum(map(len, shares)) == len(together)  # no item on two ranks
    assert together == alone["targets"]  # the same items in each batch, masked alike
    for rank in ranks:
        torch.testing.assert_close(rank["parameters"], alone["parameters"], rtol=1e-5, atol=1e-5)
        assert rank["scores"] == pytest.approx(alone["scores"], rel=1e-4)
    assert ranks[0]["losses"] == pytest.approx(alone["losses"], rel=1e-5)


@pytest.mark.parametrize("world_size", [2, 3])
def test_parameters_are_the_same_on_every_rank(found, world_size):
    first = found[world_size, 0]["training"]["parameters"]
    for rank in range(1, world_size):
        other = found[world_size, rank]["training"]["parameters"]
        torch.testing.assert_close(other, first, rtol=0, atol=0)


@pytest.mark.parametrize("world_size", [2, 3])
def test_logged_loss_is_that_of_all_ranks(found, world_size):
    alone = found[1, 0]["training"]["losses"]
    assert len(alone) == 2
    assert found[world_size, 0]["training"]["losses"] == pytest.approx(alone, rel=1e-5)


@pytest.mark.parametrize("who", RANKS)
@pytest.mark.parametrize("kind", ["token", "text"])
def test_evaluation_is_identical_to_one_process(found, who, kind):
    for n in range(1, 10):
        alone, ours = found[1, 0]["evaluations"][kind, n], found[who]["evaluations"][kind, n]
        metrics, records, logged, tables = alone
        assert len(records) == n
        assert ours[0] == metrics, n
        assert ours[1] == records, n
        assert ours[2] == logged, n
        assert ours[3] == tables, n  # supports too: no example is counted once a rank


def test_texts_are_read_in_windows_on_several_ranks(found):
    _, records, _, _ = found[1, 0]["evaluations"]["text", 9]
    assert max(record["windows"] for record in records) >= 3


def test_fit_on_two_ranks_makes_one_run(tmp_path):
    run_dir = tmp_path / "run"
    printed = run(
        [
            *("lit_llm", "fit", "--config", "configs/token_classification/toy.yaml"),
            *("--config", "configs/smoke.yaml", "--run_dir", str(run_dir)),
            *("--trainer.accelerator", "cpu", "--trainer.precision", "32-true"),
            *("--trainer.devices", "2", "--trainer.strategy", "ddp"),
            *("--trainer.enable_progress_bar", "false"),
        ],
        LIT_LLM_CACHE=str(tmp_path / "cache"),
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "run"]
    facts = json.loads((run_dir / "results.json").read_text())
    assert (facts["world_size"], facts["steps"]) == (2, 2)
    assert "unused parameters" not in printed
