import pytest

from lit_llm.strict_yaml import Document, did_you_mean, dotted, read_value


def document(directory, text):
    path = directory / "a.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Document(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", r"a\.yaml:3: a is given twice \(first in line 1\)"),
        ("a:\n  b: 1\n  c: 2\n  b: 1\n", r"a\.yaml:4: a\.b is given twice \(first in line 2\)"),
        ("- 1\n- {b: 1, c: 2,\n   b: 3}\n", r":3: \[1\]\.b is given twice \(first in line 2\)"),
        ("1: x\n'1': y\n", r":2: 1 is given twice \(first in line 1\)"),
    ],
)
def test_a_key_given_twice_is_refused_with_both_lines(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        document(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: [1, 2\nc: 3\n", r"a\.yaml:3: this is not YAML: "),
        ("a: b: c\n", r"a\.yaml:1: this is not YAML: mapping values are not allowed"),
        ("a: *missing\n", r"a\.yaml:1: this is not YAML: .*undefined alias"),
        ("a: !!python/object:os.system x\n", r"a\.yaml:1: this is not YAML: .*constructor"),
        ("a:\n  - !!set {b}\n", r"a\.yaml:2: this is not YAML: .*constructor"),
        ("a: !!binary aGk=\n", r"a\.yaml:1: this is not YAML: .*constructor"),
        ("a: 1\n---\nb: 2\n", r"a\.yaml:2: this is not YAML: .*another document"),
        (b"a: \xff\n", r"a\.yaml: this is not YAML: .*can't decode"),
        (b"a: \x01\n", r"a\.yaml(:1)?: this is not YAML: "),
        ("[1, 2]\n", r"a\.yaml: keys and values were expected, such as 'seed: 0'"),
        ("stages\n", r"a\.yaml: keys and values"),
        ("null\n", r"a\.yaml: keys and values"),
    ],
)
def test_what_is_no_yaml_mapping_is_refused_with_its_line(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        document(tmp_path, text)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"none\.yaml: there is no such file"):
        Document(tmp_path / "none.yaml")


def test_an_empty_file_is_an_empty_mapping(tmp_path):
    assert document(tmp_path, "# nothing yet\n").content == {}


def test_content_is_what_plain_yaml_reads(tmp_path):
    text = "base: &base {x: 1, y: [2, null]}\na: {<<: *base, x: 3}\nb: {x: yes}\n"
    assert document(tmp_path, text).content == {
        "base": {"x": 1, "y": [2, None]},
        "a": {"x": 3, "y": [2, None]},
        "b": {"x": True},
    }


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        (("a",), ":2: a: "),
        (("a", "b"), ":3: a.b: "),
        (("a", "b", 1), ":5: a.b[1]: "),
        (("a", "b", 1, "c"), ":5: a.b[1].c: "),
        (("a", "missing", "deeper"), ":2: a.missing.deeper: "),  # the nearest that is there
        (("missing",), ": missing: "),
    ],
)
def test_a_fault_names_file_line_and_key(tmp_path, keys, place):
    found = document(tmp_path, "# a comment\na:\n  b:\n  - 1\n  - c: 2\n").fault(keys, "is wrong")
    assert str(found) == f"{tmp_path / 'a.yaml'}{place}is wrong"


def test_unknown_keys_are_refused_at_their_line(tmp_path):
    found = document(tmp_path, "a:\n  one: 1\n  tow: 2\n")
    found.check_keys(found.content["a"], ("a",), ["one", "tow"])
    with pytest.raises(ValueError, match=r":3: a\.tow: there is no such key; did you mean two\?"):
        found.check_keys(found.content["a"], ("a",), ["one", "two"])
    with pytest.raises(ValueError, match=r":2: a\.one: a mapping was expected, not 1"):
        found.check_keys(1, ("a", "one"), [])


def test_keys_are_read_with_dots_and_positions():
    assert dotted(("stages", "finetune", "configs", 0)) == "stages.finetune.configs[0]"
    assert dotted(()) == ""


def test_the_closest_word_is_suggested_else_all():
    assert did_you_mean("sedes", ["seeds", "stages"]) == "; did you mean seeds?"
    assert did_you_mean("xyz", ["seeds", "grid"]) == "; there are grid, seeds"
    assert did_you_mean("xyz", []) == ""
    assert did_you_mean(1, ["seeds"]) == "; there are seeds"


def test_an_anchor_in_itself_is_refused(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("a: &a {b: *a}\n")
    with pytest.raises(ValueError, match=r"a\.yaml: an anchor in it refers to itself"):
        Document(path)


def test_dates_are_text_as_for_the_parser_of_the_command_line(tmp_path):
    text = "a: 2020-01-01\nb: [{c: 2020-1-1 10:00:00, 2021-02-03: x}]\n"
    expected = {"a": "2020-01-01", "b": [{"c": "2020-1-1 10:00:00", "2021-02-03": "x"}]}
    assert document(tmp_path, text).content == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4", 4),
        ("0.5", 0.5),
        ("no", False),
        ("null", None),
        ("[a, 1]", ["a", 1]),
        ("2020-01-01", "2020-01-01"),
        ("'4'", "4"),
        ("a: b: c", "a: b: c"),
        ("*", "*"),
    ],
)
def test_a_value_by_itself_is_what_a_file_would_hold(text, value, tmp_path):
    assert read_value(text) == value
    assert type(read_value(text)) is type(value)
