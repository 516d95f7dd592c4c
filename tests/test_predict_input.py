import pytest

from lit_llm import predict_input
from lit_llm.predict_input import Request, chunks, requests_of_stream, requests_of_texts


def read(data, name="standard input", input_format="auto"):
    return list(requests_of_stream(data.splitlines(keepends=True), name, input_format))


def test_lines_are_requests_and_empty_ones_end_documents():
    found = read(b"\xef\xbb\xbfa b\r\n{c\n\nd")
    assert [(r.text, r.document) for r in found] == [("a b", 0), ("{c", 0), ("", 1), ("d", 1)]
    assert [r.text for r in read(b"\n \n")] == ["", ""]


def test_a_brace_or_the_name_says_jsonl():
    line = b'{"text": "a"}'
    assert read(b"\n" + line) == [Request("a", document=1)]
    assert read(line, input_format="lines") == [Request('{"text": "a"}')]
    with pytest.raises(ValueError, match=r"x\.jsonl:1: not a line of JSON .* --input_format lines"):
        read(b"hello", "x.jsonl")


def test_objects_give_text_or_words_and_pass_their_id_on():
    found = read(b'{"text": "a", "id": 1}\n\n{"words": ["b", "c d"], "label": 2}\n{"tokens": []}')
    assert found == [
        Request("a", None, 0, {"id": 1}),
        Request("b c d", ["b", "c d"], 1),
        Request("", [], 1),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"text": ', "Expecting value at character 10"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[1]", "not a JSON object"),
        (b"{}", "only nothing given"),
        (b'{"label": 1}', "only label given"),
        (b'{"text": "a", "words": []}', "text and words given"),
        (b'{"text": null}', '"text" must be a string, not null'),
        (b'{"words": "a"}', '"words" must be a list of strings'),
        (b'{"tokens": [1]}', '"tokens" must be a list of strings'),
        (b'{"text": "\\ud800"}', "cannot be written as UTF-8"),
        (b'{"text": "\xff"}', "byte 0xff is not UTF-8"),
        (b"a\0b", "NUL"),
    ],
)
def test_bad_lines_are_named(line, message):
    with pytest.raises(ValueError, match=message) as error:
        read(b'{"text": "a"}\n' + line)
    assert str(error.value).startswith("standard input:2: ")


def test_inputs_without_anything_are_refused():
    with pytest.raises(ValueError, match="standard input is empty"):
        read(b"")
    with pytest.raises(ValueError, match="no JSON object"):
        read(b"\n\n", "x.jsonl")
    with pytest.raises(ValueError, match="UTF-16"):
        read("a".encode("utf-16"))
    with pytest.raises(ValueError, match="--text number 2"):
        list(requests_of_texts(["a", "\udcff"]))


def test_chunks_end_with_documents_unless_those_are_too_long(monkeypatch):
    monkeypatch.setattr(predict_input, "CHUNK_SIZE", 2)
    monkeypatch.setattr(predict_input, "LARGEST_CHUNK", 4)
    requests = [Request("", document=d) for d in (0, 0, 0, 1, 2, 2, 2, 2, 2, 2, 2)]
    notices = []

    def documents(whole):
        return [[r.document for r in c] for c in chunks(iter(requests), whole, notices.append)]

    assert documents(False) == [[0, 0], [0, 1], [2, 2], [2, 2], [2, 2], [2]]
    assert notices == []
    assert documents(True) == [[0, 0, 0], [1, 2, 2, 2], [2, 2, 2, 2]]
    assert len(notices) == 1
