"""Continuations: transformers' own, from a run's best model."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM

from lit_llm.__main__ import main
from lit_llm.predict_input import Request
from lit_llm.predict_text import TextGenerator
from lit_llm.sampling import Sampling
from tests.helpers import save_tiny

STORIES = Path(__file__).parents[2] / "shared" / "models" / "stories260k"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run directory of a random GPT-2 whose tokenizer is WordPiece: [CLS] text [SEP]."""
    run = tmp_path_factory.mktemp("run")
    save_tiny(run / "best", AutoModelForCausalLM, ["x"], "gpt2", max_position_embeddings=40)
    model = {"class_path": "lit_llm.objectives.causal_lm.CausalLM", "init_args": {}}
    (run / "config.yaml").write_text(yaml.safe_dump({"model": model, "data": {}}))
    return run


def predict(capsys, run, *words):
    code = main(["predict", "--run", str(run), *words])
    shown = capsys.readouterr()
    return code, [json.loads(line) for line in shown.out.splitlines()], shown.err


def by_hand(run, text, count):
    """The most probable token, again and again, the whole text read anew each time."""
    generator = TextGenerator(run / "best", Sampling(), "cpu")
    tokenizer, model = generator.tokenizer, generator.model
    ids = tokenizer(text)["input_ids"][:-1]
    start = len(ids)
    with torch.no_grad():
        for _ in range(count):
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] == tokenizer.sep_token_id:
                break
    return tokenizer.decode(ids, skip_special_tokens=True), ids[start:]


def test_greedy_continuation_is_the_most_probable_token_each_time(run, capsys):
    code, (record,), _ = predict(capsys, run, "--text", "w1 w2", "--max_new_tokens", "12")
    assert code == 0
    assert record["text"] + record["continuation"] == by_hand(run, "w1 w2", 12)[0]


def test_samples_depend_on_the_seed_alone(run, capsys):
    words = ["--temperature", "1.5", "--top_p", "0.95", "--top_k", "30", "--max_new_tokens", "10"]

    def sample(seed, *texts):
        texts = [word for text in texts for word in ("--text", text)]
        return predict(capsys, run, *texts, *words, "--seed", seed)[1]

    first, second = sample("1", "w1", "w1")
    assert first == second == sample("1", "w5", "w1")[1]
    assert len({record["continuation"] for s in "12345" for record in sample(s, "w1")}) > 1


def test_one_candidate_left_is_greedy(run, capsys):
    greedy = predict(capsys, run, "--text", "w7", "--max_new_tokens", "8")[1]
    words = ["--text", "w7", "--max_new_tokens", "8", "--temperature", "2", "--top_k", "1"]
    assert predict(capsys, run, *words)[1] == greedy


def test_empty_text_begins_a_document(run):
    (record,) = TextGenerator(run / "best", Sampling(max_new_tokens=3))([Request("")])
    assert record["text"] == ""
    assert isinstance(record["continuation"], str)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--temperature", "-1"], "--temperature -1.0: 0 or more was expected"),
        (["--top_p", "1.5", "--temperature", "1"], "--top_p 1.5: above 0 and at most 1"),
        (["--top_k", "0", "--temperature", "1"], "--top_k 0: at least 1"),
        (["--top_k", "5"], "give --temperature too"),
        (["--max_new_tokens", "0"], "--max_new_tokens 0: at least 1"),
        (["--max_new_tokens", "60"], "more than the model's 40 positions"),
        (["--logits"], "--logits is for labels"),
    ],
)
def test_what_cannot_be_sampled_is_a_sentence(words, sentence, run, capsys):
    code, records, said = predict(capsys, run, "--text", "w1", *words)
    assert (code, records) == (1, [])
    assert sentence in said


@pytest.mark.skipif(not STORIES.is_dir(), reason="the stories model is not here")
def test_published_continuation_comes_back_character_for_character(tmp_path, capsys):
    """llama2.c's test_all.py gives 199 greedy tokens after the start token."""
    shutil.copytree(STORIES, tmp_path / "best")
    model = {"class_path": "lit_llm.objectives.causal_lm.CausalLM", "init_args": {}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"model": model, "data": {}}))
    _, (record,), _ = predict(capsys, tmp_path, "--text", "", "--max_new_tokens", "199")
    assert record["continuation"].startswith(
        "Once upon a time, there was a little girl named Lily. She loved to play outside in the "
        "park. One day, she saw a big, red ball."
    )
    print(record["continuation"])
