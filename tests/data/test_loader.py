from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from lit_llm.batch import Item, PackedBatch
from lit_llm.data.loader import PackedLoader
from lit_llm.data.packing import EvaluationPlan, training_plan

warnings.filterwarnings("ignore", module="lightning")

TOKENS = {"tokens_per_batch": 64, "row_length": 32}
EXAMPLES = {"examples_per_batch": 5}
MODES = pytest.mark.parametrize("mode", [TOKENS, EXAMPLES], ids=["tokens", "examples"])


class Store:
    """40 items of 3 to 14 tokens; item i is made of i."""

    lengths = np.random.default_rng(0).integers(3, 15, 40)

    def __getitem__(self, index: int) -> Item:
        return {"input_ids": [index] * int(self.lengths[index]), "labels": index}


def loader(mode: dict[str, int], rank: int = 0, world_size: int = 1, workers: int = 0) -> Any:
    plan = training_plan(Store.lengths, seed=0, world_size=world_size, **mode)
    return PackedLoader(
        Store(), plan, pad_token_id=-7, rank=rank, world_size=world_size, num_workers=workers
    )


def ids(batches: Any) -> list[list[int]]:
    return [batch.item_ids.tolist() for batch in batches]


def planned(data: PackedLoader, count: int) -> list[list[int]]:
    return [data.plan.batch(index, 0).item_ids for index in range(count)]


class Recorder(pl.LightningModule):
    """Learns one number and remembers which items it saw in which epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[int, list[int]]] = []

    def training_step(self, batch: PackedBatch, batch_idx: int) -> torch.Tensor:
        self.seen.append((self.current_epoch, batch.item_ids.tolist()))
        return (self.weight - batch.targets["labels"].float().mean()) ** 2

    def validation_step(self, batch: PackedBatch, batch_idx: int) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Saver(pl.Callback):
    """A checkpoint after each step and at the end of each epoch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        trainer.save_checkpoint(self.folder / f"step{trainer.global_step}.ckpt")

    def on_train_epoch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        trainer.save_checkpoint(self.folder / f"epoch{trainer.current_epoch}.ckpt")


def fit(
    data: Any, folder: Path | None = None, resume: Path | None = None, **options: Any
) -> Recorder:
    """Three epochs on the CPU, unless the options say otherwise."""
    model = Recorder()
    val = PackedLoader(Store(), EvaluationPlan(Store.lengths, tokens_per_batch=256), pad_token_id=0)
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        callbacks=[] if folder is None else [Saver(folder)],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        **{"max_epochs": 3, **options},
    )
    trainer.fit(model, data, val, ckpt_path=resume)
    return model


@MODES
def test_every_iteration_is_the_next_epoch(mode: dict[str, int]) -> None:
    data = loader(mode)
    epochs = [ids(data) for _ in range(3)]
    assert {len(epoch) for epoch in epochs} == {len(data)}
    assert list(itertools.chain(*epochs)) == planned(data, 3 * len(data))
    assert epochs[0] != epochs[1]


@MODES
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_keep_the_order(mode: dict[str, int], workers: int) -> None:
    with_workers, without = loader(mode, workers=workers), loader(mode)
    for _ in range(2):
        assert ids(with_workers) == ids(without)
    assert with_workers.state_dict() == without.state_dict()


def test_batches_hold_the_planned_items() -> None:
    batch = next(iter(loader(TOKENS)))
    assert batch.input_ids.shape == (2, 32)
    tokens = batch.input_ids.flatten()
    for item, start, length in zip(
        batch.item_ids, batch.segment_starts, batch.segment_lengths, strict=True
    ):
        assert (tokens[start : start + length] == item).all()
    assert ((batch.input_ids == -7) == (batch.segment_ids == -1)).all()


@MODES
@pytest.mark.parametrize("workers", [0, 2])
def test_resumed_equals_uninterrupted_at_every_batch(mode: dict[str, int], workers: int) -> None:
    whole = loader(mode)
    expected = [ids(whole) for _ in range(3)]
    length = len(whole)
    for stop in range(1, 2 * length + 1) if workers == 0 else [length + 3]:
        first = loader(mode, workers=workers)
        left = stop
        while left:  # the last epoch is left in the middle, or just after its last batch
            for _ in itertools.islice(first, min(left, length)):
                left -= 1
        state = first.state_dict()
        assert set(map(type, state.values())) == {int}
        second = loader(mode, workers=workers)
        second.load_state_dict(state)
        epoch, position = divmod(stop, length)
        rest = [ids(second) for _ in range(3 - epoch)]
        assert rest == [expected[epoch][position:], *expected[epoch + 1 :]]


@MODES
def test_state_moves_to_another_number_of_ranks(mode: dict[str, int]) -> None:
    alone = loader(mode)
    batches = iter(alone)
    for _ in range(3):
        next(batches)
    ranks = [loader(mode, rank, 2) for rank in range(2)]
    for data in ranks:
        data.load_state_dict(alone.state_dict())
    shared = [sorted(a + b) for a, b in zip(*map(ids, ranks), strict=True)]
    assert shared == [sorted(batch) for batch in ids(batches)]
    assert ranks[0].state_dict() == ranks[1].state_dict() == alone.state_dict()


@pytest.mark.parametrize("workers", [0, 1])
def test_global_generators_are_never_drawn_from(workers: int) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    ids(loader(EXAMPLES, workers=workers))
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002


def test_an_iterator_that_was_not_used_changes_nothing() -> None:
    data = loader(TOKENS)
    iter(data)
    assert ids(iter(data)) == ids(loader(TOKENS))


@MODES
def test_an_epoch_cut_short_is_over(mode: dict[str, int]) -> None:
    data = loader(mode)
    whole = planned(data, 2 * len(data))
    next(iter(data))
    assert ids(data) == whole[len(data) : 2 * len(data)]


