"""The loader: packed batches in the order of a plan, resumable in the middle of an epoch."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Protocol

import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from lit_llm.batch import Item, PackedBatch
from lit_llm.data.batch_rows import Plan


class ItemStore(Protocol):
    """Tokenised items that can be read in any order, in several processes."""

    def __getitem__(self, index: int, /) -> Item: ...


Prepare = Callable[[Item, int, int], Item]
"""What is made anew each time an item is served: (item, batch's number, item's id) to item."""


class PackedLoader:
    """Sized, with a length that never changes; what it hands out depends on the plan alone.

    Every ``iter`` is the next epoch: ``examples_per_batch`` reshuffles, ``tokens_per_batch`` goes
    on in its stream, evaluation begins anew. After ``load_state_dict`` the first ``iter`` yields
    what the stored epoch had left, or the next epoch if it had nothing left. Epoch e always begins
    at batch ``e * len(loader)`` of the plan, so what a limit (``limit_train_batches``, ``break``)
    cuts off is not seen.

    Under Lightning the trainer says which epoch it is (``set_epoch``). That is needed: it restores
    no loader's state from a checkpoint written in ``on_train_epoch_end`` (2.6.6; it does under
    ``max_steps``), and an epoch that is cut short is over although the loader has more.

    The state counts batches handed out, not those a worker prepared ahead; it is the same on every
    rank and for any number of ranks and workers. The global random generators are never drawn
    from, and items must not draw from them either.

    Args:
        items: the split's items.
        plan: which items stand in which row of which batch.
        pad_token_id: fills what is left of a row.
        rank: this process, from 0.
        world_size: as the plan's.
        num_workers: processes that lay batches out ahead of the model; 0 for none.
        pin_memory: in page-locked memory, for faster copies to a GPU.
        prepare: applied to each item as it is served (masking); a pure function.
        target_counts: how many targets each item has, (B,) by loss term, where a batch has to carry
            the totals of its whole optimizer step (``PackedBatch.totals``).
        accumulate_grad_batches: batches of an optimizer step.

    Raises:
        ValueError: the plan is for another number of ranks, or ``rank`` is none of them.
    """

    def __init__(
        self,
        items: ItemStore,
        plan: Plan,
        *,
        pad_token_id: int,
        rank: int = 0,
        world_size: int = 1,
        num_workers: int = 0,
        pin_memory: bool = False,
        prepare: Prepare | None = None,
        target_counts: Mapping[str, NDArray[Any]] | None = None,
        accumulate_grad_batches: int = 1,
    ) -> None:
        if plan.world_size != world_size or not 0 <= rank < world_size:
            raise ValueError(
                f"rank {rank} of {world_size} cannot follow a plan for {plan.world_size} ranks"
            )
        self.plan = plan
        totals = StepTotals(plan, target_counts or {}, accumulate_grad_batches)
        self.batches = _Batches(items, plan, pad_token_id, rank, prepare, totals)
        self.num_workers, self.pin_memory = num_workers, pin_memory
        self._epoch = 0
        self._position = 0  # batches of the epoch handed out
        self._restored = self._resumed = False  # a state was loaded; and no epoch begun since
        self._announced: int | None = None
        self._changed = False
        # Where Lightning looks for ``set_epoch``. A ``sampler`` of the loader's own would do too,
        # but ``overfit_batches`` would try to replace it.
        self.batch_sampler = SimpleNamespace(sampler=self)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self.plan)

    def __iter__(self) -> Iterator[PackedBatch]:
        """The epoch's batches; it begins when the first one is asked for."""
        self._begin()
        yield from self._rest()

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next ``iter`` belongs to; the stored one, if that is resumed."""
        self._announced = epoch

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers: the epoch, and how many of its batches were handed out."""
        return self.state_at(self._epoch, self._position)

    def state_at(self, epoch: int, position: int) -> dict[str, Any]:
        """The state when so many batches of an epoch were trained on."""
        return {"epoch": epoch, "position": position}

    def joined(self, states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """One state of all ranks' states, which are the same."""
        return dict(states[0])

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a stored state.

        Raises:
            ValueError: the epoch has fewer batches than were handed out.
        """
        if state["position"] > len(self):
            raise ValueError(
                f"the checkpoint was written after batch {state['position']} of an epoch that now "
                f"has {len(self)}: resume with the data and the batch settings it was trained with"
            )
        self._epoch, self._position = state["epoch"], state["position"]
        self._restored = self._resumed = True

    def _begin(self) -> None:
        """Settle which epoch this is and which batch is next."""
        unfinished = self._resumed and self._position < len(self)
        epoch = self._announced
        if epoch is None:
            epoch = self._epoch if unfinished or not self._position else self._epoch + 1
        elif self._restored and epoch > self._epoch:
            # Resumed under ``max_steps`` from the end of an epoch, Lightning counts that one twice.
            epoch = self._epoch + 1
        if epoch != self._epoch or not self._resumed:
            self._epoch, self._position = epoch, 0
        self._resumed, self._announced = False, None

    def order_changed(self) -> None:
        """The plan is another one from here on: what workers prepared ahead is laid out anew."""
        self._changed = True

    def _rest(self) -> Iterator[PackedBatch]:
        start = self._epoch * len(self)
        while self._position < len(self):
            self._changed = False
            loader: DataLoader[PackedBatch] = DataLoader(
                self.batches,
                batch_size=None,
                sampler=range(start + self._position, start + len(self)),
                num_workers=self.num_workers,
                pin_memory=self.pin_memory,
                generator=torch.Generator().manual_seed(start),
                worker_init_fn=_leave_signals_to_the_run,
            )
            for batch in loader:
                self._position += 1
                yield batch
                if self._changed:
                    break


def _leave_signals_to_the_run(worker: int) -> None:
    """Sent to a whole process group, a signal is for the run, which still wants its batches."""
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(name, signal.SIG_IGN)


class StepTotals:
    """How many targets the optimizer step of a batch has, on all ranks and in all its batches.

    Args:
        plan: of the batches.
        counts: (B,), targets of each item, by loss term.
        accumulate_grad_batches: batches of a step; an epoch's last step may have fewer.
    """

    def __init__(
        self, plan: Plan, counts: Mapping[str, NDArray[Any]], accumulate_grad_batches: int = 1
    ) -> None:
        self.plan, self.counts, self.per_step = plan, counts, accumulate_grad_batches
        self._last: tuple[range, dict[str, float]] = (range(0), {})

    def __call__(self, index: int) -> dict[str, float]:
        """By loss term; the last step asked for is kept."""
        if self.counts and index not in self._last[0]:
            epoch = index // len(self.plan) * len(self.plan)
            first = index - (index - epoch) % self.per_step
            step = range(first, min(first + self.per_step, epoch + len(self.plan)))
            ranks = range(self.plan.world_size)
            items = [i for b in step for r in ranks for i in self.plan.batch(b, r).item_ids]
            totals = {name: counts[items].sum().item() for name, counts in self.counts.items()}
            self._last = step, totals
        return self._last[1]


class _Batches(Dataset[PackedBatch]):
    """One rank's batches by their number in the plan; ``totals`` as ``StepTotals``."""

    def __init__(
        self,
        items: ItemStore,
        plan: Plan,
        pad_token_id: int,
        rank: int,
        prepare: Prepare | None,
        totals: Callable[[int], dict[str, float]],
    ) -> None:
        self.items, self.plan, self.pad_token_id, self.rank = items, plan, pad_token_id, rank
        self.prepare, self.totals = prepare, totals

    def __getitem__(self, index: int) -> PackedBatch:
        item_ids, rows, row_length = self.plan.batch(index, self.rank)
        chosen = [self.items[i] for i in item_ids]
        if self.prepare is not None:
            chosen = [
                self.prepare(item, index, i) for item, i in zip(chosen, item_ids, strict=True)
            ]
        totals = self.totals(index)
        return PackedBatch.pack(chosen, rows, row_length, self.pad_token_id, item_ids, totals)
