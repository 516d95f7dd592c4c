import io
import json
import sys

import pytest
import torch
import yaml
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
)

from lit_llm import predict_input
from lit_llm.backbone.backbone import Backbone
from lit_llm.batch import PackedBatch
from lit_llm.data.token_items import token_items
from lit_llm.objectives.sequence_classification import SequenceClassification
from lit_llm.objectives.token_classification import TokenClassification
from lit_llm.predict import main
from tests.references.tiny_runs import CHINESE, make_run, make_source, save_run

TAGS = ["O", "B-ORG", "I-ORG", "B-PER", "I-PER"]
# 20 sentences of 1 to 8 words; every word is 2 or 3 sub-words.
GENERATOR = torch.Generator().manual_seed(0)
SENTENCES = [
    " ".join(f"w{i}" for i in torch.randint(0, 99, (1 + n % 8,), generator=GENERATOR)) + " ."
    for n in range(20)
]


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    directory = tmp_path_factory.mktemp("reviews")
    data = {"truncation": "head", "max_length": 24}
    return make_run(directory, SequenceClassification, "bert", ["bad", "good"], data)


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    """Has learned the first sentence of ``CHINESE`` by heart, alone and after a symbol."""
    directory = tmp_path_factory.mktemp("tagger")
    torch.manual_seed(0)
    objective = TokenClassification(Backbone(make_source(directory / "source", "bert", plain=True)))
    objective.build(TAGS)
    words = list(CHINESE[:11])
    tags = ["B-PER", "I-PER", "I-PER", "O", "B-ORG", "I-ORG", "I-ORG", "I-ORG", "O", "O", "O"]
    labels = {tag: i for i, tag in enumerate(TAGS)}
    examples = [
        {"id": i, "words": i * ["😀"] + words, "tags": i * ["O"] + tags, "document": i}
        for i in range(2)
    ]
    items = list(token_items(examples, objective.backbone.tokenizer, 48, label_ids=labels))
    batch = PackedBatch.pack(items, [[0], [1]], 14, 0)
    objective.eval()  # no dropout
    optimizer = torch.optim.AdamW(objective.parameters(), lr=2e-2)
    for _ in range(60):
        total, count = objective.loss(objective.logits(batch), batch)
        optimizer.zero_grad()
        (total / count).backward()
        optimizer.step()
    assert total / count < 0.1
    return save_run(objective, directory, {"context": "document_windows", "max_length": 32})


def predict(capsys, *words):
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    assert code == 0, err
    return [json.loads(line) for line in out.splitlines()]


