"""Corpora that cannot be trained on, or not as they are: one sentence about it, or a count."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest
from tokenizers import Tokenizer, processors
from transformers import AutoModelForMaskedLM, PreTrainedTokenizerFast

from lit_llm.__main__ import main
from lit_llm.backbone.backbone import Backbone
from lit_llm.check_settings import _ReadOnly
from lit_llm.cli_options import own_options
from lit_llm.data.batch_config import BatchConfig
from lit_llm.data.causal_corpus import CausalCorpus
from lit_llm.data.corpus_source import CorpusSource
from lit_llm.data.masked_corpus import MaskedCorpus
from lit_llm.data.masking import MaskingConfig
from lit_llm.data.tokenizers import train_tokenizer
from lit_llm.objectives.masked_lm import MaskedLM
from tests.helpers import quick_trainer, save_tiny

SENTENCES = "The cat sat. A dog ran here. The mat was red. It sat on a hat."
DOCUMENTS = [SENTENCES.replace("cat", f"cat{i}") for i in range(20)]
EVERY = ["causal", "none", "nsp", "sop"]
ENCODER = "tiny"


def source(tmp_path, documents, name="text"):
    path = tmp_path / f"{name}.txt"
    path.write_text("\n---\n".join(documents))
    return CorpusSource(str(path), document_marker="---")


def prepared(tmp_path, task, documents=DOCUMENTS, tokenizer="train:300", backbone=None, **settings):
    """The data as the trainer would have it, for a causal or masked language model."""
    corpus = CausalCorpus if task == "causal" else MaskedCorpus
    name = backbone or ("gpt2-tiny" if task == "causal" else ENCODER)
    settings = {"validation_fraction": 0.3, "max_length": 32, **settings}
    data = corpus([source(tmp_path, documents)], cache_dir=str(tmp_path / "cache"), **settings)
    module = SimpleNamespace(
        backbone=Backbone(name, tokenizer=tokenizer), sentence_objective=task.replace("causal", "")
    )
    if task == "causal":
        del module.sentence_objective
    data.trainer = SimpleNamespace(lightning_module=module)
    data.prepare_data()
    return data


def tokenizer_directory(directory, template=None, **roles):
    """A WordPiece tokenizer with only the special roles that are named."""
    trained = train_tokenizer(DOCUMENTS, vocab_size=200)
    backend = Tokenizer.from_str(trained.backend_tokenizer.to_str())
    if template is not None:
        names = [(name, backend.token_to_id(name)) for name in ("[CLS]",) if name in template]
        backend.post_processor = processors.TemplateProcessing(
            single=template, pair=f"{template} $B", special_tokens=names
        )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", **roles)
    tokenizer.save_pretrained(directory)
    return str(directory)


@pytest.mark.parametrize("task", EVERY)
def test_empty_documents_are_counted_once(tmp_path, task):
    data = prepared(tmp_path, task, ["", " \n", "", *DOCUMENTS])
    what = "empty documents left out"
    assert data.notices["train"][what] == 3
    assert what not in data.notices["val"]


def test_documents_of_evaluation_sets_are_counted_in_their_split(tmp_path):
    known = source(tmp_path, DOCUMENTS[:8], "known")
    data = prepared(tmp_path, "causal", leave_out=[known])
    what = "documents left out, for their text stands in known"
    left = {split: data.notices[split][what] for split in ("train", "val")}
    assert sum(left.values()) == 8
    assert min(left.values()) > 0
    kept = sum(len(data.examples(split)) for split in ("train", "val"))
    assert kept == len(DOCUMENTS) - 8


@pytest.mark.parametrize("task", EVERY)
def test_leaving_everything_out_is_refused(tmp_path, task):
    known = source(tmp_path, DOCUMENTS, "known")
    with pytest.raises(ValueError, match=r"training: data.leave_out holds the text of all 1\d of"):
        prepared(tmp_path, task, leave_out=[known])


@pytest.mark.parametrize("task", ["causal", "none", "sop"])
def test_a_corpus_shorter_than_a_row_is_told(tmp_path, task, caplog):
    batches = BatchConfig(tokens_per_batch=1024, row_length=128)
    data = prepared(tmp_path, task, ["A cat."], validation_fraction=0.0, batches=batches)
    data.trainer.world_size = data.trainer.accumulate_grad_batches = 1
    data.trainer.global_rank = 0
    with caplog.at_level("INFO"):
        data.train_dataloader()
    assert "1 rows hold all the data, and a batch takes 8" in caplog.text
    counted = {"causal": "tokens to predict", "none": "tokens of text", "sop": "tokens of text"}
    assert 0 < data.notices["train"][counted[task]] < 10


@pytest.mark.parametrize("task", EVERY)
def test_a_single_group_is_not_split(tmp_path, task):
    with pytest.raises(ValueError, match=r"validation: the text is a single group .* to 0 to trai"):
        prepared(tmp_path, task, DOCUMENTS[:1])


def test_single_document_has_no_random_second_segment(tmp_path):
    with pytest.raises(ValueError, match=r"source 'text' has a single document .* to sop or none"):
        prepared(tmp_path, "nsp", DOCUMENTS[:1], validation_fraction=0.0)
    assert prepared(tmp_path, "sop", DOCUMENTS[:1], validation_fraction=0.0).has_split("train")


def test_documents_of_one_sentence_are_counted_or_refused(tmp_path):
    single = [f"Cat number {i} sat on the red mat." for i in range(20)]
    what = "sentences alone at a document's end, halved or with a random second segment"
    data = prepared(tmp_path, "sop", single)
    assert data.notices["train"][what] == len(data.examples("train"))
    with pytest.raises(ValueError, match=r"every one of the 1\d documents is a single sentence"):
        prepared(tmp_path, "nsp", single)


@pytest.mark.parametrize("task", ["none", "nsp", "sop"])
def test_sentences_longer_than_a_row_are_split_and_counted(tmp_path, task):
    long = [f"Cat {i} " + "and then it ran " * 20 + "home." for i in range(20)]
    two = [f"{one} {one}" for one in long]
    data = prepared(tmp_path, task, two)
    count = data.notices["train"]["sentences too long for their place, split"]
    assert count == 2 * len(data.examples("train"))
    assert "of them cut off and in no item" not in data.notices["train"]


@pytest.mark.parametrize("task", ["none", "nsp", "sop"])
def test_text_without_a_word_is_refused(tmp_path, task):
    tokenizer = train_tokenizer(DOCUMENTS, vocab_size=200)
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    empty = ["\u200b" * (i + 1) for i in range(9)]
    with pytest.raises(ValueError, match=r"none of the \d documents gives an item: they hold 0"):
        prepared(tmp_path, task, empty, tokenizer=str(tmp_path / "tokenizer"))


@pytest.mark.parametrize(
    ("fraction", "message"),
    [
        (1e-9, r"left for validation: of 20 groups, .* takes none; change it"),
        (1.0, r"left for training: of 20 groups, .* takes all; change it"),
        (2.0, r"data.validation_fraction must be in \[0, 1\], not 2.0"),
    ],
)
def test_a_split_that_gets_nothing_is_refused(tmp_path, fraction, message):
    with pytest.raises(ValueError, match=message):
        prepared(tmp_path, "causal", validation_fraction=fraction)


@pytest.mark.parametrize(
    ("task", "template", "roles", "message"),
    [
        ("none", None, {"sep_token": "[SEP]"}, r"backbone.tokenizer has no mask token"),
        ("sop", "[CLS] $A", {"mask_token": "[MASK]"}, r"puts no separator .* to none"),
        ("nsp", "[CLS] $A", {"mask_token": "[MASK]"}, r"puts no separator .* to none"),
        ("causal", "$A", {}, r"neither a start nor an end token, .* give it an eos_token"),
    ],
)
def test_a_missing_special_token_is_named(tmp_path, task, template, roles, message):
    directory = tokenizer_directory(tmp_path / "tokenizer", template, **roles)
    with pytest.raises(ValueError, match=message):
        prepared(tmp_path, task, tokenizer=directory)


@pytest.mark.parametrize("task", ["causal", "sop"])
def test_data_for_another_kind_of_backbone_is_refused(tmp_path, task):
    other = {"causal": "tiny", "sop": "gpt2-tiny"}[task]
    message = {"causal": "CausalCorpus is for decoders", "sop": "MaskedCorpus is for encoders"}
    with pytest.raises(ValueError, match=message[task]):
        prepared(tmp_path, task, backbone=other)


def test_a_rate_of_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"masking.rate = 0 and no sentence objective"):
        prepared(tmp_path, "none", masking=MaskingConfig(rate=0.0))
    assert prepared(tmp_path, "sop", masking=MaskingConfig(rate=0.0)).has_split("val")


@pytest.mark.parametrize("objective", ["nsp", "sop"])
def test_a_backbone_with_one_token_type_trains_on_pairs(tmp_path, objective, caplog):
    directory = save_tiny(tmp_path / "model", AutoModelForMaskedLM, ["x"], type_vocab_size=1)
    data = MaskedCorpus(
        [source(tmp_path, DOCUMENTS)],
        validation_fraction=0.3,
        max_length=32,
        batches=BatchConfig(examples_per_batch=4),
        cache_dir=str(tmp_path / "cache"),
    )
    with caplog.at_level("INFO"):
        model = MaskedLM(Backbone(directory), sentence_objective=objective)
    assert f"{objective}: bert has no token type for a second segment" in caplog.text
    quick_trainer(tmp_path, max_epochs=1).fit(model, data)
    assert model.results["val"]["metrics"]["sentence_loss"] > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"path": "{}/none.txt"}, "none.txt: no such file or directory; pass one, or a hub id"),
        ({"path": "owner/corpus"}, "HF_HUB_OFFLINE is set, so only local copies are read"),
        ({"path": "{}/mixed"}, "files of several kinds (a.jsonl, b.txt); pass one"),
        ({"path": "{}/latin.txt"}, "latin.txt:1: byte 0xe9 is not UTF-8"),
    ],
)
def test_the_command_says_one_sentence_and_trains_nothing(tmp_path, words, message, capsys):
    source(tmp_path, DOCUMENTS)
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    (tmp_path / "mixed").mkdir()
    for name in ("a.jsonl", "b.txt"):
        (tmp_path / "mixed" / name).write_text("{}\n")
    given = [{key: value.format(tmp_path) for key, value in words.items()}]
    assert main(fit(tmp_path, given)) == 1
    printed = capsys.readouterr().err
    assert message in printed.splitlines()[-1]
    assert "Traceback" not in printed
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("marker", ["---", "# end", "...", "null and void"])
def test_a_marker_that_yaml_takes_for_nothing_is_kept(tmp_path, marker, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["lit-llm"])
    given = [{"path": "text.txt", "document_marker": marker}]
    _, words = own_options(fit(tmp_path, given)[1:], "fit", {"--run_dir": ""})
    (found,) = _ReadOnly(words, None).config.data.init_args.sources
    assert found.document_marker == marker


def fit(tmp_path, sources):
    """The words that train a causal model for one step."""
    return [
        *("fit", "--config", "configs/causal_lm/toy.yaml", "--data.sources", json.dumps(sources)),
        *("--trainer.max_steps", "1", "--trainer.accelerator", "cpu"),
        *("--trainer.enable_progress_bar", "false", "--run_dir", str(tmp_path / "run")),
    ]
