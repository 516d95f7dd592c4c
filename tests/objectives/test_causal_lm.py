"""Causal LM against transformers, packed against one document at a time."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, GPT2LMHeadModel, LlamaForCausalLM

from lit_llm.backbone.backbone import Backbone
from lit_llm.batch import PackedBatch
from lit_llm.data.batch_config import BatchConfig
from lit_llm.data.causal_corpus import CausalCorpus
from lit_llm.data.causal_items import served
from lit_llm.data.corpus_source import CorpusSource
from lit_llm.objectives.causal_lm import CausalLM
from lit_llm.optim import OptimizerConfig
from lit_llm.schedules import ScheduleConfig
from tests.helpers import NO_DROPOUT, Recorder, pack_one_row, quick_trainer, save_tiny

EMPTY = PackedBatch.pack([], [], 3, pad_token_id=0)
NO_DROPOUT.setdefault("llama", {})


def item(length):
    ids = torch.randint(5, 40, (length,), generator=torch.Generator().manual_seed(length)).numpy()
    return served({"input_ids": ids, "first": 0, "num_bytes": 2 * length})


@pytest.mark.parametrize(
    ("kind", "plain"), [("gpt2", GPT2LMHeadModel), ("llama", LlamaForCausalLM)]
)
def test_loss_and_gradients_equal_transformers(kind, plain, tmp_path):
    items = [item(length) for length in (9, 2, 17)]
    source = save_tiny(tmp_path, AutoModelForCausalLM, ["x"], kind)
    theirs = plain.from_pretrained(source).train()
    total, count = 0.0, sum(len(one["labels"]) for one in items)
    for one in items:
        ids = torch.as_tensor(one["input_ids"])[None]
        total = total + theirs(ids, labels=ids).loss * (ids.shape[1] - 1)
    (total / count).backward()
    model = CausalLM(Backbone(source))
    model.build([])
    batch = pack_one_row(items, row_length=30)
    loss = model.training_step(batch, 0)
    loss.backward()
    assert loss.item() == pytest.approx(total.item(), rel=1e-5)
    gradients = {name: p.grad for name, p in theirs.named_parameters()}
    with model.head.joined(model.backbone.model) as whole:
        for name, parameter in whole.named_parameters():
            ours = parameter.grad / count
            torch.testing.assert_close(ours, gradients[name], rtol=1e-5, atol=1e-6)


def test_a_tied_head_is_no_layer_of_its_own(tmp_path):
    model = CausalLM(Backbone(save_tiny(tmp_path, AutoModelForCausalLM, ["x"], "gpt2")))
    model.build([])
    groups = model.layer_groups()
    assert [name for name, _ in groups] == ["embeddings", "block 0", "block 1", "final"]
    ids = [id(p) for _, parameters in groups for p in parameters]
    assert sorted(ids) == sorted(id(p) for p in model.parameters())


def test_an_empty_batch_gives_a_zero_that_hangs_on_the_graph(tmp_path):
    model = CausalLM(Backbone(save_tiny(tmp_path, AutoModelForCausalLM, ["x"], "gpt2")))
    model.build([])
    loss = model.training_step(EMPTY, 0)
    assert loss.item() == 0.0
    loss.backward()
    assert all((p.grad == 0).all() for p in model.parameters() if p.requires_grad)


def test_trains_from_raw_text_and_counts_every_byte(tmp_path):
    documents = [" ".join(f"w{(i * j) % 30}" for i in range(1, 40)) for j in range(1, 40)]
    (tmp_path / "text.txt").write_text("\n---\n".join(documents))
    batches = BatchConfig(tokens_per_batch=256, row_length=64)
    source = CorpusSource(str(tmp_path / "text.txt"), document_marker="---")
    data = CausalCorpus(
        [source],
        validation_fraction=0.3,
        max_length=32,
        batches=batches,
        cache_dir=str(tmp_path / "cache"),
    )
    recorder = Recorder()
    torch.manual_seed(0)
    model = CausalLM(
        Backbone("gpt2-tiny", tokenizer="train:300", hidden_dropout=0.0, attention_dropout=0.0),
        OptimizerConfig(lr=3e-3),
        ScheduleConfig("constant", warmup_fraction=0.0),
    )
    trainer = quick_trainer(tmp_path, max_epochs=3, logger=recorder)
    trainer.fit(model, data)
    losses = recorder.values("train/loss")
    assert losses[-1] < 0.8 * losses[0]

    metrics = model.results["val"]["metrics"]
    assert metrics["perplexity"] == pytest.approx(math.exp(metrics["loss"]))
    model.save(tmp_path / "saved")
    plain = GPT2LMHeadModel.from_pretrained(tmp_path / "saved").eval()
    nats = count = 0.0
    with torch.no_grad():
        for batch in data.val_dataloader():
            for start, length in zip(batch.segment_starts, batch.segment_lengths, strict=True):
                ids = batch.input_ids.flatten()[start : start + length][None]
                logits = plain(ids).logits[0, :-1]
                nats += cross_entropy(logits, ids[0, 1:], reduction="sum").item()
                count += ids.shape[1] - 1
    texts = list(data.document_texts(data.examples("val")))
    size = sum(len(text.encode()) for text in texts)
    assert metrics["loss"] == pytest.approx(nats / count, rel=1e-5)
    assert metrics["bits_per_byte"] == pytest.approx(nats / math.log(2) / size, rel=1e-5)


def test_hands_its_backbone_to_another_causal_model(tmp_path):
    first = CausalLM(Backbone(save_tiny(tmp_path / "first", AutoModelForCausalLM, ["x"], "gpt2")))
    first.build([])
    first.save(tmp_path / "run" / "best")
    other = save_tiny(tmp_path / "other", AutoModelForCausalLM, ["x"], "gpt2", std=0.1)
    second = CausalLM(Backbone(other, init_from=str(tmp_path / "run")))
    second.build([])
    for name, value in first.backbone.state_dict().items():
        assert torch.equal(second.backbone.state_dict()[name], value), name


def test_encoder_is_refused():
    with pytest.raises(
        ValueError, match="is an encoder, whose tokens see what they should predict"
    ):
        CausalLM(Backbone("tiny", tokenizer="train:100"))
