import re
import shutil
import statistics

import pytest

from lit_llm.tables.study_table import study_table
from lit_llm.tables.write import write_table
from tests.references.finished_cells import CHAIN, opened, run

TEXT = """\
seeds: [2, 0, 1]
stages: {fit: {}}
grid:
  n: {few: {}, many: {fit.n: 2}}
  lr: {low: {}, high: {fit.lr: 2}}
table:
  columns:
    F1: f1
    loss: train.loss
"""
FIRST = "few,low/fit/seed=2"
F1 = {
    ("few", "low"): [0.1, 0.2, 0.6],
    ("few", "high"): [0.5, 0.5, 0.5],
    ("many", "low"): [0.0, 1.0, 0.25],
    ("many", "high"): [1.0, 2.0, 4.0],
}


def filled(directory, text=TEXT, cells=lambda cell: True, **facts):
    """The study with figures known by hand; only the cells that are asked for."""
    ledger = opened(directory, text)
    for name, cell in ledger.plan.cells.items():
        if cells(cell):
            f1 = F1[tuple(cell.values.values())][cell.seed]
            run(ledger, name, metrics={"f1": f1}, train={"loss": f1 + 1}, **facts)
    return ledger


def table(ledger):
    return study_table(ledger.plan, ledger)


def notes(ledger, word):
    """The notes that speak of something."""
    return [note for note in table(ledger).notes if word in note]


def test_a_row_for_every_combination_and_a_summary_for_every_column(tmp_path):
    found = table(filled(tmp_path))
    assert (found.title, found.axes) == (tmp_path.name, ("n", "lr"))
    assert [column.name for column in found.columns] == ["F1", "loss"]
    assert [labels for labels, _ in found.rows] == list(F1)
    for labels, (f1, loss) in found.rows:
        assert (f1.seeds, f1.values, f1.n) == ((0, 1, 2), tuple(F1[labels]), 3)
        assert f1.mean == pytest.approx(statistics.fmean(F1[labels]))
        assert f1.std == pytest.approx(statistics.stdev(F1[labels]))
        assert loss.values == tuple(value + 1 for value in F1[labels])
    assert found.notes == ("Commit 0000000000.",)


def test_what_is_missing_is_counted_and_noted(tmp_path):
    ledger = filled(tmp_path, cells=lambda cell: cell.seed < 2 or cell.values["n"] == "few")
    counts = {labels: [s.n for s in cells] for labels, cells in table(ledger).rows}
    assert counts["few", "low"] == [3, 3]
    assert counts["many", "high"] == [2, 2]
    said = "Not finished: many,low/fit/seed=2, many,high/fit/seed=2."
    assert table(ledger).notes == (said, "Commit 0000000000.")


def test_more_than_six_missing_cells_are_counted(tmp_path):
    ledger = filled(tmp_path, cells=lambda cell: cell.group == "few,low/fit")
    (note,) = notes(ledger, "Not finished")
    assert note.count("seed=") == 6
    assert note.endswith(" and 3 more.")  # of 9
    assert [cells[0].n for _, cells in table(ledger).rows] == [3, 0, 0, 0]


def test_what_the_study_has_changed_since_is_left_out_and_noted(tmp_path):
    filled(tmp_path)
    changed = TEXT.replace("{fit.n: 2}", "{fit.n: 3}")
    ledger = opened(tmp_path, changed)
    rows = {labels: [s.n for s in cells] for labels, cells in table(ledger).rows}
    assert rows["few", "low"] == [3, 3]
    assert rows["many", "low"] == [0, 0]
    (note,) = notes(ledger, "Left out, for the study has changed since they ran")
    assert "many,low/fit/seed=0" in note
    assert notes(ledger, "Not finished") == []
    run(ledger, "many,low/fit/seed=1", metrics={"f1": 0.5}, train={"loss": 7.0})
    rows = dict(table(ledger).rows)
    assert [(s.seeds, s.values) for s in rows["many", "low"]] == [((1,), (0.5,)), ((1,), (7.0,))]


def test_mixed_commits_versions_and_precision_are_noted(tmp_path):
    text = TEXT.replace("seeds: [2, 0, 1]", "seeds: [0, 1]")
    ledger = filled(tmp_path, text, lambda cell: cell.seed == 0, precision="32-true")
    assert notes(ledger, "different") == []
    other = {"commit": "a" * 40 + "-dirty", "packages": {"torch": "2.14.0"}}
    filled(tmp_path, text, lambda cell: cell.seed == 1, precision="bf16-mixed", **other)
    said = notes(opened(tmp_path, text), "**Made")
    dirty = f"{'a' * 10} with uncommitted changes"
    assert said == [
        f"**Made with different commits:** 0000000000 (4 runs), {dirty} (4 runs).",
        "**Made with different versions of torch:** 2.13.0 (4 runs), 2.14.0 (4 runs).",
        "**Made in different precision:** 32-true (4 runs), bf16-mixed (4 runs).",
    ]