def refusal(capsys, *words):
    assert main([str(word) for word in words]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


def pipe(monkeypatch, data):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


@pytest.mark.parametrize("model_type", ["bert", "gpt2", "llama"])
def test_classified_texts_equal_plain_transformers_one_at_a_time(model_type, tmp_path, capsys):
    labels = ["bad", "fair", "good"]
    run = make_run(tmp_path, SequenceClassification, model_type, labels, {"max_length": 40})
    (tmp_path / "in.txt").write_text("\n".join(SENTENCES))
    records = predict(capsys, "--run", run, "--file", tmp_path / "in.txt", "--logits")
    model = AutoModelForSequenceClassification.from_pretrained(run / "best").eval()
    tokenizer = AutoTokenizer.from_pretrained(run / "best")
    assert [record["text"] for record in records] == SENTENCES
    for record in records:
        logits = model(**tokenizer(record["text"], return_tensors="pt")).logits[0].detach()
        ours = torch.tensor([record["logits"][name] for name in labels])
        torch.testing.assert_close(ours, logits, rtol=1e-4, atol=1e-5)
        ours = torch.tensor([record["probabilities"][name] for name in labels])
        torch.testing.assert_close(ours, logits.softmax(0), rtol=1e-4, atol=1e-5)
        assert record["label"] == labels[int(logits.argmax())]


def test_tagged_words_equal_plain_transformers_one_at_a_time(tmp_path, capsys):
    run = make_run(tmp_path, TokenClassification, "bert", TAGS, {"context": "none"})
    flags = [word for sentence in SENTENCES for word in ("--text", sentence)]
    records = predict(capsys, "--run", run, "--logits", *flags)
    model = AutoModelForTokenClassification.from_pretrained(run / "best").eval()
    tokenizer = AutoTokenizer.from_pretrained(run / "best")
    for sentence, record in zip(SENTENCES, records, strict=True):
        words = [word["text"] for word in record["words"]]
        assert words == sentence.split()
        inputs = tokenizer(words, is_split_into_words=True, return_tensors="pt")
        firsts = [inputs.word_ids().index(i) for i in range(len(words))]
        logits = model(**inputs).logits[0, firsts].detach()
        ours = torch.tensor([list(word["logits"].values()) for word in record["words"]])
        torch.testing.assert_close(ours, logits, rtol=1e-4, atol=1e-5)
        probabilities = logits.softmax(1).max(1).values
        for entity in record["entities"]:
            assert sentence[entity["start"] :].startswith(entity["text"])
            first = sentence[: entity["start"]].count(" ")
            last = first + entity["text"].count(" ") + 1
            product = float(probabilities[first:last].prod())
            assert entity["probability"] == pytest.approx(product, abs=1e-4)


def test_chinese_entities_have_the_offsets_of_their_characters(tagger, capsys):
    text = " 😀\u3000" + CHINESE[:11]  # a space, a character beyond 16 bits, a wide space
    first, second = predict(capsys, "--run", tagger, "--text", CHINESE[:11], "--text", text)
    for shift, record in ((0, first), (3, second)):
        found = [(e["type"], e["start"] - shift, e["text"]) for e in record["entities"]]
        assert found == [("PER", 0, "王小明"), ("ORG", 4, "北京大学")]
        for entity in record["entities"]:
            assert record["text"][entity["start"] : entity["end"]] == entity["text"]
            assert 0.5 < entity["probability"] <= 1


def test_each_word_of_several_sentences_has_its_own_tag(tagger, capsys):
    (record,) = predict(capsys, "--run", tagger, "--text", CHINESE, "--logits")
    assert "".join(word["text"] for word in record["words"]) == CHINESE
    for word in record["words"]:
        assert word["tag"] == max(word["logits"], key=word["logits"].get)
    assert {word["tag"] for word in record["words"]} > {"O", "B-PER", "I-PER"}


def test_given_words_keep_their_numbers_and_id(tagger, tmp_path, capsys):
    file = tmp_path / "in.jsonl"
    lines = [{"id": 7, "tokens": list(CHINESE[:11])}, {}, {"words": [], "id": None}]
    file.write_text("\n".join(json.dumps(line) if line else "" for line in lines))
    first, second = predict(capsys, "--run", tagger, "--file", file)
    assert first["id"] == 7
    assert first["text"] == " ".join(CHINESE[:11])
    assert first["tags"][:4] == ["B-PER", "I-PER", "I-PER", "O"]
    entity = first["entities"][1]
    assert (entity["word_start"], entity["word_end"]) == (4, 8)
    assert first["text"][entity["start"] : entity["end"]] == entity["text"] == "北 京 大 学"
    assert second == {"id": None, "text": "", "entities": [], "tags": []}


def test_empty_texts_get_empty_answers(reviews, tagger, capsys):
    for text in ("", " \t"):
        assert predict(capsys, "--run", tagger, "--text", text) == [{"text": text, "entities": []}]
        answer = {"text": text, "label": None, "probabilities": {}}
        assert predict(capsys, "--run", reviews, "--text", text) == [answer]


def test_lines_in_small_chunks_keep_their_order(reviews, capsys, monkeypatch):
    lines = [*SENTENCES, "", *SENTENCES[::-1]]
    data = "\r\n".join(lines).encode()
    answers = []
    for size in (512, 3):
        monkeypatch.setattr(predict_input, "CHUNK_SIZE", size)
        pipe(monkeypatch, data)
        answers.append(predict(capsys, "--run", reviews))
    assert [record["text"] for record in answers[0]] == lines
    for one, other in zip(*answers, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)


def test_context_reaches_up_to_an_empty_line(tagger, capsys, monkeypatch):
    def logits(data):
        pipe(monkeypatch, data.encode())
        records = predict(capsys, "--run", tagger, "--logits")
        return torch.tensor([list(word["logits"].values()) for word in records[-1]["words"]])

    alone, joined, apart = map(logits, ("w1 w2\n", "w3 w4\nw1 w2\n", "w3 w4\n\nw1 w2\n"))
    torch.testing.assert_close(alone, apart)
    assert not torch.allclose(alone, joined, atol=1e-3)


def test_long_texts_are_cut_as_in_training_and_counted(reviews, tagger, capsys):
    text = "w1 " * 30  # 60 sub-words; 22 fit
    assert main(["--run", str(reviews), "--text", text, "--text", "w1"]) == 0
    assert "1 of 2 texts cut, 38 of 62 tokens lost" in capsys.readouterr().err
    (record,) = predict(capsys, "--run", tagger, "--text", text, "--logits")
    assert [word["start"] for word in record["words"]] == list(range(0, 90, 3))


def test_windows_of_a_long_text_are_averaged(tmp_path, capsys):
    data = {"truncation": "windows", "max_length": 6}
    run = make_run(tmp_path, SequenceClassification, "bert", ["bad", "good"], data)
    texts = ["w1 w2 w3", "w1 w2", "w2 w3"]  # 6 sub-words: windows of 4, 2 apart
    flags = [word for text in texts for word in ("--text", text)]
    whole, first, second = (
        r["probabilities"]["good"] for r in predict(capsys, "--run", run, *flags)
    )
    assert whole == pytest.approx((first + second) / 2, abs=1e-5)


def test_several_labels_and_numbers_have_their_own_answers(tmp_path, capsys):
    names = ["dull", "fun", "long"]
    kind = "multi_label_classification"
    (tmp_path / "a").mkdir()
    run = make_run(tmp_path / "a", SequenceClassification, "bert", names, problem_type=kind)
    full, empty = predict(capsys, "--run", run, "--text", "w1", "--text", "", "--logits")
    for name, logit in full["logits"].items():  # a sigmoid each
        expected = float(torch.sigmoid(torch.tensor(logit)))
        assert full["probabilities"][name] == pytest.approx(expected, abs=1e-5)
        assert (name in full["labels"]) == (logit > 0)
    assert empty["labels"] == []
    run = make_run(tmp_path, SequenceClassification, "bert", ["value"], problem_type="regression")
    full, empty = predict(capsys, "--run", run, "--text", "w1", "--text", "", "--logits")
    assert full["value"] == full["logits"]["value"]
    assert empty["value"] is None


def test_output_file_appears_whole_or_not_at_all(reviews, tmp_path, capsys, monkeypatch):
    file = tmp_path / "out.jsonl"
    pipe(monkeypatch, b'{"text": "w1"}\n{"text": 1}\n')
    assert 'standard input:2: "text"' in refusal(capsys, "--run", reviews, "--output", file)
    assert list(tmp_path.iterdir()) == []
    assert predict(capsys, "--run", reviews, "--output", file, "--text", "w1") == []
    assert json.loads(file.read_text())["text"] == "w1"


def test_unusable_command_lines_are_refused_in_a_sentence(reviews, tmp_path, capsys, monkeypatch):
    assert "say which run" in refusal(capsys)
    assert "no config.yaml" in refusal(capsys, "--run", tmp_path, "--text", "a")
    (tmp_path / "config.yaml").write_text("model: 1")
    assert "no best" in refusal(capsys, "--run", tmp_path, "--text", "a")
    assert "--texts" in refusal(capsys, "--run", reviews, "--texts", "a")
    assert "no such file" in refusal(capsys, "--run", reviews, "--file", tmp_path / "none")
    assert "one of them" in refusal(capsys, "--run", reviews, "--text", "a", "--file", "b")
    pipe(monkeypatch, b"")
    assert "standard input is empty" in refusal(capsys, "--run", reviews)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    assert "nothing to predict" in refusal(capsys, "--run", reviews)


def test_classes_and_settings_of_the_run_are_checked(tmp_path, capsys, monkeypatch):
    run = make_run(tmp_path, SequenceClassification, "bert", ["bad", "good"])
    config = yaml.safe_load((run / "config.yaml").read_text())

    def refused(class_path=None, *flags, **init_args):
        model = {"class_path": class_path or config["model"]["class_path"], "init_args": init_args}
        (run / "config.yaml").write_text(yaml.safe_dump({**config, "model": model}))
        capsys.readouterr()
        return refusal(capsys, "--run", run, "--text", "a", *flags)

    (tmp_path / "intruder.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert "--allow_import intruder" in refused("intruder.Objective")
    assert "is no objective" in refused("lit_llm.batch.PackedBatch")
    assert "nothing" in refused("nothing.Objective", "--allow_import", "nothing")
    assert "pooling" in refused(pooling="best")
    assert "colour" in refused(colour="red")

    (run / "config.yaml").write_text(
        yaml.safe_dump({**config, "data": {"init_args": {"context": 1}}})
    )
    assert "data.init_args.context = 1" in refusal(capsys, "--run", run, "--text", "a")
    (run / "config.yaml").write_text("model: {class_path: [")
    assert "is not YAML" in refusal(capsys, "--run", run, "--text", "a")
