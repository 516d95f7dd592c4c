"""Masked LM and sentence prediction against transformers, packed against one example at a time."""

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import (
    AlbertForPreTraining,
    AutoModelForMaskedLM,
    AutoModelForPreTraining,
    AutoModelForTokenClassification,
    BertForMaskedLM,
    BertForPreTraining,
)

from lit_llm.backbone.backbone import Backbone
from lit_llm.batch import PackedBatch
from lit_llm.data.batch_config import BatchConfig
from lit_llm.data.corpus_source import CorpusSource
from lit_llm.data.masked_corpus import MaskedCorpus
from lit_llm.data.masking import MaskingConfig
from lit_llm.data.streaming import StreamingConfig
from lit_llm.data.word_pieces import continuing_pieces
from lit_llm.objectives.masked_lm import MaskedLM
from lit_llm.objectives.token_classification import TokenClassification
from lit_llm.optim import OptimizerConfig
from lit_llm.schedules import ScheduleConfig
from tests.helpers import NO_DROPOUT, TAGS, Recorder, pack_one_row, quick_trainer, save_tiny

EMPTY = PackedBatch.pack([], [], 3, pad_token_id=0)
NO_DROPOUT.setdefault("albert", {**NO_DROPOUT["bert"], "classifier_dropout_prob": 0.0})


def pair(length, second, positions, label):
    """An example of random words whose second segment begins at ``second``."""
    ids = torch.randint(5, 40, (length,), generator=torch.Generator().manual_seed(length))
    return {
        "input_ids": ids.numpy(),
        "token_type_ids": [0] * second + [1] * (length - second),
        "target_positions": positions,
        "labels": [(7 * p + length) % 35 + 5 for p in positions],
        "sentence_labels": label,
        "source_ids": label,
    }


EXAMPLES = [pair(9, 4, [1, 5, 6], 0), pair(3, 2, [], 1), pair(12, 8, [2], 1), pair(6, 3, [0, 4], 0)]


def by_hand(plain, weight):
    """Loss and gradients of the plain model, one example at a time, each term divided once."""
    masked, sentence = [], []
    for example in EXAMPLES:
        inputs = {k: torch.as_tensor(example[k])[None] for k in ("input_ids", "token_type_ids")}
        output = plain(**inputs)
        words = output.get("prediction_logits", output.get("logits"))[0]
        labels = torch.tensor(example["labels"], dtype=torch.long)
        masked.append(cross_entropy(words[example["target_positions"]], labels, reduction="sum"))
        order = output.get("seq_relationship_logits", output.get("sop_logits"))
        if weight is not None:
            wanted = torch.tensor([example["sentence_labels"]])
            sentence.append(cross_entropy(order, wanted, reduction="sum"))
    loss = sum(masked) / sum(len(e["labels"]) for e in EXAMPLES)
    if weight is not None:
        loss = loss + weight * sum(sentence) / len(EXAMPLES)
    loss.backward()
    return loss.item(), {name: p.grad for name, p in plain.named_parameters()}


CASES = [
    ("bert", AutoModelForMaskedLM, BertForMaskedLM, "none", None),
    ("bert", AutoModelForPreTraining, BertForPreTraining, "nsp", 0.7),
    ("albert", AutoModelForPreTraining, AlbertForPreTraining, "sop", 2.0),
]


@pytest.mark.parametrize(("kind", "task", "plain", "objective", "weight"), CASES)
def test_loss_and_gradients_equal_transformers(kind, task, plain, objective, weight, tmp_path):
    source = save_tiny(tmp_path, task, ["a", "b"], kind)
    loss, gradients = by_hand(plain.from_pretrained(source).train(), weight)
    extra = {} if weight is None else {"sentence_weight": weight}
    model = MaskedLM(Backbone(source), sentence_objective=objective, **extra)
    model.build([])
    batch = pack_one_row(EXAMPLES)
    model.training_step(batch, 0).backward()
    count = sum(len(example["labels"]) for example in EXAMPLES)
    means = {name: (total / n).item() for name, (total, n) in model.terms(batch).items()}
    found = sum(model.term_weights[name] * mean for name, mean in means.items())
    assert found == pytest.approx(loss, rel=1e-5)
    compared = 0
    with model.head.joined(model.backbone.model) as whole:
        for name, parameter in whole.named_parameters():
            if gradients[name] is not None:
                ours = parameter.grad / count
                torch.testing.assert_close(ours, gradients[name], rtol=1e-5, atol=1e-6)
                compared += 1
    assert compared > 20


