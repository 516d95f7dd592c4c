"""With layers that open, curricula and regularisers two gloo processes do what one does."""

import pytest
import torch
from transformers import AutoModelForTokenClassification

from tests.helpers import TAGS, save_tiny
from tests.multi_step_program import CASES as PARTS
from tests.test_two_ranks import run

pytestmark = pytest.mark.ddp
CASES = [f"{name}, {batches} to a step" for name in PARTS for batches in (1, 2)]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """``{(world size, rank): {case: weights after each step, starts of phases}}``."""
    directory = tmp_path_factory.mktemp("ranks")
    save_tiny(directory / "token", AutoModelForTokenClassification, TAGS)
    save_tiny(directory / "teacher", AutoModelForTokenClassification, TAGS, std=0.5)
    save_tiny(directory / "wide", AutoModelForTokenClassification, TAGS, std=0.5, hidden_size=16)
    run(["tests.multi_step_program", str(directory), "1", "2"])
    return {
        who: torch.load(directory / f"world{who[0]}-rank{who[1]}.pt", weights_only=True)
        for who in ((1, 0), (2, 0), (2, 1))
    }


@pytest.mark.parametrize("case", CASES)
def test_weights_are_equal_after_every_step(found, case):
    alone, first, second = (found[who][case] for who in ((1, 0), (2, 0), (2, 1)))
    assert alone["starts"] == first["starts"] == second["starts"]
    assert len(alone["weights"]) == len(first["weights"]) == 8
    for step, (one, ours, other) in enumerate(
        zip(alone["weights"], first["weights"], second["weights"], strict=True), start=1
    ):
        torch.testing.assert_close(other, ours, rtol=0, atol=0, msg=lambda m, s=step: f"{s}: {m}")
        torch.testing.assert_close(ours, one, rtol=1e-6, atol=1e-6)
