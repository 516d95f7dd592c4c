from types import SimpleNamespace

import pytest

from lit_llm.callbacks.best_model import BestModel


class Module:
    monitor = "val/f1"
    monitor_mode = "max"

    def __init__(self):
        self.version = 0

    def save(self, directory):
        directory.mkdir()
        (directory / "weights").write_text(str(self.version))


def trainer_with(root, **metrics):
    return SimpleNamespace(
        sanity_checking=False,
        state=SimpleNamespace(fn="fit"),
        callback_metrics=metrics,
        default_root_dir=str(root),
        global_step=7,
        num_training_batches=5,
        fit_loop=SimpleNamespace(
            epoch_loop=SimpleNamespace(
                batch_progress=SimpleNamespace(total=SimpleNamespace(completed=7))
            )
        ),
        is_global_zero=True,
        strategy=SimpleNamespace(broadcast=lambda value: value),
    )


def scores(tmp_path, mode, values):
    """Which of the versions stands in ``best/`` after these values."""
    callback, module = BestModel(mode=mode), Module()
    for module.version, value in enumerate(values):
        callback.on_validation_end(trainer_with(tmp_path, **{"val/f1": value}), module)
    return callback, (tmp_path / "best" / "weights").read_text()


def test_highest_value_is_kept(tmp_path):
    callback, kept = scores(tmp_path, "max", [0.1, 0.5, 0.3, 0.5])
    assert kept == "1"  # an equal value later does not replace the first
    assert callback.best == {"monitor": "val/f1", "value": 0.5, "step": 7, "epoch": 1.4}
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_lowest_value_is_kept_in_min_mode(tmp_path):
    assert scores(tmp_path, "min", [0.4, 0.2, 0.3])[1] == "1"


def test_value_that_is_no_number_is_never_better(tmp_path):
    values = [float("nan"), float("inf"), 0.1, float("inf"), float("nan"), 0.05]
    assert scores(tmp_path, "max", values)[1] == "2"


def test_failed_save_stops_the_run_and_keeps_the_best_before(tmp_path):
    callback, module = BestModel(), Module()
    callback.on_validation_end(trainer_with(tmp_path, **{"val/f1": 0.1}), module)

    def full(directory):
        directory.mkdir()
        (directory / "weights").write_text("hal")
        raise OSError(28, "No space left on device")

    module.save = full
    with pytest.raises(OSError, match=r"best could not be written: .*No space left"):
        callback.on_validation_end(trainer_with(tmp_path, **{"val/f1": 0.2}), module)
    assert (tmp_path / "best" / "weights").read_text() == "0"
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_best_that_a_kill_left_aside_is_put_back(tmp_path):
    (tmp_path / ".best.old").mkdir()
    BestModel().on_fit_start(trainer_with(tmp_path), Module())
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_restored_best_is_not_replaced_by_a_worse_one(tmp_path):
    callback, _ = scores(tmp_path, "max", [0.5])
    again, module = BestModel(), Module()
    module.version = 9
    again.load_state_dict(callback.state_dict())
    again.on_validation_end(trainer_with(tmp_path, **{"val/f1": 0.4}), module)
    assert (tmp_path / "best" / "weights").read_text() == "0"


def test_last_model_is_kept_without_a_development_set(tmp_path):
    callback, module = BestModel(), Module()
    callback.on_train_end(trainer_with(tmp_path), module)
    assert (tmp_path / "best" / "weights").exists()


def test_metric_that_was_not_logged_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'val/f1' is not logged; there is val/loss"):
        BestModel().on_validation_end(trainer_with(tmp_path, **{"val/loss": 1.0}), Module())


def test_best_that_was_saved_after_the_checkpoint_is_known_for_what_it_is(tmp_path):
    callback, module = BestModel(), Module()
    callback.on_validation_end(trainer_with(tmp_path, **{"val/f1": 0.5}), module)
    again = BestModel()
    again.load_state_dict({"monitor": "val/f1", "value": 0.2, "step": 3, "epoch": 0.6})
    again.on_fit_start(trainer_with(tmp_path), module)
    assert again.best == {"monitor": "val/f1", "value": 0.5, "step": 7, "epoch": 1.4}
    fresh = BestModel()
    fresh.on_fit_start(trainer_with(tmp_path), module)
    assert fresh.best == {}