@pytest.mark.parametrize("objective", ["none", "sop"])
def test_an_empty_batch_gives_zeros_that_hang_on_the_graph(objective, tmp_path):
    model = MaskedLM(
        Backbone(save_tiny(tmp_path, AutoModelForPreTraining, ["x"])), sentence_objective=objective
    )
    model.build([])
    loss = model.training_step(EMPTY, 0)
    assert loss.item() == 0.0
    loss.backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None and p.requires_grad]
    assert missing == []
    assert all((p.grad == 0).all() for p in model.parameters() if p.requires_grad)


def corpus(tmp_path, **settings):
    lines = [
        " ".join(f"w{(i * j) % 100}" for i in range(1, 9)) + ". W" + f"{j % 100} is here."
        for j in range(120)
    ]
    for name, some in (("a.txt", lines[:60]), ("b.txt", lines[60:])):
        (tmp_path / name).write_text(
            "\n---\n".join("\n\n".join(some[i : i + 4]) for i in range(0, 60, 4))
        )
    sources = [
        CorpusSource(str(tmp_path / name), document_marker="---") for name in ("a.txt", "b.txt")
    ]
    batches = BatchConfig(tokens_per_batch=256, row_length=64, seed=3)
    options = {"validation_fraction": 0.3, "max_length": 32, "batches": batches, **settings}
    return MaskedCorpus(sources, cache_dir=str(tmp_path / "cache"), **options)


def fit(tmp_path, objective="sop", data=None, tokenizer="train:150", **settings):
    recorder = Recorder()
    torch.manual_seed(0)
    # Its own tokenizer is trained on the corpus.
    model = MaskedLM(
        Backbone("tiny", tokenizer=tokenizer, hidden_dropout=0.0, attention_dropout=0.0),
        OptimizerConfig(lr=2e-3),
        ScheduleConfig("constant", warmup_fraction=0.0),
        sentence_objective=objective,
    )
    data = data or corpus(tmp_path)
    trainer = quick_trainer(tmp_path, logger=recorder, **settings)
    trainer.fit(model, data)
    return model, data, recorder, trainer


@pytest.mark.parametrize("objective", ["none", "nsp", "sop"])
def test_trains_from_raw_text_to_scores(objective, tmp_path):
    model, data, recorder, _ = fit(tmp_path, objective, max_epochs=3)
    losses = recorder.values("train/loss")
    assert sum(losses[-3:]) < sum(losses[:3])
    metrics = model.results["val"]["metrics"]
    assert metrics["masked_accuracy"] > 0.05
    assert ("sentence_accuracy" in metrics) == (objective != "none")
    references = data.reference_rows()
    if objective == "none":
        assert references == {}
        return
    names = {"sentence_accuracy_a", "sentence_accuracy_b", "sentence_accuracy_low"}
    assert names <= metrics.keys()
    assert metrics["loss"] == pytest.approx(metrics["masked_loss"] + metrics["sentence_loss"])
    assert {
        f"val/bag_of_words_sentence_accuracy{end}" for end in ("", "_a", "_b")
    } == references.keys()


def test_accumulated_batches_are_one_big_batch(tmp_path):
    """256 tokens at once, or 64 four times: the same items, masks by item, the same two terms."""

    def trained(tokens, accumulated):
        data = corpus(tmp_path, batches=BatchConfig(tokens_per_batch=tokens, row_length=64, seed=3))
        masks = data.prepare
        data.prepare = lambda split: lambda item, batch, i: masks(split)(item, 0, i)
        settings = {"max_steps": 3, "accumulate_grad_batches": accumulated, "limit_val_batches": 0}
        model, _, recorder, _ = fit(tmp_path, data=data, **settings)
        return recorder, {name: p.detach() for name, p in model.named_parameters()}

    (one, whole), (four, parts) = trained(256, 1), trained(64, 4)
    for name in ("train/loss", "train/masked_loss", "train/sentence_loss"):
        assert four.values(name) == pytest.approx(one.values(name), rel=1e-4)
    torch.testing.assert_close(parts, whole, rtol=1e-3, atol=1e-4)


