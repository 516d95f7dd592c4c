"""Training on a corpus that does not fit the disk: settings, and what they rule out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lit_llm.data.batch_config import BatchConfig
from lit_llm.data.corpus_source import CorpusSource
from lit_llm.data.document_stream import DocumentStream, Keep
from lit_llm.data.packing import DEFAULT_ROW_LENGTH
from lit_llm.data.stream_plan import StreamPlan
from lit_llm.data.streamed_blocks import MakeBlock, StreamedBlocks


@dataclass(frozen=True)
class StreamingConfig:
    """Training documents are read while the model trains, and never kept as a whole.

    Attributes:
        documents_per_block: documents that are tokenised, shuffled and packed together, on each
            rank; one or two blocks are on the disk at a time. The more there are, the better the
            order is mixed, and the longer the training waits for the next ones.
        steps_per_epoch: optimizer steps in an epoch of the trainer, since the corpus has no end.
    """

    documents_per_block: int = 10_000
    steps_per_epoch: int = 1_000

    def __post_init__(self) -> None:
        for key, value in asdict(self).items():
            if value < 1:
                raise ValueError(f"streaming.{key} must be at least 1, not {value}")


def check_streaming(
    streaming: StreamingConfig, batches: BatchConfig, max_length: int, trainer: Any
) -> None:
    """Refuse settings that have no meaning, or another one, where the corpus has no end.

    Raises:
        ValueError: batches by examples, workers, a curriculum, stages, rows too short for an
            item, or a number of epochs that ends the run before its number of steps.
    """
    if batches.tokens_per_batch is None:
        raise ValueError(
            "data.streaming lays out batches by tokens: set data.batches.tokens_per_batch"
        )
    if batches.num_workers:
        raise ValueError(
            f"data.batches.num_workers = {batches.num_workers}: a streamed corpus is read in its "
            "order, in the training process itself: set it to 0"
        )
    for key in ("curriculum", "stages"):
        if getattr(batches, key):
            raise ValueError(
                f"data.batches.{key} needs to know the whole corpus, which data.streaming does not "
                "read beforehand: leave one of them out"
            )
    if batches.row_length is not None and batches.row_length < max_length:
        raise ValueError(
            f"data.batches.row_length = {batches.row_length} is shorter than the longest item of a "
            f"streamed corpus, data.max_length = {max_length}: raise one or lower the other"
        )
    epochs, steps = trainer.max_epochs, trainer.max_steps
    if 0 <= (epochs or -1) * streaming.steps_per_epoch < steps:
        raise ValueError(
            f"trainer.max_epochs = {epochs}, of {streaming.steps_per_epoch:,} steps each "
            f"(data.streaming.steps_per_epoch), ends the run before trainer.max_steps = {steps:,}: "
            "set trainer.max_epochs to -1"
        )


def stream_plan(
    sources: Sequence[CorpusSource],
    streaming: StreamingConfig,
    batches: BatchConfig,
    trainer: Any,
    *,
    keep: Keep,
    make: MakeBlock,
    notices: dict[str, int],
    seed: int,
    cache_dir: Path,
    max_length: int,
    packs: bool,
) -> StreamPlan:
    """The plan of this rank's batches, from which its loader reads.

    Raises:
        OSError, ValueError: as ``DocumentStream``, ``StreamedBlocks`` and ``StreamPlan``.
    """
    assert batches.tokens_per_batch is not None
    rank, world_size = trainer.global_rank, trainer.world_size
    streams = [DocumentStream(source, cache_dir, rank, world_size, keep) for source in sources]
    size = streaming.documents_per_block
    return StreamPlan(
        StreamedBlocks(streams, size, make, cache_dir, notices, rank, world_size),
        seed=seed,
        tokens_per_batch=batches.tokens_per_batch,
        row_length=batches.row_length or max(DEFAULT_ROW_LENGTH, max_length),
        steps_per_epoch=streaming.steps_per_epoch,
        packs=packs,
        rank=rank,
        world_size=world_size,
        accumulate_grad_batches=trainer.accumulate_grad_batches,
    )