def test_evaluation_begins_anew_each_time() -> None:
    data = PackedLoader(
        Store(), EvaluationPlan(Store.lengths, tokens_per_batch=256), pad_token_id=0
    )
    next(iter(data))
    first, second = ids(data), ids(data)
    assert first == second
    assert sorted(i for batch in first for i in batch) == list(range(40))


def test_a_rank_without_examples_gets_filler() -> None:
    plan = EvaluationPlan(Store.lengths[:1], tokens_per_batch=64, world_size=2)
    (batch,) = PackedLoader(Store(), plan, pad_token_id=0, rank=1, world_size=2)
    assert (batch.num_examples, batch.input_ids.shape) == (0, (1, 1))


def test_loader_refuses_another_plan_and_another_epoch() -> None:
    plan = training_plan(Store.lengths, seed=0, **EXAMPLES)
    with pytest.raises(ValueError, match="rank 0 of 2 cannot follow a plan for 1"):
        PackedLoader(Store(), plan, pad_token_id=0, world_size=2)
    with pytest.raises(ValueError, match="batch 9 of an epoch that now has 8"):
        loader(EXAMPLES).load_state_dict({"epoch": 0, "position": 9})


@MODES
@pytest.mark.parametrize("by_steps", [False, True], ids=["max_epochs", "max_steps"])
def test_lightning_resumes_where_it_stopped(
    mode: dict[str, int], by_steps: bool, tmp_path: Path
) -> None:
    length = len(loader(mode))
    options = {"max_epochs": -1, "max_steps": 3 * length} if by_steps else {"max_epochs": 3}
    whole = fit(loader(mode), tmp_path, **options)
    assert [seen for _, seen in whole.seen] == planned(loader(mode), 3 * length)
    assert [epoch for epoch, _ in whole.seen] == [e for e in range(3) for _ in range(length)]
    # In the middle of an epoch, after its last batch, and after its end.
    for name, step in (("step4", 4), (f"step{length}", length), ("epoch0", length)):
        resumed = fit(loader(mode), resume=tmp_path / f"{name}.ckpt", **options)
        assert resumed.seen == whole.seen[step:], name
        assert resumed.weight == whole.weight


def test_lightning_resumes_with_a_worker(tmp_path: Path) -> None:
    whole = fit(loader(TOKENS, workers=1), tmp_path)
    resumed = fit(loader(TOKENS, workers=1), resume=tmp_path / "step4.ckpt")
    assert resumed.seen == whole.seen[4:]


@MODES
def test_lightning_counts_epochs_that_are_limited(mode: dict[str, int], tmp_path: Path) -> None:
    whole = fit(loader(mode), tmp_path, limit_train_batches=3)
    length = len(loader(mode))
    batches = planned(loader(mode), 3 * length)
    assert whole.seen == [(e, batches[e * length + i]) for e in range(3) for i in range(3)]
    for name, step in (("step2", 2), ("step3", 3), ("step4", 4), ("epoch1", 6)):
        resumed = fit(loader(mode), resume=tmp_path / f"{name}.ckpt", limit_train_batches=3)
        assert resumed.seen == whole.seen[step:], name


def test_lightning_saves_the_plain_state(tmp_path: Path) -> None:
    fit(loader(EXAMPLES), tmp_path)
    checkpoint = torch.load(tmp_path / "step10.ckpt", weights_only=True)
    state = checkpoint["loops"]["fit_loop"]["state_dict"]["combined_loader"]
    assert state == [{"epoch": 1, "position": 2}]


def test_workers_leave_signals_to_the_run() -> None:
    batches = iter(loader(EXAMPLES, workers=2))
    next(batches), next(batches)  # one of each worker
    for worker in multiprocessing.active_children():
        assert worker.pid is not None
        for name in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            os.kill(worker.pid, name)
    assert len(list(batches)) == len(loader(EXAMPLES)) - 2


@pytest.mark.parametrize("workers", [0, 2])
def test_items_are_prepared_as_a_function_of_batch_and_item(workers: int) -> None:
    def prepare(item: Item, batch: int, item_id: int) -> Item:
        return {**item, "labels": 1000 * batch + item_id}

    plan = training_plan(Store.lengths, seed=0, **TOKENS)
    data = PackedLoader(Store(), plan, pad_token_id=-7, prepare=prepare, num_workers=workers)
    for number, batch in enumerate(data):
        assert batch.targets["labels"].tolist() == [1000 * number + i for i in batch.item_ids]


@MODES
@pytest.mark.parametrize(("world_size", "accumulated"), [(1, 1), (1, 3), (2, 1), (2, 3)])
def test_batches_know_the_targets_of_their_whole_step(
    mode: dict[str, int], world_size: int, accumulated: int
) -> None:
    counts = {"masked": Store.lengths // 3, "sentence": np.ones(40, np.int64)}
    plan = training_plan(
        Store.lengths,
        seed=0,
        world_size=world_size,
        accumulate_grad_batches=accumulated,
        **mode,
    )
    ranks = [
        PackedLoader(
            Store(),
            plan,
            pad_token_id=0,
            rank=rank,
            world_size=world_size,
            target_counts=counts,
            accumulate_grad_batches=accumulated,
        )
        for rank in range(world_size)
    ]
    for _ in range(2):  # two epochs
        batches = list(zip(*ranks, strict=True))
        for first in range(0, len(batches), accumulated):
            step = [batch for batch in batches[first : first + accumulated] for batch in batch]
            items = torch.cat([batch.item_ids for batch in step]).numpy()
            wanted = {name: int(count[items].sum()) for name, count in counts.items()}
            assert [batch.totals for batch in step] == [wanted] * len(step)
