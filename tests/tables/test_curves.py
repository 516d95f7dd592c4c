"""Curves are read whole, and drawn where matplotlib is installed."""

import pytest

from lit_llm.plot_command import main
from lit_llm.tables.curves import read_curves

LOG = """step,train/loss,val/loss
9,2.5,
19,1.5,
19,,1.75
"""


@pytest.fixture
def runs(tmp_path):
    found = [tmp_path / "study" / name / "finetune" for name in ("scratch", "pretrained")]
    for run in found:
        run.mkdir(parents=True)
        (run / "metrics.csv").write_text(LOG)
    return found


def test_each_metric_has_its_own_steps(runs):
    assert read_curves(runs[0], ["train/loss", "val/loss"]) == {
        "train/loss": ([9, 19], [2.5, 1.5]),
        "val/loss": ([19], [1.75]),
    }


def test_runs_are_drawn_under_what_tells_them_apart(runs, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    out = tmp_path / "curves.svg"
    assert main([*map(str, runs), "--out", str(out)]) == 0
    text = out.read_text()
    assert ">scratch<" in text
    assert ">pretrained<" in text
    assert ">val/loss<" in text
    assert capsys.readouterr().out == f"written: {out}\n"
    again = tmp_path / "again.svg"
    assert main([*map(str, runs), "--out", str(again)]) == 0
    assert again.read_text() == text
    again = tmp_path / "again.png"
    assert main([str(runs[0]), "--metrics", "val/loss", "--out", str(again)]) == 0
    assert again.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "nowhere/metrics.csv: no such file; name a run's directory"),
        (["{run}", "--metrics", "val/f1"], "no value of 'val/f1'; it has step, train/loss, val/"),
        (["{run}", "{run}"], "a run is given twice"),
    ],
)
def test_what_cannot_be_drawn_is_named(words, message, runs, capsys):
    assert main([word.format(run=runs[0]) for word in words]) == 1
    assert message in capsys.readouterr().err
