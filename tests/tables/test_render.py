import csv
import io
import statistics

import pytest

from lit_llm.study.study_file import Column
from lit_llm.tables.render import csv_text, markdown
from lit_llm.tables.statistics import Summary
from lit_llm.tables.study_table import StudyTable

COLUMNS = (Column("dev F1, strict", "fit", "val/f1"), Column("loss", "score", "loss"))
SUMMARIES = {
    "three": Summary((0, 1, 2), (0.8664, 0.8672, 0.8680)),  # 0.0008 apart: that is the spread
    "one": Summary((7,), (0.25,)),
    "none": Summary((), ()),
}


def table(rows, axes=("variant", "language"), notes=()):
    return StudyTable("my_study", axes, COLUMNS, tuple(rows), tuple(notes))


ROWS = [
    (("all_at_once", "de"), (SUMMARIES["three"], SUMMARIES["one"])),
    (("x", "english"), (None, SUMMARIES["none"])),
]


def lines(text):
    return [line for line in text.splitlines() if line.startswith("|")]


def words(line):
    return [word.strip() for word in line.strip("|").split("|")]


def test_markdown_holds_labels_figures_and_notes():
    text = markdown(table(ROWS, notes=["Commit abc.", "Not finished: x."]))
    assert text.startswith("# my_study\n\n|")
    heading, rule, first, second = lines(text)
    assert words(heading) == ["variant", "language", "dev F1, strict", "loss"]
    assert words(first) == ["all_at_once", "de", "0.8672 ± 0.0008 (3)", "0.2500 (1)"]
    assert words(second) == ["x", "english", "–", "–"]
    assert [word.endswith(":") for word in words(rule)] == [False, False, True, True]
    said = [line[2:] for line in text.splitlines() if line.startswith("- ")]
    assert said == ["Mean ± standard deviation over (n) seeds.", "Commit abc.", "Not finished: x."]
    assert text.endswith(".\n")


def test_markdown_columns_are_aligned():
    found = lines(markdown(table(ROWS)))
    places = [[i for i, letter in enumerate(line) if letter == "|"] for line in found]
    assert places == [places[0]] * 4
    assert "| x           | english  |" in found[3]  # labels to the left
    assert found[3].endswith("                   – |          – |")  # figures to the right


def test_a_study_without_variants_is_one_row():
    text = markdown(table([((), (SUMMARIES["three"], None))], axes=()))
    heading, _, row = lines(text)
    assert words(heading) == ["", "dev F1, strict", "loss"]
    assert words(row) == ["my_study", "0.8672 ± 0.0008 (3)", "–"]


@pytest.mark.parametrize(
    ("values", "figure"),
    [
        ((0.5, 0.25), "0.3750 ± 0.1768 (2)"),  # 0.25 / sqrt(2)
        ((14041.0, 14041.0), "14,041 (2)"),  # a count that is the same for all seeds
        ((14041.0,), "14,041 (1)"),
        ((0.0, 0.0), "0.0000 ± 0.0000 (2)"),
        ((-0.5,), "-0.5000 (1)"),
    ],
)
def test_a_figure_is_mean_spread_and_n(values, figure):
    row = ((), (Summary(tuple(range(len(values))), values), None))
    assert words(lines(markdown(table([row], axes=())))[2])[1] == figure


def test_csv_holds_every_figure_and_every_seed():
    values = (0.1, 0.2, 0.4)
    rows = [(("all_at_once", "de"), (Summary((0, 1, 2), values), SUMMARIES["one"])), ROWS[1]]
    found = list(csv.DictReader(io.StringIO(csv_text(table(rows)))))
    assert [row["column"] for row in found] == ["dev F1, strict", "loss"]  # nothing for nothing
    first, second = found
    assert (first["variant"], first["language"]) == ("all_at_once", "de")
    assert (first["stage"], first["metric"]) == ("fit", "val/f1")
    assert float(first["mean"]) == pytest.approx(7 / 30, rel=1e-15)
    assert float(first["std"]) == pytest.approx(statistics.stdev(values), rel=1e-15)
    assert (first["n"], first["seeds"]) == ("3", "0 1 2")
    assert [float(value) for value in first["values"].split()] == [*values]
    assert (second["std"], second["n"], second["seeds"], second["values"]) == ("", "1", "7", "0.25")


def test_csv_keeps_labels_and_headings_with_commas_and_quotes():
    column = Column('dev, "strict"', "fit", "val/f1")
    rows = ((("a",), (SUMMARIES["one"],)),)
    text = csv_text(StudyTable("s", ("v",), (column,), rows, ()))
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["v"], row["column"]) == ("a", 'dev, "strict"')
    assert text.endswith("\n")
    assert "\r" not in text
