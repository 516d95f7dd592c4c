"""One packing plan after the other, each from the optimizer step that its stage begins with."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from lit_llm.data.batch_rows import BatchRows, Plan


class StagedPlan:
    """Batches of several plans in turn; a function of the batch's number and of recorded ends.

    Stages are counted in optimizer steps, and begin with one. A stage's own plan is followed from
    its beginning, without a gap.

    Args:
        plans: of each stage.
        steps: of each stage, at most; None where a metric alone ends it, and for the last.
        batches_per_epoch: ``len`` of this plan.
        trained_batches: of them, those an epoch of the trainer gets to (``limit_train_batches``).
        accumulate_grad_batches: batches of an optimizer step; an epoch's last may have fewer.
        waits: a metric may end a stage.

    Attributes:
        ends: the step at which a metric ended a stage, by its number; what a resumed run restores.
            None until whoever watches the metric has set it.
    """

    def __init__(
        self,
        plans: Sequence[Plan],
        steps: Sequence[int | None],
        batches_per_epoch: int,
        trained_batches: int,
        accumulate_grad_batches: int = 1,
        waits: bool = False,
    ) -> None:
        self.plans, self.steps = list(plans), list(steps)
        self.world_size = plans[0].world_size
        self._length, self._trained = batches_per_epoch, trained_batches
        self._per_step = accumulate_grad_batches
        self.ends: dict[int, int] | None = None if waits else {}

    def __len__(self) -> int:
        return self._length

    @property
    def starts(self) -> list[int]:
        """The step each stage begins with, as far as that is known.

        Raises:
            ValueError: stages wait for a metric, and nothing watches it.
        """
        if self.ends is None:
            raise ValueError(
                "batches.stages: nothing watches what until waits for; give the trainer the "
                "callback lit_llm.callbacks.staged_data.StagedData"
            )
        starts = [0]
        for stage, steps in enumerate(self.steps[:-1]):
            if stage in self.ends:
                starts.append(self.ends[stage])
            elif steps is not None:
                starts.append(starts[-1] + steps)
            else:
                break
        return starts

    def stage_at(self, step: int) -> int:
        """The number of the stage that a step belongs to, from 0."""
        return bisect_right(self.starts, step) - 1

    def batch(self, index: int, rank: int) -> BatchRows:
        """The rank's rows of a global batch."""
        epoch, within = divmod(index, self._length)
        steps_per_epoch = -(-self._trained // self._per_step)
        stage = self.stage_at(epoch * steps_per_epoch + within // self._per_step)
        epochs, steps = divmod(self.starts[stage], steps_per_epoch)
        first = epochs * self._trained + steps * self._per_step
        return self.plans[stage].batch(epoch * self._trained + within - first, rank)
