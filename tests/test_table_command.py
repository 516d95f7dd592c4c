"""``lit-llm table``: prints what is finished, and says so when nothing is."""

import pytest

from lit_llm.__main__ import main
from tests.references.fake_engine import STUDY, run_study


@pytest.fixture
def table(tmp_path, capsys):
    def call(*words):
        places = ["--runs", str(tmp_path / "runs")]
        code = main(["table", str(tmp_path), *places, *words])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


def test_nothing_finished_is_a_sentence(table, tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    code, out, err = table()
    assert (code, out) == (1, "")
    assert err == (
        f"lit-llm table: {path}: there are no results of the study as it is now in "
        f"{tmp_path / 'results'}, so there is no table: lit-llm run {path}\n"
    )


def test_prints_what_it_writes_beside_the_results(table, tmp_path):
    run_study(tmp_path)
    code, markdown, err = table()
    assert (code, err) == (0, "")
    assert "| started " in markdown
    code, csv, _ = table("--csv")
    assert (code, csv.splitlines()[0].split(",")[0]) == (0, "variant")
    assert (tmp_path / "results" / "table.md").read_text() == markdown
    assert (tmp_path / "results" / "table.csv").read_text() == csv


def test_results_are_enough_where_the_runs_are_not(table, tmp_path):
    run_study(tmp_path)
    here = table()
    (tmp_path / "runs").rename(tmp_path / "elsewhere")
    assert table() == here


@pytest.mark.parametrize("words", [["--CSV"], ["more"], ["--set", "x"], ["--set", "x=1"]])
def test_wrong_words_are_a_sentence(words, table, tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY)
    code, out, err = table(*words)
    assert (code, out) == (1, "")
    assert err.startswith("lit-llm table: ")
    assert err.count("\n") == 1


def test_metric_that_is_not_there_is_named_with_the_nearest(table, tmp_path):
    run_study(tmp_path, text=STUDY.replace("test/loss", "test/los"))
    code, _, err = table()
    assert code == 1
    assert "study.yaml:10: table.columns.test loss: " in err
    assert "has no number 'test/los'; did you mean test/loss?" in err
