"""A streamed corpus: items as without streaming, nothing lost, and resumed at any batch."""

import io
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lit_llm.data.batch_config import BatchConfig
from lit_llm.data.causal_corpus import CausalCorpus
from lit_llm.data.corpus_source import CorpusSource
from lit_llm.data.masked_corpus import MaskedCorpus
from lit_llm.data.packing import TokensPerBatch
from lit_llm.data.streaming import StreamingConfig
from lit_llm.data.tokenizers import train_tokenizer

NUMBER = 24
LENGTH = 16
DOCUMENTS = [
    "\n\n".join(f"w{i} has w{j} and w{i + j}. It is w{i * j}." for j in range(1, 2 + i % 4))
    for i in range(NUMBER)
]
TOKENS = BatchConfig(tokens_per_batch=96, row_length=24, seed=3)
KINDS = pytest.mark.parametrize("kind", ["causal", "none", "sop", "nsp"])


def source_of(directory, documents=DOCUMENTS, name="corpus", **options):
    path = directory / f"{name}.txt"
    path.write_text("\n---\n".join(documents))
    return CorpusSource(str(path), document_marker="---", **options)


def corpus(directory, kind="causal", block=5, sources=None, attached=True, trainer=(), **options):
    """A data module with the model and the trainer it belongs to; ``block=None`` to read whole."""
    streaming = block and StreamingConfig(documents_per_block=block, steps_per_epoch=4)
    settings = {
        "max_length": LENGTH,
        "batches": TOKENS,
        "validation_fraction": 0.0,
        "streaming": streaming,
        "cache_dir": str(directory / "cache"),
        **options,
    }
    module = CausalCorpus if kind == "causal" else MaskedCorpus
    data = module(sources or [source_of(directory)], **settings)
    return attach(data, kind, **dict(trainer)) if attached else data


def attach(data, kind="causal", rank=0, world_size=1, accumulated=1, **trainer):
    texts = [f"w{i} has and It is ." for i in range(100)]
    backbone = SimpleNamespace(
        tokenizer_state=dict,
        tokenizer=train_tokenizer(
            texts, "byte_level_bpe" if kind == "causal" else "wordpiece", 300
        ),
        tokenizer_to_train=None,
        max_positions=64,
        causal=kind == "causal",
        packs=True,
    )
    module = SimpleNamespace(backbone=backbone, sentence_objective=kind)
    steps = {"max_epochs": -1, "max_steps": 100, **trainer}
    data.trainer = SimpleNamespace(
        lightning_module=module,
        world_size=world_size,
        global_rank=rank,
        accumulate_grad_batches=accumulated,
        **steps,
    )
    data.prepare_data()
    data.setup("fit")
    return data


def plain(batch):
    """Everything a batch holds."""
    tensors = {name: t for name, t in vars(batch).items() if isinstance(t, torch.Tensor)}
    return {**{k: v.tolist() for k, v in (tensors | batch.targets).items()}, "totals": batch.totals}


def endless(loader):
    """Epoch after epoch."""
    while True:
        yield from loader


def batches(loader, count):
    """The next batches, over the ends of epochs."""
    return [plain(batch) for batch in islice(endless(loader), count)]


def texts_of(items):
    return sorted(tuple(item["input_ids"].tolist()) for item in items)


@KINDS
def test_items_are_those_made_without_streaming(kind, tmp_path):
    whole = corpus(tmp_path, kind, block=None)._items["train"]
    plan = corpus(tmp_path, kind, block=NUMBER).train_dataloader().plan
    plan.batch(0, 0)
    (packed,) = plan._packed
    assert len(packed.block.items) == len(whole)
    for ours, theirs in zip(packed.block.items, whole, strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name])


