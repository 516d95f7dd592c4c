"""The loader of a streamed corpus: its state says from where to read on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lit_llm.data.loader import PackedLoader, Prepare
from lit_llm.data.stream_plan import StreamPlan


class StreamLoader(PackedLoader):
    """A ``PackedLoader`` over a ``StreamPlan``, which finds its place again without much reading.

    Beside the epoch and the batch, the same on all ranks, its state holds each rank's bookmark.
    ``joined`` puts the ranks' states together. A rank whose bookmark is missing (a checkpoint that
    some other callback wrote holds rank 0's alone) reads the corpus from its start up to the batch.

    Args:
        plan: of this rank; items are read from it in this process, in their order.
        pad_token_id: fills what is left of a row.
        prepare: applied to each item as it is served.
    """

    def __init__(
        self, plan: StreamPlan, *, pad_token_id: int, prepare: Prepare | None = None
    ) -> None:
        super().__init__(
            plan,
            plan,
            pad_token_id=pad_token_id,
            rank=plan.rank,
            world_size=plan.world_size,
            prepare=prepare,
        )
        self._stream = plan
        self.batches.totals = plan.totals

    def state_at(self, epoch: int, position: int) -> dict[str, Any]:
        """The state when so many batches of an epoch were trained on, with this rank's bookmark."""
        bookmark = self._stream.bookmark(epoch * len(self) + position)
        return {
            **super().state_at(epoch, position),
            "world_size": self._stream.world_size,
            "bookmarks": {self._stream.rank: bookmark},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a stored state.

        Raises:
            ValueError: it is of another number of ranks, or as ``PackedLoader``.
        """
        ranks = state.get("world_size")
        if ranks != self._stream.world_size:
            raise ValueError(
                f"the checkpoint's corpus was streamed to {ranks} ranks, and each reads its own "
                f"part: resume with {ranks}, not {self._stream.world_size}"
            )
        super().load_state_dict(state)
        if self._stream.rank in state["bookmarks"]:
            self._stream.go_to(state["bookmarks"][self._stream.rank])

    def joined(self, states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """One state of all ranks' states: their bookmarks together, the rest is the same."""
        bookmarks = {
            rank: bookmark for state in states for rank, bookmark in state["bookmarks"].items()
        }
        return {**states[0], "bookmarks": bookmarks}
