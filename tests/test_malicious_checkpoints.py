"""A checkpoint is data: whatever it holds, reading it runs nothing."""

import hashlib
import json
import shutil

import pytest
import torch

from lit_llm.__main__ import main
from lit_llm.checkpoint_io import (
    MANIFEST,
    STATE,
    WEIGHTS,
    CheckpointError,
    VerifiedCheckpointIO,
    checkpoints,
)
from tests.references.malicious_checkpoints import KINDS, write_all


def forge(checkpoint, place, hostile):
    """Put a hostile file in a checkpoint, with a manifest that vouches for it."""
    target = checkpoint / place
    target.unlink()
    if hostile.is_dir():
        shutil.copytree(hostile, target)
        return
    shutil.copy(hostile, target)
    manifest = json.loads((checkpoint / MANIFEST).read_text())
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    manifest["files"][place] = {"bytes": target.stat().st_size, "sha256": digest}
    (checkpoint / MANIFEST).write_text(json.dumps(manifest))


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "step-1"
    state = {"global_step": 1, "state_dict": {"w": torch.zeros(2)}}
    VerifiedCheckpointIO().save_checkpoint(state, path)
    return path


@pytest.mark.parametrize("place", [STATE, WEIGHTS])
@pytest.mark.parametrize("kind", KINDS)
def test_hostile_file_is_refused_and_runs_nothing(tmp_path, sound, kind, place):
    canary = tmp_path / "canary"
    hostile = write_all(tmp_path / "files", canary)[kind]
    checkpoint = tmp_path / "step-1"
    shutil.copytree(sound, checkpoint)
    forge(checkpoint, place, hostile)
    with pytest.raises(CheckpointError, match=f"{place} (cannot|holds|is missing)"):
        VerifiedCheckpointIO().load_checkpoint(checkpoint, weights_only=True)
    assert not canary.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_file_in_place_of_a_checkpoint_is_refused(tmp_path, kind):
    canary = tmp_path / "canary"
    hostile = write_all(tmp_path / "files", canary)[kind]
    with pytest.raises(CheckpointError, match=r"is no checkpoint|manifest\.json cannot be read"):
        VerifiedCheckpointIO().load_checkpoint(hostile, weights_only=False)
    assert not canary.exists()


@pytest.mark.parametrize("kind", ["pickle in a torch zip", "instantiator in hyper_parameters"])
def test_resuming_from_a_forged_checkpoint_says_why_not(experiment, tmp_path, kind, capsys):
    run, canary = tmp_path / "run", tmp_path / "canary"
    assert main(experiment) == 0
    hostile = write_all(tmp_path / "files", canary)[kind]
    forge(checkpoints(run / "checkpoints")[0], STATE, hostile)
    assert main(["fit", "--resume", str(run), "--trainer.max_epochs", "3"]) == 1
    errors = capsys.readouterr().err
    assert "state.pt holds more than plain data and tensors" in errors
    assert "Traceback" not in errors
    assert not canary.exists()


def test_paths_on_the_network_are_never_opened(experiment, tmp_path, attempts, capsys):
    for words in (["--resume", "http://host/run"], ["--resume", "s3://bucket/run"]):
        assert main(["fit", *words]) == 1
        assert "so it is no such run" in capsys.readouterr().err
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        VerifiedCheckpointIO().load_checkpoint("http://host/step-1")
    assert attempts == []
