import pytest

from lit_llm.objectives.identity import refuse_other_run

OURS = {
    "objective": "lit_llm.objectives.token_classification.TokenClassification",
    "label_names": ["O", "B-PER"],
    "backbone": {"model_type": "bert", "hidden_size": 384, "num_hidden_layers": 6},
    "tokenizer": "0a1b",
    "training data": "77",
}


def test_the_same_run_is_let_through():
    refuse_other_run(dict(OURS), OURS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objective": "my.Objective"}, r"objective \('my.Objective' there, 'lit_llm.*here\)"),
        ({"label_names": ["O"]}, r"label_names \(\['O'\] there, \['O', 'B-PER'\] here\)"),
        (
            {"backbone": {**OURS["backbone"], "hidden_size": 128}},
            r"backbone \(hidden_size 128 there, 384 here\)$",
        ),
        ({"tokenizer": "ffff"}, "tokenizer"),
        ({"training data": None}, r"training data \(None there, '77' here\)"),
        ({"tokenizer": "ffff", "label_names": []}, "label_names.*; tokenizer"),
    ],
    ids=str,
)
def test_what_differs_is_named(change, message):
    with pytest.raises(ValueError, match=f"this is another run's checkpoint: .*{message}"):
        refuse_other_run({**OURS, **change}, OURS)


def test_checkpoint_that_does_not_say_is_refused():
    with pytest.raises(ValueError, match="objective"):
        refuse_other_run({}, OURS)
