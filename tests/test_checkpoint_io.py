"""What is written is whole or does not exist; what is read is what was written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lit_llm.checkpoint_io import (
    MANIFEST,
    STATE,
    WEIGHTS,
    CheckpointError,
    VerifiedCheckpointIO,
    checkpoints,
    newest_valid,
    verify,
)


def trainer_state(step=3):
    tied = torch.arange(6.0).reshape(2, 3)
    return {
        "global_step": step,
        "state_dict": {"a": tied, "b": tied, "t": tied.t(), "none": torch.zeros(0)},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(3.0)}}, "betas": (0.9, 0.999)}],
        "random_states": [{"torch": torch.get_rng_state(), "python": [3, [1, 2], None]}],
    }


@pytest.fixture
def written(tmp_path):
    """``checkpoints/step-1`` and ``step-2``."""
    io = VerifiedCheckpointIO()
    for step in (1, 2):
        io.save_checkpoint(trainer_state(step), tmp_path / "checkpoints" / f"step-{step}")
        assert io.failure is None
    return tmp_path / "checkpoints"


def test_what_is_read_is_what_was_written(written):
    read = VerifiedCheckpointIO().load_checkpoint(written / "step-2", weights_only=True)
    expected = trainer_state(2)
    assert read.keys() == expected.keys()
    for name, tensor in expected["state_dict"].items():
        assert torch.equal(read["state_dict"][name], tensor), name
    assert read["optimizer_states"] == expected["optimizer_states"]
    assert {path.name for path in written.iterdir()} == {"step-1", "step-2"}


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


DAMAGES = {
    "flipped weights": (lambda p: flip(p / WEIGHTS), f"{WEIGHTS} was changed"),
    "flipped state": (lambda p: flip(p / STATE), f"{STATE} was changed"),
    "cut": (lambda p: os.truncate(p / STATE, 100), f"{STATE} has 100 bytes, not"),
    "empty": (lambda p: (p / WEIGHTS).write_bytes(b""), f"{WEIGHTS} has 0 bytes, not"),
    "gone": (lambda p: (p / STATE).unlink(), f"{STATE} is missing"),
    "no manifest": (lambda p: (p / MANIFEST).unlink(), f"{MANIFEST} cannot be read"),
    "cut manifest": (lambda p: os.truncate(p / MANIFEST, 40), f"{MANIFEST} cannot be read"),
    "foreign manifest": (lambda p: (p / MANIFEST).write_text("[]"), f"{MANIFEST} cannot be read"),
    "later format": (
        lambda p: (p / MANIFEST).write_text('{"schema": 9, "files": {}}'),
        "of another format",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_checkpoint_is_named_and_the_one_before_is_used(written, damage):
    harm, message = DAMAGES[damage]
    harm(written / "step-2")
    with pytest.raises(CheckpointError, match=message):
        VerifiedCheckpointIO().load_checkpoint(written / "step-2")
    with pytest.warns(UserWarning, match=f"passed over: .*step-2.*{message}"):
        assert newest_valid(written) == written / "step-1"


def test_no_valid_checkpoint_is_an_error_and_none_at_all_is_not(written, tmp_path):
    assert newest_valid(tmp_path / "nowhere") is None
    for path in checkpoints(written):
        flip(path / STATE)
    with (
        pytest.warns(UserWarning, match="passed over"),
        pytest.raises(CheckpointError, match="none of its 2"),
    ):
        newest_valid(written)


def test_a_broken_checkpoint_of_the_same_step_is_replaced(written):
    flip(written / "step-2" / STATE)
    VerifiedCheckpointIO().save_checkpoint(trainer_state(2), written / "step-2")
    verify(written / "step-2")


def test_state_that_could_not_be_read_back_is_never_published(written):
    io = VerifiedCheckpointIO()
    io.save_checkpoint({**trainer_state(3), "callbacks": {"path": Path("x")}}, written / "step-3")
    assert "more than plain data and tensors" in io.failure
    assert {path.name for path in written.iterdir()} == {"step-1", "step-2"}


@pytest.mark.parametrize("call", ["fsync", "rename", "mkdir"])
def test_failed_save_leaves_the_previous_one_intact(written, call, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    io = VerifiedCheckpointIO()
    monkeypatch.setattr(os, call, fail)
    io.save_checkpoint(trainer_state(3), written / "step-3")
    monkeypatch.undo()
    assert "step-3 could not be written" in io.failure
    assert "No space left" in io.failure
    assert newest_valid(written) == written / "step-2"
    assert {path.name for path in written.iterdir()} == {"step-1", "step-2"}


SHORT_WRITE = """
import resource, signal, sys
import torch
from pathlib import Path
from lit_llm.checkpoint_io import VerifiedCheckpointIO
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
io = VerifiedCheckpointIO()
weights, moments = torch.zeros(50_000), torch.zeros(100_000)
state = {"global_step": 3, "state_dict": {"w": weights}, "m": moments}
io.save_checkpoint(state, Path(sys.argv[1]))
print(io.failure)
"""


@pytest.mark.parametrize("limit", [100_000, 300_000])  # in the weights; in the state
def test_write_that_the_disk_cuts_short_is_noticed(written, limit):
    done = subprocess.run(
        [sys.executable, "-c", SHORT_WRITE, str(written / "step-3"), str(limit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "step-3 could not be written" in done.stdout
    assert {path.name for path in written.iterdir()} == {"step-1", "step-2"}


def test_manifest_says_how_large_the_files_are(written):
    manifest = json.loads((written / "step-2" / MANIFEST).read_text())
    assert manifest["step"] == 2
    for name in (WEIGHTS, STATE):
        assert manifest["files"][name]["bytes"] == (written / "step-2" / name).stat().st_size


def test_removed_checkpoint_is_gone(written):
    VerifiedCheckpointIO().remove_checkpoint(written / "step-1")
    assert [path.name for path in written.iterdir()] == ["step-2"]