def test_mixed_commits_are_noted_of_what_the_shown_runs_read_from(tmp_path):
    text = CHAIN.replace("dev: {stage: finetune, metric: val/f1}, ", "")  # scores alone are shown
    ledger = opened(tmp_path, text)
    for name in ledger.plan.cells:
        old = "shared/start" in name
        packages = {"torch": "2.12.0" if old else "2.13.0"}
        run(ledger, name, commit=("a" if old else "b") * 40, packages=packages)
    assert table(ledger).notes == (
        f"**Made with different commits:** {'b' * 10} (8 runs), {'a' * 10} (1 run).",
        "**Made with different versions of torch:** 2.13.0 (8 runs), 2.12.0 (1 run).",
    )
    shutil.rmtree(tmp_path / "results" / "started")
    # what is not shown, and what is there for it alone, has no say
    assert table(opened(tmp_path, text)).notes[1] == f"Commit {'b' * 10}."


def test_finished_runs_that_are_not_kept_are_not_called_unfinished(tmp_path):
    filled(tmp_path, cells=lambda cell: cell.group == "few,low/fit")
    shutil.rmtree(tmp_path / "results" / FIRST)
    ledger = opened(tmp_path, TEXT)
    (note,) = notes(ledger, "Finished, and left out until lit-llm run takes them over")
    assert note.endswith(f": {FIRST}.")
    assert FIRST not in notes(ledger, "Not finished")[0]


def test_what_simple_methods_reach_is_noted_once(tmp_path):
    known = {"data": "Toy", "references": {"test/most_frequent_tag": 0.25}}
    ledger = filled(tmp_path, cells=lambda cell: cell.seed == 0, **known)
    assert notes(ledger, "Toy") == ["For comparison, on Toy: test/most frequent tag 0.250."]


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ("f1_", r"has no number 'f1_'; did you mean f1\?$"),
        ("train.lost", r"has no number 'train\.lost'"),
        ("train", r"has no number 'train'"),
        ("name", r"has no number 'name'"),
        ("flag", r"has no number 'flag'"),
    ],
)
def test_a_metric_that_is_not_there_is_refused_with_both_places(tmp_path, metric, said):
    text = TEXT.replace("F1: f1", f"F1: {metric}")
    ledger = filled(tmp_path, text, lambda cell: cell.name == FIRST, name="x", flag=True)
    file = tmp_path / "results" / FIRST / "results.json"
    place = f"{tmp_path / 'study.yaml'}:8: table.columns.F1: {file} "
    with pytest.raises(ValueError, match=re.escape(place) + said):
        table(ledger)


def test_a_figure_that_is_not_finite_is_left_out_and_noted(tmp_path):
    other = FIRST.replace("seed=2", "seed=0")
    ledger = opened(tmp_path, TEXT)
    run(ledger, FIRST, metrics={"f1": None, "train.loss": 1.0})
    run(ledger, other, metrics={"f1": 0.5, "train.loss": 2.0})
    found = table(ledger)
    assert found.notes[0] == f"**Not finite, and left out:** F1 of {FIRST}."
    assert found.rows[0][1][0].values == (0.5,)


def test_a_study_of_which_nothing_is_finished_has_no_table(tmp_path):
    with pytest.raises(
        ValueError, match=r"study\.yaml: there are no results .* in .*/results, .*: lit-llm run "
    ):
        table(opened(tmp_path, TEXT))


def test_an_axis_that_is_neither_row_nor_said_is_refused(tmp_path):
    text = TEXT.replace("table:\n", "table:\n  rows: n\n")
    message = r"study\.yaml:9: table\.columns\.F1: say which lr is meant \(lr: one of low, high\)"
    with pytest.raises(ValueError, match=message):
        table(filled(tmp_path, text, lambda cell: cell.name == FIRST))


def test_a_column_may_say_which_value_of_an_axis_it_shows(tmp_path):
    columns = "low: {metric: f1, lr: low}\n    high: {metric: f1, lr: high}\n"
    text = TEXT[: TEXT.index("  columns")] + f"  rows: n\n  columns:\n    {columns}"
    found = table(filled(tmp_path, text))
    assert [labels for labels, _ in found.rows] == [("few",), ("many",)]
    shown = [tuple(list(s.values) for s in cells) for _, cells in found.rows]
    assert shown == [(F1["few", "low"], F1["few", "high"]), (F1["many", "low"], F1["many", "high"])]


def test_a_stage_that_no_row_changes_shows_the_same_figures_in_all(tmp_path):
    text = CHAIN.replace("stage: finetune, metric: val/f1", "stage: start, metric: val/f1")
    ledger = opened(tmp_path, text)
    for seed, name in enumerate(ledger.plan.cells):
        run(ledger, name, metrics={"val/f1": 0.5, "test/f1": float(seed)})
    found = {labels: [s.values for s in cells] for labels, cells in table(ledger).rows}
    assert found == {("scratch",): [(0.5,), (1.0, 6.0)], ("started",): [(0.5,), (4.0, 8.0)]}