def test_masks_change_from_epoch_to_epoch_and_not_in_validation(tmp_path):
    _, data, _, _ = fit(tmp_path, max_epochs=1)
    first, second = ([b.targets["positions"].tolist() for b in data.val_dataloader()] for _ in "ab")
    assert first == second
    loader = data.train_dataloader()
    seen = {}
    for _ in range(2):
        for batch in loader:
            for i, start, length in zip(
                batch.item_ids.tolist(), batch.segment_starts, batch.segment_lengths, strict=True
            ):
                inside = batch.targets["positions"] - start
                own = inside[(inside >= 0) & (inside < length)].tolist()
                seen.setdefault(i, set()).add(tuple(own))
    assert sum(len(masks) > 1 for masks in seen.values()) > len(seen) / 2


def masks_of(loader, epochs):
    """What each item was served as, (its ids, the variant named), by item."""
    seen = {}
    for _ in range(epochs):
        for batch in loader:
            names = batch.target("mask_variants").tolist() or [None] * batch.num_examples
            places = zip(batch.segment_starts.tolist(), batch.segment_lengths.tolist(), strict=True)
            for i, (start, length), name in zip(
                batch.item_ids.tolist(), places, names, strict=True
            ):
                ids = batch.input_ids.flatten()[start : start + length]
                seen.setdefault(i, set()).add((tuple(ids.tolist()), name))
    return seen


def test_each_item_has_as_many_masks_as_variants_and_sees_all_of_them(tmp_path):
    data = corpus(tmp_path, masking=MaskingConfig(rate=0.5, variants=3))
    fit(tmp_path, data=data, max_steps=1)
    seen = masks_of(data.train_dataloader(), epochs=40)
    assert all({name for _, name in masks} == {0, 1, 2} for masks in seen.values())
    assert all(len(masks) == 3 for masks in seen.values())
    entries = range(3 * len(seen))
    passed = [
        (i, start, batch)
        for batch in data.packed_pass(entries)
        for i, start in zip(batch.item_ids.tolist(), batch.segment_starts.tolist(), strict=True)
    ]
    assert sorted(i for i, *_ in passed) == list(entries)
    for entry, start, batch in passed:
        item, variant = divmod(entry, 3)
        [ids] = [ids for ids, name in seen[item] if name == variant]
        assert batch.input_ids.flatten()[start : start + len(ids)].tolist() == list(ids)
    sizes = data.targets_of_items()
    assert sum(sizes) * 3 == sum(len(b.targets["labels"]) for b in data.packed_pass(entries))


def test_one_variant_is_static_masking_and_none_leaves_no_trace(tmp_path):
    data = corpus(tmp_path, masking=MaskingConfig(variants=1))
    fit(tmp_path, data=data, max_steps=1)
    static = masks_of(data.train_dataloader(), epochs=2)
    assert all(len(masks) == 1 for masks in static.values())
    data = corpus(tmp_path)
    fit(tmp_path, data=data, max_steps=1)
    loader = data.train_dataloader()
    assert "mask_variants" not in next(iter(loader)).targets
    masks = data.prepare("train")  # the first batch's masks, served in every batch, are static
    loader.batches.prepare = lambda item, batch, i: masks(item, 0, i)
    ids = {i: {ids for ids, _ in found} for i, found in masks_of(loader, epochs=1).items()}
    assert ids == {i: {ids for ids, _ in static[i]} for i in ids}
    assert "mask_variants" not in next(iter(data.val_dataloader())).targets


def test_variants_of_items_that_are_not_kept_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"data.masking.variants names .* set one of them to null"):
        corpus(
            tmp_path,
            masking=MaskingConfig(variants=2),
            streaming=StreamingConfig(documents_per_block=2, steps_per_epoch=1),
            validation_fraction=0.0,
        )


