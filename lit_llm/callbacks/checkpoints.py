"""Checkpoints from which a run goes on exactly, and stops that leave one behind."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.callbacks.early_stopping import EarlyStopping, EarlyStoppingReason
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from lightning.pytorch.utilities import rank_zero_info

from lit_llm.checkpoint_io import VerifiedCheckpointIO, checkpoints, step_of
from lit_llm.random_state import random_state, restore_random_state
from lit_llm.signals import Interrupted, StopSignals, leave_signals_alone


class Checkpoints(Checkpoint):
    """Writes ``checkpoints/step-N/`` between optimizer steps, and stops there when asked to.

    A checkpoint is due after every epoch, and as often as the arguments say; its state is that
    between step N, its validation included, and the next one, so that nothing is repeated or left
    out. A run that goes on from it ends as if it had never stopped: weights, optimizer, schedule,
    random numbers of each rank and rows of ``metrics.csv`` (docs/decisions/0006).

    SIGTERM, SIGINT and SIGUSR1 to any rank stop all of them after the current step, or before the
    next batch of a validation, with a checkpoint: ``Interrupted`` is raised. A validation that was
    cut short is then run anew. Nothing of the directory's checkpoints is removed before the run
    has written one of its own.

    Args:
        every_n_steps: steps between checkpoints; None for none by step.
        every_n_minutes: minutes between checkpoints; None for none by time.
        keep: how many of the newest are kept; None for all. Those of steps that this run has yet
            to make are removed: they are broken, or another run's.
        dirname: where, inside the trainer's ``default_root_dir``.
    """

    def __init__(
        self,
        every_n_steps: int | None = None,
        every_n_minutes: float | None = 10.0,
        keep: int | None = 2,
        dirname: str = "checkpoints",
    ) -> None:
        for name, value in (("every_n_steps", every_n_steps), ("keep", keep)):
            if value is not None and value < 1:
                raise ValueError(f"Checkpoints.{name} must be at least 1 or null, not {value}")
        self.every_n_steps, self.every_n_minutes = every_n_steps, every_n_minutes
        self.keep, self.dirname = keep, dirname
        self.signals = StopSignals()
        self._io = VerifiedCheckpointIO()
        self._saved_step, self._first_step, self._saved_at = -1, 0, 0.0
        self._written: set[int] = set()
        self._random_states: list[dict[str, Any]] = []
        self._first_batch = True

    def directory(self, trainer: Trainer) -> Path:
        """Where the checkpoints stand."""
        return Path(trainer.default_root_dir) / self.dirname

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take over the trainer's file format and the signals."""
        leave_signals_alone(trainer)
        if stage != "fit":
            return
        _refuse_pieces(trainer)
        trainer.strategy.checkpoint_io = self._io
        self.signals.install()
        if trainer.is_global_zero:
            for leftover in self.directory(trainer).glob(".step-*"):
                shutil.rmtree(leftover, ignore_errors=True)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Hand the signals back."""
        self.signals.restore()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Hand the signals back; Lightning calls no ``teardown`` then."""
        self.signals.restore()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put right what Lightning leaves undone after a resume."""
        loop = trainer.fit_loop.epoch_loop
        if loop.restarting:
            # The rows of loggers are numbered by this; Lightning counts on once more where it
            # runs, or skips, the validation that belongs to the checkpoint's step.
            again = loop._should_check_val_fx(trainer.fit_loop._data_fetcher)  # type: ignore[arg-type]
            loop._batches_that_stepped = trainer.global_step - int(again)
        if self._random_states:  # resumed
            trainer.should_stop = trainer.should_stop or early_stop(trainer) is not None
        self._first_step, self._written = trainer.global_step, set()
        self._saved_step, self._saved_at = trainer.global_step, time.monotonic()
        self._first_batch = True

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Before the batch that follows a step: nothing of that step is left to do."""
        if self._first_batch:
            self._first_batch = False
            self._settle_random_numbers(trainer)
        elif batch_idx and batch_idx % trainer.accumulate_grad_batches == 0:
            self._finish_step(trainer, pl_module)

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: Any, optimizer: torch.optim.Optimizer
    ) -> None:
        """Ask the ranks, along with the loss's count, whether any wants to save or stop."""
        minutes = (time.monotonic() - self._saved_at) / 60
        if self.every_n_minutes is not None and minutes >= self.every_n_minutes:
            pl_module.requests.add("save")
        self._ask(pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Do not begin a validation when asked to stop."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._stop_if_asked(trainer, pl_module)

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Do not finish a validation when asked to stop."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._ask(pl_module)
            pl_module.agree()
            self._stop_if_asked(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """After the last step of an epoch, or of the run."""
        self._ask(pl_module)
        pl_module.agree()
        if not self._within_a_window(trainer):  # where ``max_time`` may end a run
            self._finish_step(trainer, pl_module, due=True)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Every rank's random numbers, and counters as they stand between two steps."""
        checkpoint["random_states"] = _of_all_ranks(trainer, random_state())
        _count_between_steps(trainer, checkpoint)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the random numbers for the first batch."""
        self._random_states = checkpoint["random_states"]

    def _settle_random_numbers(self, trainer: Trainer) -> None:
        rank = trainer.global_rank
        if rank < len(self._random_states):
            restore_random_state(self._random_states[rank])
        elif rank:  # a rank's dropout is its own
            torch.manual_seed(torch.initial_seed() + rank)
        self._random_states = []

    def _finish_step(self, trainer: Trainer, pl_module: Any, due: bool = False) -> None:
        step = trainer.global_step
        by_step = self.every_n_steps is not None and step % self.every_n_steps == 0
        if (due or by_step or "save" in pl_module.agreed) and step != self._saved_step:
            self._save(trainer)
        self._stop_if_asked(trainer, pl_module)

    def _ask(self, pl_module: Any) -> None:
        if self.signals.received:
            pl_module.requests.add(self.signals.received)

    def _within_a_window(self, trainer: Trainer) -> bool:
        return trainer.fit_loop._should_accumulate()

    def _stop_if_asked(self, trainer: Trainer, pl_module: Any) -> None:
        """Stop, unless a run could not go on from here: then the validation is finished first.

        That is so within an accumulation window, and after the last step of all, where a resumed
        run has nothing left to train and would leave out the rest of the validation.
        """
        name = next((name for name in StopSignals.NAMES if name in pl_module.agreed), None)
        limit = trainer.fit_loop.max_steps
        over = trainer.should_stop or (limit != -1 and trainer.global_step >= limit)
        if name is None or (trainer.validating and (over or self._within_a_window(trainer))):
            return
        if self._saved_step != trainer.global_step:
            self._save(trainer)
        raise Interrupted(name, f"stopped by {name} after step {trainer.global_step}")

    def _save(self, trainer: Trainer) -> None:
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        for logger in trainer.loggers:
            logger.save()
        step, directory = trainer.global_step, self.directory(trainer)
        trainer.save_checkpoint(directory / f"step-{step}", weights_only=False)
        failure = trainer.strategy.broadcast(self._io.failure)
        if failure:
            raise OSError(f"{failure}; the checkpoints before it are untouched")
        self._saved_step, self._saved_at = step, time.monotonic()
        self._written.add(step)
        if trainer.is_global_zero:
            self._retain(directory)
        rank_zero_info(f"step {step}: checkpoint written")

    def _retain(self, directory: Path) -> None:
        """Remove what is beyond ``keep``, and what claims a step that was not made yet."""
        own: list[Path] = []
        foreign: list[Path] = []
        for path in checkpoints(directory):
            ours = step_of(path) <= self._first_step or step_of(path) in self._written
            (own if ours else foreign).append(path)
        beyond = own[self.keep :] if self.keep is not None else []
        for path in foreign + beyond:
            self._io.remove_checkpoint(path)


def early_stop(trainer: Trainer) -> EarlyStopping | None:
    """The callback that ended the training, now or before the checkpoint was written."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    stoppers = (c for c in callbacks if isinstance(c, EarlyStopping))
    return next((c for c in stoppers if c.stopping_reason != EarlyStoppingReason.NOT_STOPPED), None)


def _refuse_pieces(trainer: Trainer) -> None:
    """Raises ValueError for strategies that hold each parameter in pieces."""
    if isinstance(trainer.strategy, FSDPStrategy | ModelParallelStrategy | DeepSpeedStrategy):
        raise ValueError(
            f"trainer.strategy: {type(trainer.strategy).__name__} holds parameters in pieces and "
            "reads checkpoints in its own way, which cannot be checked yet: use ddp, or auto"
        )


def _count_between_steps(trainer: Trainer, checkpoint: dict[str, Any]) -> None:
    """Rewrite Lightning's progress to a form that it resumes without repeating or skipping.

    Three forms: k batches into an epoch; at the start of the next epoch; and, within a validation,
    k batches in and the validation still to come.
    """
    fit = checkpoint["loops"]["fit_loop"]
    epochs, batches = fit["epoch_progress"], fit["epoch_loop.batch_progress"]
    validation = fit["epoch_loop.val_loop.batch_progress"]
    done, epoch = batches["current"]["completed"], epochs["current"]["completed"]
    at_start = trainer.training and done >= trainer.num_training_batches
    if at_start:
        done, epoch = 0, epoch + 1
    total = {"current": epoch, "total": epochs["total"]["completed"] + int(at_start)}
    for part, finished in total.items():
        begun = finished if at_start else finished + 1
        epochs[part] = {
            "ready": begun,
            "started": begun,
            "processed": finished,
            "completed": finished,
        }
    batches["total"] = dict.fromkeys(batches["total"], batches["total"]["completed"])
    batches["current"] = dict.fromkeys(batches["current"], done)
    batches["is_last_batch"] = bool(done >= trainer.num_training_batches)
    pending = int(trainer.validating)
    for part in ("total", "current"):
        validation[part] = dict.fromkeys(validation[part], 0)
    validation["total"] |= {"ready": pending, "started": pending}
    validation["is_last_batch"] = False
    if "combined_loader" in fit["state_dict"]:
        loader: Any = trainer.train_dataloader
        states = _of_all_ranks(trainer, loader.state_at(epoch, done))
        fit["state_dict"]["combined_loader"] = [loader.joined(states)]


def _of_all_ranks(trainer: Trainer, own: dict[str, Any]) -> list[dict[str, Any]]:
    """What each rank has, in their order."""
    states = [own] * trainer.world_size
    if trainer.world_size > 1:
        torch.distributed.all_gather_object(states, own)
    return states
