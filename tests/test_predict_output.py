import io
import json

import pytest
from rich.console import Console

from lit_llm.predict_output import JsonLines, Screen, open_output

TAGGED = {
    "id": 3,
    "text": "Ann saw\x1b[2J Bonn.",
    "entities": [
        {"type": "PER", "start": 0, "end": 3, "text": "Ann", "probability": 0.9},
        {"type": "LOC", "start": 12, "end": 16, "text": "Bonn", "probability": 0.8},
    ],
}
NAMES = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]


def shown(record, names, colours):
    console = Console(file=io.StringIO(), force_terminal=colours, color_system=colours or None)
    Screen(console, names).write([record])
    return console.file.getvalue()


def test_entities_without_colours_stand_in_brackets():
    assert shown(TAGGED, NAMES, None) == "3: [Ann PER] saw\ufffd[2J [Bonn LOC].\n"


def test_entities_in_colours_have_a_legend():
    text = shown(TAGGED, NAMES, "standard")
    assert text.index("entities:") < text.index("Ann")
    assert "\x1b[1;7;32mAnn\x1b[0m" in text
    assert "\x1b[1;7;36mBonn\x1b[0m" in text
    assert "\x1b[1;7;32m PER \x1b[0m" in text
    assert "\x1b[2J" not in text


def test_labels_have_a_bar_each_the_largest_first():
    record = {"text": "fine", "label": "good", "probabilities": {"bad": 0.25, "good": 0.75}}
    lines = shown(record, ["bad", "good"], None).splitlines()
    assert lines[:3] == [
        "fine",
        "  good " + "█" * 18 + "░" * 6 + "   75.0%",
        "  bad  " + "█" * 6 + "░" * 18 + "   25.0%",
    ]


def test_numbers_empty_texts_and_unknown_answers_are_shown():
    assert "value 1.5000" in shown({"text": "a", "value": 1.5}, ["value"], None)
    empty = {"text": "", "label": None, "probabilities": {}}
    assert shown(empty, ["bad"], None).startswith("(empty)\n")
    assert '"summary": "b"' in shown({"text": "a", "summary": "b"}, [], None)
    many = {"text": "a", "labels": [], "probabilities": {str(i): 0.1 for i in range(10)}}
    assert "and 2 more" in shown(many, list("0123456789"), None)


def test_json_is_escaped_only_where_the_stream_has_no_utf8():
    for encoding, written in (("utf-8", '"é"'.encode()), ("ascii", b'"\\u00e9"')):
        raw = io.BytesIO()
        stream = io.TextIOWrapper(raw, encoding)
        JsonLines(stream).write([{"text": "é"}])
        assert written in raw.getvalue()
        assert json.loads(raw.getvalue()) == {"text": "é"}


def test_output_is_written_through_links_and_refused_without_a_directory(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with open_output(tmp_path / "link") as stream:
        stream.write("a")
    assert (tmp_path / "file").read_text() == "a"
    assert (tmp_path / "link").is_symlink()
    for path in (tmp_path, tmp_path / "none" / "file"):
        with pytest.raises(ValueError, match="--output"), open_output(path):
            pass
