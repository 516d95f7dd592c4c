"""Rows against a row: the figures are those of the textbook, and of scipy."""

import math

import pytest

from lit_llm.study.columns import Column
from lit_llm.tables.comparison import Comparison, holm
from lit_llm.tables.render import markdown
from lit_llm.tables.statistics import Summary
from lit_llm.tables.student_t import cdf, quantile
from lit_llm.tables.study_table import StudyTable, study_table
from tests.references.finished_cells import opened, run

stats = pytest.importorskip("scipy.stats")


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 9, 10, 30])
def test_students_t_is_scipys(degrees):
    for t in (-30.0, -2.0, -0.1, 0.0, 0.5, 1.0, 4.0, 100.0):
        assert cdf(t, degrees) == pytest.approx(stats.t.cdf(t, degrees), abs=1e-12)
    for p in (0.001, 0.2, 0.5, 0.8, 0.975, 0.9995):
        assert quantile(p, degrees) == pytest.approx(stats.t.ppf(p, degrees), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cdf(1.0, 0), "at least one degree of freedom, not 0"),
        (lambda: quantile(1.0, 3), r"must lie in \(0, 1\), not 1.0"),
    ],
)
def test_what_is_no_distribution_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


OURS = Summary((3, 0, 1, 2), (0.9, 0.5, 0.6, 0.8))
THEIRS = Summary((0, 1, 2, 7), (0.4, 0.6, 0.6, 0.1))


def test_differences_are_paired_by_seed():
    found = Comparison.of(OURS, THEIRS)
    assert found.differences.seeds == (0, 1, 2)
    assert found.differences.values == pytest.approx((0.1, 0.0, 0.2))


def test_interval_and_p_value_are_scipys():
    found = Comparison.of(OURS, THEIRS)
    reference = stats.ttest_rel([0.5, 0.6, 0.8], [0.4, 0.6, 0.6])
    assert found.p_value == pytest.approx(reference.pvalue)
    low, high = reference.confidence_interval(0.95)
    assert found.half_width == pytest.approx((high - low) / 2)


def test_smallest_detectable_difference_by_hand():
    # Standard deviation 0.1 of three; t quantiles with 2 degrees at 0.975 and 0.8: 4.3027, 1.0607.
    expected = (4.302653 + 1.060660) * 0.1 / math.sqrt(3)
    found = Comparison(Summary((0, 1, 2), (0.1, 0.0, 0.2)))
    assert found.smallest_detectable == pytest.approx(expected, rel=1e-6)


def test_one_seed_says_nothing_of_chance_and_equal_ones_everything():
    single = Comparison(Summary((0,), (0.1,)))
    assert (single.p_value, single.half_width, single.smallest_detectable) == (None, None, None)
    assert Comparison(Summary((0, 1), (0.0, 0.0))).p_value == 1.0
    assert Comparison(Summary((0, 1), (0.5, 0.5))).p_value == 0.0


def test_holms_correction_by_hand():
    # Sorted 0.01, 0.02, 0.04: times 3, 2, 1, and never falling.
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_second_table_holds_the_differences():
    rows = (
        (("full",), (Summary((0, 1, 2), (0.5, 0.6, 0.7)), Summary((0,), (3000.0,)))),
        (("gradual",), (Summary((0, 1, 2), (0.6, 0.7, 0.8001)), Summary((0,), (4000.0,)))),
        (("other",), (Summary((0, 1, 2), (0.5, 0.7, 0.7)), None)),
        (("missing",), (Summary((), ()), Summary((5,), (1.0,)))),
    )
    columns = (Column("F1", "fit", "f1"), Column("seconds", "fit", "seconds"))
    text = markdown(StudyTable("s", ("variant",), columns, rows, (), {"variant": "full"}))
    second = text.split("## Against full\n")[1]
    lines = [line for line in second.splitlines() if line.startswith("| ")]
    assert "full" not in "".join(lines[2:])
    assert "**+0.1000 [+0.0999, +0.1002], p 0.000, detects 0.0002** (3)" in lines[2]
    assert lines[2].endswith(" +1,000 (1) |")
    assert "+0.0333 [-0.1101, +0.1768], p 0.423, detects 0.1788 (3)" in lines[3]
    assert [word.strip() for word in lines[4].strip("|").split("|")] == ["missing", "–", "–"]
    assert "(Holm)" in second


TEXT = """\
seeds: [0, 1]
stages: {fit: {}}
variants: {plain: {}, other: {fit.n: 2}}
table: {against: plain, columns: {F1: f1}}
"""


def test_a_study_names_the_row(tmp_path):
    ledger = opened(tmp_path, TEXT)
    for name, cell in ledger.plan.cells.items():
        run(ledger, name, metrics={"f1": 0.5 + 0.1 * cell.seed + 0.2 * ("other" in name)})
    ((labels, (found,)),) = study_table(ledger.plan, ledger).comparisons()
    assert labels == ("other",)
    assert found.differences.values == pytest.approx((0.2, 0.2))


GRID = """\
seeds: [0, 1]
stages: {fit: {}}
grid:
  size: {small: {}, large: {fit.n: 2}}
  fed: {words: {}, pages: {fit.m: 2}}
table: {against: {fed: words}, columns: {F1: f1}}
"""


def test_a_row_stands_beside_the_one_that_differs_in_one_axis(tmp_path):
    ledger = opened(tmp_path, GRID)
    gains = {"small,pages": 0.1, "large,words": 0.2, "large,pages": 0.5}
    for name, cell in ledger.plan.cells.items():
        run(ledger, name, metrics={"f1": 0.3 + 0.1 * cell.seed + gains.get(name.split("/")[0], 0)})
    table = study_table(ledger.plan, ledger)
    found = {labels: cells[0].differences.values for labels, cells in table.comparisons()}
    assert found == {
        ("small", "pages"): pytest.approx((0.1, 0.1)),
        ("large", "pages"): pytest.approx((0.3, 0.3)),
    }
    assert "## Against words, the same size\n" in markdown(table)


@pytest.mark.parametrize(
    ("against", "message"),
    [
        ("plane", "no value 'plane'.*plain"),
        ("[plain, other]", "a value of each of variant.*AXIS: VALUE"),
        ("{varient: plain}", "varient is not an axis of the table's rows.*variant"),
        ("{variant: plane}", "no value 'plane'.*plain"),
        ("{}", "a row was expected"),
    ],
)
def test_a_row_that_is_none_is_refused(tmp_path, against, message):
    with pytest.raises(ValueError, match=message):
        opened(tmp_path, TEXT.replace("against: plain", f"against: {against}"))