def test_rate_one_and_no_replacement_is_the_text_itself(tmp_path):
    masking = MaskingConfig(rate=1.0, mask_fraction=0.0, random_fraction=0.0)
    _, data, _, _ = fit(tmp_path, data=corpus(tmp_path, masking=masking), max_steps=1)
    batch = next(iter(data.val_dataloader()))
    masked = batch.input_ids.flatten()[batch.targets["positions"]]
    assert masked.tolist() == batch.targets["labels"].tolist()
    assert len(masked) == int(batch.segment_lengths.sum()) - 3 * batch.num_examples


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "byte_level_bpe"])
def test_every_kind_of_tokenizer_masks_whole_words(kind, tmp_path):
    masking = MaskingConfig(unit="whole_word", mask_fraction=1.0, random_fraction=0.0)
    data = corpus(tmp_path, masking=masking)
    model, _, _, _ = fit(tmp_path, "nsp", data, f"train:{kind}:400", max_epochs=1)
    assert model.results["val"]["metrics"]["masked_loss"] > 0
    tokenizer = model.backbone.tokenizer
    continues = continuing_pieces(tokenizer)
    whole = several = 0
    for batch in data.val_dataloader():
        at, labels = batch.targets["positions"], batch.targets["labels"]
        ids = batch.input_ids.flatten()
        assert (ids[at] == tokenizer.mask_token_id).all()
        original = ids.clone()
        original[at] = labels
        masked = set(at.tolist())
        for place in masked:
            if continues[original[place]]:
                whole += place - 1 in masked
                several += 1
    # Only a word that does not fit the count any more is cut, at most one in an item.
    assert several == 0 or whole > 0.7 * several
    assert several > 10


def test_saved_run_opens_in_transformers_with_equal_loss(tmp_path):
    model, data, _, trainer = fit(tmp_path, "nsp", max_epochs=1)
    model.save(tmp_path / "saved")
    plain = BertForPreTraining.from_pretrained(tmp_path / "saved").eval()
    trainer.validate(model, data, verbose=False)
    total, count = 0.0, 0
    with torch.no_grad():
        for batch in data.val_dataloader():
            for i in range(batch.num_examples):
                start, length = int(batch.segment_starts[i]), int(batch.segment_lengths[i])
                flat = slice(start, start + length)
                ids, types = (
                    tensor.flatten()[flat][None]
                    for tensor in (batch.input_ids, batch.token_type_ids)
                )
                at = batch.targets["positions"]
                own = (at >= start) & (at < start + length)
                logits = plain(ids, token_type_ids=types).prediction_logits[0][at[own] - start]
                labels = batch.targets["labels"][own]
                total += cross_entropy(logits, labels, reduction="sum").item()
                count += len(labels)
    assert model.results["val"]["metrics"]["masked_loss"] == pytest.approx(total / count, rel=1e-5)


def test_hands_its_backbone_over(tmp_path, capsys):
    """To another objective, and to itself; the head stays behind where it has no place."""
    model, _, _, _ = fit(tmp_path, max_steps=1)
    model.save(tmp_path / "run" / "best")
    again = MaskedLM(
        Backbone("tiny", tokenizer=str(tmp_path / "run"), init_from=str(tmp_path / "run"))
    )
    again.build([])
    for name, value in model.backbone.state_dict().items():
        assert torch.equal(again.backbone.state_dict()[name], value), name


def test_hands_its_backbone_to_a_tagger(tmp_path):
    first = MaskedLM(
        Backbone(save_tiny(tmp_path / "first", AutoModelForPreTraining, ["a", "b"])),
        sentence_objective="sop",
    )
    first.build([])
    first.save(tmp_path / "run" / "best")
    other = save_tiny(tmp_path / "other", AutoModelForTokenClassification, TAGS, std=0.1)
    tagger = TokenClassification(Backbone(other, init_from=str(tmp_path / "run")))
    tagger.build(TAGS)
    for name, value in first.backbone.state_dict().items():
        assert torch.equal(tagger.backbone.state_dict()[name], value), name
    assert tagger.backbone.model.embeddings.word_embeddings.weight.std() > 0.2  # not 0.1


@pytest.mark.parametrize(
    ("source", "settings", "message"),
    [
        ("gpt2-tiny", {}, "is a decoder, whose tokens do not see what comes after"),
        ("tiny", {"sentence_weight": -1.0}, "sentence_weight must be at least 0, not -1.0"),
    ],
)
def test_what_cannot_be_masked_is_refused(source, settings, message):
    with pytest.raises(ValueError, match=message):
        MaskedLM(Backbone(source, tokenizer="train:100"), **settings)