def test_the_table_is_written_beside_the_results(tmp_path):
    ledger = filled(tmp_path)
    shutil.rmtree(tmp_path / "runs")
    markdown = write_table(ledger)
    assert (tmp_path / "results" / "table.md").read_text() == markdown
    assert (tmp_path / "results" / "table.csv").read_text() == write_table(ledger, as_csv=True)
    assert "| few  | low  | 0.3000 ± 0.2646 (3) |" in markdown


def test_half_a_study_has_a_table_where_the_runs_it_goes_on_from_are_not(tmp_path):
    ledger = opened(tmp_path, CHAIN)
    for name in list(ledger.plan.cells):
        if "seed=1" not in name or "started" not in name:
            run(ledger, name)
    whole = table(opened(tmp_path, CHAIN))
    shutil.rmtree(tmp_path / "runs")
    assert table(opened(tmp_path, CHAIN)) == whole
    assert any(s.n == 1 for _, cells in whole.rows for s in cells if s is not None)


REACHES = """\
seeds: [0, 1, 2]
stages: {fit: {}}
variants: {plain: {}, easy: {fit.n: 2}, odd: {fit.n: 3}}
table:
  against: plain
  columns:
    steps to target: {metric: val/f1, reaches: 0.9}
    tokens to target: {metric: val/f1, reaches: 0.9, in: tokens}
    loss in seconds: {metric: val/loss, reaches: 1.5, mode: min, in: seconds}
"""
# Plain's best F1: 0.8, 0.9, 1.0, so the target is 0.81; its best loss: 1, the target 1.5.
CURVES = {
    "plain": [[0.5, 0.7, 0.8], [0.5, 0.82, 0.9], [0.81, 1.0, 0.3]],
    "easy": [[0.9, 0.1, 0.1], [0.1, 0.1, 0.85], [0.1, 0.1, 0.81]],
    "odd": [[0.8, 0.8, None], [0.1, 0.1, 0.1], [0.1, 0.9, 0.1]],
}


def evaluated(scores):
    return [
        {"step": 10 * i, "tokens": 99 * i, "seconds": 0.5 * i, "val/f1": score, "val/loss": 4 - i}
        for i, score in enumerate(scores, start=1)
    ]


def test_what_it_costs_to_reach_a_part_of_another_rows_best(tmp_path):
    ledger = opened(tmp_path, REACHES)
    for name, cell in ledger.plan.cells.items():
        run(ledger, name, evaluations=evaluated(CURVES[cell.values["variant"]][cell.seed]))
    found = {labels[0]: cells for labels, cells in table(ledger).rows}
    assert [(s.seeds, s.values, s.censored) for s in found["plain"]] == [
        ((1, 2), (20, 10), (0,)),
        ((1, 2), (198, 99), (0,)),
        ((0, 1, 2), (1.5, 1.5, 1.5), ()),  # losses are 3, 2 and 1
    ]
    assert found["easy"][0].values == (10, 30, 30)
    assert (found["odd"][0].values, found["odd"][0].censored) == ((20,), (0, 1))
    written = write_table(ledger)
    lines = [line.split("|") for line in written.splitlines()]
    rows = [(line[1].strip(), line[2].strip()) for line in lines if len(line) > 2]
    assert [figure for label, figure in rows if label in CURVES] == [
        "median 20, 2 of 3 reached it",
        "23.3 ± 11.5 (3)",
        "no median, 1 of 3 reached it",
        *("–", "–"),  # no difference from runs that never got there
    ]
    assert "first evaluation with val/f1 at 0.8100 or above, 0.9 of the mean best of" in written


def test_a_target_waits_for_the_row_that_sets_it(tmp_path):
    ledger = opened(tmp_path, REACHES)
    run(ledger, "easy/fit/seed=0", evaluations=evaluated([0.5]))
    assert {cell.n for _, cells in table(ledger).rows for cell in cells} == {0}


def test_runs_without_evaluations_reach_nothing_and_say_so(tmp_path):
    ledger = opened(tmp_path, REACHES)
    run(ledger, "easy/fit/seed=0")
    with pytest.raises(ValueError, match=r"seed=0/results.json has no evaluations of 'val/f1'"):
        table(ledger)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("reaches: 0.9}", "reaches: much}"), "a number above 0 was expected, not 'much'"),
        (("mode: min", "mode: least"), "'least' is not one of max, min"),
        (("in: tokens", "in: words"), "'words' is not one of steps, tokens, seconds"),
        (("reaches: 0.9, in: tokens", "in: tokens"), "in belongs to reaches"),
        (("against: plain", "rows: variant"), "name one row"),
    ],
)
def test_targets_that_make_no_sense_are_refused(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        opened(tmp_path, REACHES.replace(*change))
