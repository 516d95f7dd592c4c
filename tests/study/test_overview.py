"""What people see of a study: counts, time left, the end of a log."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from lit_llm.study.overview import Overview, duration, tail
from tests.references.fake_engine import CELLS, open_ledger

LOG = Path("cell.log")


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("lit_llm.study.overview.time.monotonic", lambda: now[0])
    return now


@pytest.fixture
def make_overview(tmp_path):
    cells = open_ledger(tmp_path).plan.cells

    def make(slots=1, terminal=False, **seconds):
        console = Console(file=io.StringIO(), width=300, force_terminal=terminal)
        return Overview(console, cells, slots, dict(seconds))

    return make


def said(overview):
    return overview.console.file.getvalue()


def test_lines_and_counts(make_overview, clock):
    overview = make_overview()
    cells = [overview.cells[name] for name in CELLS]
    overview.start(cells[0], "new", LOG)
    clock[0] += 48
    overview.done(cells[0])
    overview.start(cells[1], "new", LOG)
    overview.fail(cells[1], "exit code 3", LOG)
    overview.block(cells[4], CELLS[3])
    overview.start(cells[5], "interrupted", LOG)
    overview.stop(cells[5])
    overview.done(cells[2], "finished; its figures are not kept yet")
    overview.done(cells[3])
    assert said(overview).splitlines() == [
        f"start  {CELLS[0]}  (new; cell.log)",
        f"done   {CELLS[0]}  (48 s; 1 of 9 done)",
        f"start  {CELLS[1]}  (new; cell.log)",
        f"failed {CELLS[1]}: exit code 3; the end of cell.log:",
        f"not run {CELLS[4]}: it needs {CELLS[3]}",
        f"start  {CELLS[5]}  (interrupted; cell.log)",
        f"stopped {CELLS[5]}",
        f"done   {CELLS[2]}  (finished; its figures are not kept yet)",
    ]
    assert overview.counts() == "3 of 9 done, 1 failed, 1 not run"


def test_what_never_started_fails_without_a_log(make_overview, tmp_path):
    overview, log = make_overview(), tmp_path / "log"
    cell = overview.cells[CELLS[0]]
    log.write_text("an earlier command's end\n")
    overview.fail(cell, "a.yaml has changed", log)
    assert said(overview) == f"failed {CELLS[0]}: a.yaml has changed\n"
    overview.start(cell, "new", log)
    overview.fail(cell, "exit code 1", log)
    assert "exit code 1; the end of" in said(overview)
    assert "an earlier command's end" in said(overview)


def test_time_left_is_that_of_the_same_cells_else_of_the_same_stage(make_overview, clock):
    seconds = {CELLS[0]: 100.0, CELLS[1]: 10.0, CELLS[2]: 50.0, CELLS[3]: 200.0, CELLS[4]: 30.0}
    overview = make_overview(slots=2, **seconds)
    for name in CELLS[:5]:
        overview.done(overview.cells[name])
    # seeds 1: finetune as their own variant's, 100 and 200; score likewise, 10 and 30
    assert overview.seconds_left() == (100 + 200 + 10 + 30) / 2
    del overview.seconds[CELLS[3]], overview.seconds[CELLS[4]]
    assert overview.seconds_left() == (100 + 100 + 10 + 10) / 2
    overview.start(overview.cells[CELLS[5]], "new", LOG)
    clock[0] += 60
    assert overview.seconds_left() == (40 + 100 + 10 + 10) / 2
    clock[0] += 600
    assert overview.seconds_left() == (0 + 100 + 10 + 10) / 2
    assert overview.counts() == "5 of 9 done, about 60 s left"


def test_time_left_is_unknown_before_one_of_each_stage_is_done(make_overview, clock):
    overview = make_overview(**{CELLS[0]: 100.0, CELLS[2]: 50.0})
    assert overview.seconds_left() is None
    assert overview.counts() == "0 of 9 done"
    overview.start(overview.cells[CELLS[1]], "new", LOG)
    clock[0] += 10
    overview.done(overview.cells[CELLS[1]])
    assert overview.seconds_left() == 100 * 4 + 50 + 10 * 3


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (48.4, "48 s"),
        (99, "99 s"),
        (120, "2 min"),
        (720, "12 min"),
        (99 * 60, "99 min"),
        (11_100, "3 h 05 min"),
        (360_000, "100 h 00 min"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_tail_is_the_end_of_the_last_command(tmp_path):
    log = tmp_path / "log"
    assert tail(log) == []
    lines = "\n".join(f"line {number}" for number in range(40))
    log.write_bytes(f"\n$ lit-llm fit\nearlier\n\n$ lit-llm fit\n{lines}\n".encode())
    assert tail(log) == [f"line {number}" for number in range(28, 40)]
    with log.open("ab") as file:
        file.write("\n$ lit-llm fit\n10%\r50%\r100% \r\n\nlätt\n".encode() + b"\xff")
    assert tail(log)[-3:] == ["100%", "lätt", "\ufffd"]
    assert "line 39" not in tail(log)


def test_tail_of_a_long_log_is_quick_to_read(tmp_path):
    log = tmp_path / "log"
    log.write_text("word " * 100_000 + "\nthe end\n")
    assert tail(log)[-1] == "the end"
    assert sum(map(len, tail(log))) <= 20_000


@pytest.mark.parametrize("text", ["[red]loss[/red]", "[/]", "[bold", "a[0]\\[b]"])
def test_markup_characters_are_shown_as_they_are(text, make_overview, tmp_path):
    overview, log = make_overview(), tmp_path / "[green]log"
    cell = overview.cells[CELLS[0]]
    log.write_text(text)
    overview.say(text)
    overview.start(cell, text, log)
    overview.fail(cell, text, log)
    lines = said(overview).splitlines()
    assert lines[0] == text
    assert lines[1] == f"start  {CELLS[0]}  ({text}; {log})"
    assert lines[2] == f"failed {CELLS[0]}: {text}; the end of {log}:"
    assert lines[3] == f"         {text}"


@pytest.mark.parametrize("terminal", [False, True])
def test_only_a_terminal_shows_colours_and_a_live_table(terminal, make_overview):
    overview = make_overview(terminal=terminal)
    cell = overview.cells[CELLS[0]]
    with overview.showing():
        overview.start(cell, "new", LOG)
        if terminal:
            overview.showing().refresh()
    assert ("\x1b" in said(overview)) == terminal
    assert ("preparing" in said(overview)) == terminal


def test_live_table_shows_step_and_loss_of_what_runs(make_overview, clock):
    overview = make_overview()
    cell = overview.cells[CELLS[0]]
    cell.run_dir.mkdir(parents=True)
    rows = "".join(f"{step},0,{step}.123456789,\n" for step in range(2000))
    (cell.run_dir / "metrics.csv").write_text(
        f"step,epoch,train/loss,val/loss\n{rows}2000,1,,0.5\n"
    )
    overview.start(cell, "new", LOG)
    clock[0] += 61
    overview.console.print(overview.render())
    live = said(overview).splitlines()[1]
    assert live.split() == [
        CELLS[0],
        "61",
        "s",
        "epoch",
        "1",
        "step",
        "2000",
        "train/loss",
        "1999.12",
    ]
    assert "0 of 9 done" in said(overview)