def test_rows_of_a_block_are_those_of_a_data_epoch(tmp_path):
    data = corpus(tmp_path, block=NUMBER)
    plan = data.train_dataloader().plan
    lengths = corpus(tmp_path, block=None)._items["train"].lengths
    whole = TokensPerBatch(lengths, seed=3, tokens_per_batch=96, row_length=24)
    for index in range(len(whole.data_epoch(0)) // 4):
        assert plan.batch(index, 0) == whole.batch(index, 0)


@KINDS
@pytest.mark.parametrize("world_size", [1, 3])
def test_every_item_of_every_document_is_served_once(kind, world_size, tmp_path):
    """Three passes, in blocks that end in the middle of a pass, and rows carried over."""
    for rank in range(world_size):
        data = corpus(tmp_path, kind, trainer={"rank": rank, "world_size": world_size})
        plan = data.train_dataloader().plan
        seen, row = [], 0
        while plan.blocks.streams[0].passes < 3:
            found = plan.batch(row, rank)
            assert len(found.rows) == plan.rows_per_batch
            seen += found.item_ids
            row += 1
        assert len(plan._packed) <= 2  # and no more than that is held
        assert len(set(seen)) == len(seen)
        assert {i % world_size for i in seen} == {rank}
        last_block = plan._packed[0].first_item
        numbers = sorted(i // world_size for i in seen)
        assert numbers[: last_block or None] == list(range(last_block or len(numbers)))


def test_ranks_together_serve_the_documents_of_a_pass(tmp_path):
    expected = texts_of(corpus(tmp_path, block=None)._items["train"])
    found = []
    for rank in range(2):
        data = corpus(tmp_path, block=12, trainer={"rank": rank, "world_size": 2})
        plan = data.train_dataloader().plan
        plan.batch(0, rank)
        found += plan._packed[0].block.items
    assert texts_of(found) == expected


@KINDS
@pytest.mark.parametrize("accumulated", [1, 3])
def test_resumed_equals_uninterrupted_at_every_batch(kind, accumulated, tmp_path):
    options = {"rank": 1, "world_size": 2, "accumulated": accumulated}
    data = corpus(tmp_path, kind, trainer=options)
    whole = data.train_dataloader()
    running = endless(whole)
    expected = batches(data.train_dataloader(), 30)
    for stop in range(24):
        file = io.BytesIO()
        torch.save(whole.state_dict(), file)
        file.seek(0)
        resumed = data.train_dataloader()
        resumed.load_state_dict(torch.load(file, weights_only=True))
        assert batches(resumed, 6) == expected[stop : stop + 6]
        assert plain(next(running)) == expected[stop]


def test_a_resumed_loader_reads_no_block_before_its_own(tmp_path):
    data = corpus(tmp_path)
    loader = data.train_dataloader()
    batches(loader, 20)
    state = loader.state_dict()
    (bookmark,) = state["bookmarks"].values()
    assert bookmark["blocks"]["block"] >= 5
    resumed = data.train_dataloader()
    made, make = [], resumed.plan.blocks.make_next
    resumed.plan.blocks.make_next = lambda: made.append(0) or make()
    resumed.load_state_dict(state)
    batches(resumed, 1)
    assert len(made) <= 2
    assert data.notices["train"]["documents read"] == loader.plan.blocks.notices["documents read"]


def test_without_its_bookmark_a_rank_reads_from_the_start(tmp_path):
    data = corpus(tmp_path)
    loader = data.train_dataloader()
    expected = batches(loader, 14)
    state = data.train_dataloader().state_at(2, 1) | {"bookmarks": {}}
    resumed = data.train_dataloader()
    resumed.load_state_dict(state)
    assert batches(resumed, 5) == expected[9:]


def test_states_of_the_ranks_are_joined(tmp_path):
    loaders = [
        corpus(tmp_path, trainer={"rank": rank, "world_size": 2}).train_dataloader()
        for rank in range(2)
    ]
    for loader in loaders:
        batches(loader, 9)
    state = loaders[0].joined([loader.state_dict() for loader in loaders])
    assert list(state["bookmarks"]) == [0, 1]
    assert state["bookmarks"][0] != state["bookmarks"][1]
    alone = corpus(tmp_path).train_dataloader()
    with pytest.raises(ValueError, match=r"streamed to 2 ranks, .* resume with 2, not 1"):
        alone.load_state_dict(state)
    with pytest.raises(ValueError, match="streamed to None ranks"):  # of a run without streaming
        alone.load_state_dict({"epoch": 0, "position": 0})


def test_weights_are_exact_shares(tmp_path):
    sources = [
        source_of(tmp_path, [f"a{i} w1" for i in range(7)], "a", weight=3.0),
        source_of(tmp_path, [f"b{i} w2" for i in range(50)], "b", weight=0.5),
    ]
    data = corpus(tmp_path, block=9, sources=sources)
    plan = data.train_dataloader().plan
    counts = np.zeros(2, int)
    for block in range(1, 11):
        items = plan.blocks.make_next().items
        counts += np.bincount(items.column("source_ids"), minlength=2)
        shares = np.array([6 / 7, 1 / 7]) * 9 * block
        assert (np.abs(counts - shares) <= 1).all()
    rare = [source_of(tmp_path, ["a"], "a", weight=100.0), sources[1]]
    with pytest.raises(ValueError, match="documents_per_block = 9 leaves no place for 'b'"):
        corpus(tmp_path, block=9, sources=rare).train_dataloader()


def test_pairs_of_a_document_differ_between_passes(tmp_path):
    plan = corpus(tmp_path, "nsp", block=NUMBER).train_dataloader().plan
    first, second = (texts_of(plan.blocks.make_next().items) for _ in range(2))
    assert first != second


@pytest.mark.parametrize("accumulated", [1, 3])
def test_totals_are_those_of_the_ranks_own_step(accumulated, tmp_path):
    trainer = {"rank": 1, "world_size": 2, "accumulated": accumulated}
    loader = corpus(tmp_path, "sop", trainer=trainer).train_dataloader()
    assert len(loader) == 4 * accumulated
    found = batches(loader, len(loader))
    for first in range(0, len(found), accumulated):
        step = found[first : first + accumulated]
        masked = sum(len(batch["labels"]) for batch in step)
        sentences = sum(len(batch["sentence_labels"]) for batch in step)
        assert masked > 0
        assert [b["totals"] for b in step] == [{"masked": masked, "sentence": sentences}] * len(
            step
        )


def test_nothing_is_left_on_the_disk(tmp_path):
    data = corpus(tmp_path, "nsp")
    batches(data.train_dataloader(), 10)
    assert not list((tmp_path / "cache").glob("*"))


def test_the_log_says_what_was_read(tmp_path, caplog):
    caplog.set_level("INFO")
    data = corpus(tmp_path)
    batches(data.train_dataloader(), 4)
    assert "so far this rank has read 5 documents" in caplog.text
    assert "(pass: corpus 1)" in caplog.text
    assert data.notices["train"]["documents read"] % 5 == 0


def test_validation_sources_are_read_whole_and_left_out_of_training(tmp_path):
    held_out = source_of(tmp_path, [*DOCUMENTS[3:6], "w1 is new."], "held_out")
    known = source_of(tmp_path, DOCUMENTS[7:9], "known")
    for block in (None, NUMBER - 5):
        data = corpus(
            tmp_path,
            "sop",
            block,
            validation_sources=[held_out],
            leave_out=[known],
            validation_fraction=0.0 if block else 0.3,
        )
        validation = list(data.document_texts(data.examples("val")))
        assert validation == [*DOCUMENTS[3:6], "w1 is new."]
        assert set(data._items["val"].column("source_ids")) == {1}
        assert data.source_names == ["corpus", "held_out"]
        loader = data.train_dataloader()
        next(iter(loader))
        assert data.notices["train"]["documents left out, for their text stands in held_out"] == 3
        assert data.notices["train"]["documents left out, for their text stands in known"] == 2
        if block is None:
            assert len(data.examples("train")) == NUMBER - 5


def test_validation_by_fraction_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"name data\.validation_sources, or set"):
        corpus(tmp_path, attached=False, validation_fraction=0.01)
    with pytest.raises(ValueError, match="exclude each other"):
        corpus(
            tmp_path,
            block=None,
            attached=False,
            validation_groups=["a"],
            validation_sources=[source_of(tmp_path, name="b")],
        )
    with pytest.raises(ValueError, match=r"built-in corpus \(path: toy\) is neither streamed"):
        corpus(tmp_path, sources=[CorpusSource("toy")], attached=False)


@pytest.mark.parametrize(
    ("batches", "trainer", "message"),
    [
        ({}, {}, "set data.batches.tokens_per_batch"),
        ({"examples_per_batch": 3}, {}, "set data.batches.tokens_per_batch"),
        ({"tokens_per_batch": 96, "num_workers": 1}, {}, "num_workers = 1: .* set it to 0"),
        ({"tokens_per_batch": 96, "row_length": 8}, {}, "row_length = 8 is shorter"),
        (
            {"tokens_per_batch": 256},
            {"max_epochs": 3},
            "max_epochs = 3, of 4 steps each .* before trainer.max_steps = 100: set .* to -1",
        ),
    ],
)
def test_settings_without_a_meaning_are_refused(batches, trainer, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        corpus(tmp_path, batches=BatchConfig(**batches), trainer=trainer)


def test_fewer_rows_than_ranks_are_refused(tmp_path):
    data = corpus(tmp_path, trainer={"rank": 4, "world_size": 5})
    with pytest.raises(ValueError, match="holds 4 rows of 24 tokens, fewer than the 5 ranks"):
        data.train_dataloader()


def test_a_tokenizer_is_not_trained_on_a_stream(tmp_path):
    data = corpus(tmp_path, attached=False)
    backbone = SimpleNamespace(tokenizer=None)
    data.trainer = SimpleNamespace(lightning_module=SimpleNamespace(backbone=backbone))
    with pytest.raises(ValueError, match="train one on a part of the text, without streaming"):
        data.prepare_data()


def test_numbers_below_one_are_refused():
    with pytest.raises(ValueError, match=r"documents_per_block must be at least 1"):
        StreamingConfig(documents_per_block=0)
