"""``fit``, ``validate``, ``test``: LightningCLI with a run directory of our own."""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_info

from lit_llm.checkpoint_io import newest_valid, step_of
from lit_llm.cli_errors import readable
from lit_llm.cli_options import own_options, split_configs, wants_help
from lit_llm.data.data_module import PackedDataModule
from lit_llm.environment import default_precision
from lit_llm.loggers import MetricsCSV, WandbConfig, wandb_logger
from lit_llm.objectives.objective import Objective
from lit_llm.objectives.saved import read_config
from lit_llm.ranks import is_first_process
from lit_llm.resuming import (
    PARENT,
    check_changes,
    leave_after_parent,
    only_process,
    requeue,
    requeued_run,
)
from lit_llm.run_directory import (
    discard_if_nothing_was_trained,
    existing_run,
    fresh_run_dir,
    write_text,
)
from lit_llm.run_record import finish_evaluation, finish_fit, write_environment
from lit_llm.signals import Interrupted, leave_signals_alone, stopping_at_once

BASE = Path(__file__).with_name("base.yaml")


class RunCLI(LightningCLI):
    """Parses one experiment's configuration and builds its trainer, model and data."""

    def __init__(self, arguments: list[str], run_dir: Path | None, resumes: bool = False) -> None:
        self.run_dir, self.resumes = run_dir, resumes
        super().__init__(
            Objective,
            PackedDataModule,
            save_config_callback=None,
            subclass_mode_model=True,
            subclass_mode_data=True,
            run=False,
            args=arguments,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            parser_kwargs={
                "prog": "lit-llm fit",
                "default_config_files": [str(BASE)],
                "exit_on_error": False,
                "allow_abbrev": False,
            },
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Beside trainer, model and data: where Weights & Biases runs go."""
        parser.add_argument("--wandb", type=WandbConfig, default=WandbConfig())

    def before_instantiate_classes(self) -> None:
        """Settle what depends on this machine, and write the resolved configuration down."""
        trainer = self.config.trainer
        if trainer.precision is None:
            trainer.precision = default_precision(trainer.accelerator)
        trainer.callbacks = _last_of_each(trainer.callbacks)
        if self.run_dir is None:
            return
        trainer.default_root_dir = str(self.run_dir)
        if self.resumes:
            check_changes(self.run_dir, yaml.safe_load(self.config_text()))
        if is_first_process():
            write_text(self.run_dir / "config.yaml", self.config_text())

    def config_text(self) -> str:
        """The resolved configuration as YAML."""
        return str(self.parser.dump(self.config, skip_unset=False))

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer, with our loggers unless the configuration names others."""
        if self.run_dir is not None and self.config.trainer.logger in (None, True):
            kwargs["logger"] = [MetricsCSV(self.run_dir / "metrics.csv")]
            tracker = wandb_logger(
                self.config_init.wandb, self.run_dir, yaml.safe_load(self.config_text())
            )
            if tracker is not None:
                kwargs["logger"].append(tracker)
        try:
            trainer = super().instantiate_trainer(**kwargs)
        except (ValueError, MisconfigurationException) as error:
            raise ValueError(f"trainer: {error}") from error
        leave_signals_alone(trainer)
        return trainer


def _last_of_each(callbacks: Any) -> Any:
    """One of each of our callbacks: naming it again, with ``callbacks+``, replaces the first."""
    if not isinstance(callbacks, list):
        return callbacks
    last = {}
    for number, callback in enumerate(callbacks):
        ours = callback.class_path.startswith("lit_llm.callbacks.")
        last[callback.class_path if ours else number] = callback
    return list(last.values())


def main(command: str, words: list[str]) -> int:
    """Run ``fit``, ``validate``, ``test`` or ``schedule``; the process's exit code."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_without_adverts)
    warnings.filterwarnings("ignore", message=".*LightningCLI's args parameter.*")
    warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).*")
    try:
        if command == "fit":
            _fit(words)
        elif command == "schedule":
            from lit_llm.schedule_command import show_schedule

            show_schedule(words)
        else:
            _evaluate(command, words)
    except Interrupted as stop:
        print(f"lit-llm {command}: {stop}", file=sys.stderr)
        return 128 + stop.signum
    except KeyboardInterrupt:
        print(f"lit-llm {command}: interrupted", file=sys.stderr)
        return 130
    except ArgumentError as error:
        configs, others = split_configs(words)
        message = readable(str(error.message), configs, others)
        print(f"lit-llm {command}: {message}", file=sys.stderr)
        return 1
    except Exception as error:
        ours = _our_sentence(error)
        if ours is None or os.environ.get("LIT_LLM_TRACEBACK"):
            traceback.print_exc()
        print(f"lit-llm {command}: {ours or error}", file=sys.stderr)
        return 1
    return 0


def _fit(words: list[str]) -> None:
    options, rest = own_options(
        words, "fit", {"--run_dir": "a new run's directory", "--resume": "a run to go on with"}
    )
    if options.run_dir and options.resume:
        raise ValueError("--run_dir starts a run and --resume continues one: give one of them")
    if wants_help(rest):
        RunCLI(rest, None)
        return
    os.environ.setdefault(PARENT, str(os.getpid()))
    resumed = options.resume or requeued_run(options.run_dir)
    if resumed:
        run_dir = existing_run(resumed, "--resume", "config.yaml")
    else:
        _refuse_without_config(rest)
        run_dir = _run_dir_of_all_ranks(options.run_dir)
    if options.resume:
        rest = ["--config", str(run_dir / "config.yaml"), *rest]
    with only_process(run_dir), stopping_at_once():
        try:
            _train(run_dir, words, rest, resumes=bool(resumed))
        except Interrupted as stop:
            stop.args = (f"{stop}; go on with: lit-llm fit --resume {run_dir}",)
            if stop.signum == signal.SIGUSR1:
                requeue()
            leave_after_parent()
            raise
        except BaseException:
            if is_first_process() and not resumed:
                discard_if_nothing_was_trained(run_dir)
            leave_after_parent(seconds=10.0)
            raise


def _train(run_dir: Path, words: list[str], rest: list[str], resumes: bool) -> None:
    cli = RunCLI(rest, run_dir, resumes)
    rank_zero_info(f"run directory: {run_dir}")
    checkpoint = newest_valid(run_dir / "checkpoints") if resumes else None
    write_environment(run_dir, ["fit", *words], resumes)
    if resumes:
        step = step_of(checkpoint) if checkpoint else 0
        rank_zero_info(
            f"going on from step {step}" if step else "no checkpoint yet: from the start"
        )
        for logger in cli.trainer.loggers:
            if isinstance(logger, MetricsCSV) and is_first_process():
                logger.truncate(step - 1)  # later steps will be made, and logged, again
    ckpt_path = str(checkpoint) if checkpoint else None
    cli.trainer.fit(cli.model, cli.datamodule, ckpt_path=ckpt_path, weights_only=True)
    finish_fit(cli.trainer, cli.model, cli.datamodule, run_dir)


def _evaluate(command: str, words: list[str]) -> None:
    where = f"default: RUN/{command}" + (", or RUN/train" if command == "validate" else "")
    flags = {"--run": "the run whose best model is scored", "--run_dir": where}
    if command == "validate":
        flags["--split"] = "val (default), or train: what the model makes of its training examples"
    options, rest = own_options(words, command, flags)
    split = (options.split or "val") if command == "validate" else "test"
    if command == "validate" and split not in ("val", "train"):
        raise ValueError(f"--split is val or train, not {split!r}")
    if wants_help(rest):
        RunCLI(rest, None)
        return
    if not options.run:
        raise ValueError(f"say which run: lit-llm {command} --run DIR")
    run_dir = existing_run(options.run, "--run", "best")
    directory = run_dir / ("train" if split == "train" else command)
    if options.run_dir:
        directory = _run_dir_of_all_ranks(options.run_dir)
    directory.mkdir(exist_ok=True)
    write_environment(directory, [command, *words])
    write_text(directory / "config.yaml", saved_run_config(run_dir))
    config = ["--config", str(directory / "config.yaml"), "--trainer.logger", "false"]
    cli = RunCLI([*config, *rest], None)
    callbacks: list[Callback] = cli.trainer.callbacks  # type: ignore[attr-defined]
    callbacks[:] = [callback for callback in callbacks if isinstance(callback, ProgressBar)]
    cli.model.build_saved()
    cli.datamodule.label_names = cli.model.label_names
    cli.datamodule.validates_train = split == "train"
    loop = cli.trainer.validate if command == "validate" else cli.trainer.test
    loop(cli.model, cli.datamodule, verbose=False)
    if split == "train":
        cli.model.results["train"] = cli.model.results.pop("val")
    finish_evaluation(cli.trainer, cli.model, cli.datamodule, directory, split)


def saved_run_config(run_dir: Path) -> str:
    """A finished run's configuration, its model (a student alone) from ``best/``, as YAML."""
    config = read_config(run_dir / "config.yaml")
    best = {
        "source": str(run_dir / "best"),
        "tokenizer": None,
        "init_from": None,
        "keep_layers": None,
        "keep_width": None,
    }
    config["model"]["init_args"]["backbone"] |= best
    return yaml.safe_dump(config, sort_keys=False)


def _refuse_without_config(words: list[str]) -> None:
    if not any(word == "--config" or word.startswith("--model") for word in words):
        raise ValueError(
            "say what to train: --config FILE, such as configs/token_classification/toy.yaml"
        )


def _run_dir_of_all_ranks(requested: str | None) -> Path:
    """Made by the first process; the ranks it starts read it from the environment.

    Raises:
        ValueError: a launcher started several processes and no directory was named for all.
    """
    inherited = os.environ.get("LIT_LLM_RUN_DIR")
    if not is_first_process() and (inherited or requested):
        return Path(inherited or requested or "")
    launched = int(os.environ.get("WORLD_SIZE", os.environ.get("SLURM_NTASKS", "1"))) > 1
    if launched and requested is None:
        raise ValueError("several processes were launched: name their directory with --run_dir DIR")
    run_dir = fresh_run_dir(requested)
    os.environ["LIT_LLM_RUN_DIR"] = str(run_dir)
    return run_dir


def _our_sentence(error: BaseException | None) -> str | None:
    """What this package said to the user, however deep; None for a fault inside a library."""
    while error is not None:
        frames = traceback.extract_tb(error.__traceback__)
        raised_here = frames and str(Path(__file__).parent) in frames[-1].filename
        if raised_here and (frames[-1].line or "").startswith("raise"):
            return str(error)
        error = error.__cause__
    return None


def _without_adverts(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(("💡", "GPU available", "TPU available"))
