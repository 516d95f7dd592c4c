"""A plan as text: the graph, and commands for a shell."""

import io
import shlex
import shutil
import subprocess

import pytest
from rich.console import Console

from lit_llm.study.drawing import commands, graph, summary
from tests.references.fake_engine import CELLS, STUDY, leave_results, open_ledger, run_study
from tests.references.tiny_study import tiny_study

GRAPH = """\
NAME: 9 commands, 9 to run
├── scratch/finetune  seeds 0 1: to run
│   └── scratch/score  seeds 0 1: to run
└── shared/start  seed 0: to run
    └── started/finetune  seeds 0 1: to run
        └── started/score  seeds 0 1: to run
"""


def drawn(ledger):
    console = Console(file=io.StringIO(), width=200)
    study = ledger.plan
    console.print(graph(study.study.name, study.cells, ledger.forecast()))
    return "".join(f"{line.rstrip()}\n" for line in console.file.getvalue().splitlines())


def lines(ledger):
    return list(commands(ledger.plan.cells, ledger.forecast()))


def test_graph_of_the_tiny_study(tmp_path):
    text = tiny_study(tmp_path).read_text()
    assert drawn(open_ledger(tmp_path, text)) == GRAPH.replace("NAME", tmp_path.name)


def test_graph_says_what_is_done_and_what_is_read_besides(tmp_path):
    run_study(tmp_path, **{"scratch/finetune/seed=1": 1})
    both = STUDY.replace('run: "${finetune}"', 'data.path: "${start}/x", run: "${finetune}"')
    ledger = open_ledger(tmp_path, both)
    text = drawn(ledger)
    assert f"{tmp_path.name}: 9 commands, 4 done, 5 to run\n" in text
    assert "scratch/finetune  seeds 0 1: 1 done, 1 to run\n" in text
    assert "    └── scratch/score  seeds 0 1: to run  (also reads shared/start)\n" in text


def test_summary_counts_what_is_to_be_done(tmp_path):
    ledger = open_ledger(tmp_path)
    verdicts = ledger.forecast()
    assert summary(verdicts) == "9 commands, 9 to run"
    assert summary({name: verdicts[name] for name in CELLS[:1]}) == "1 command, 1 to run"
    assert summary({}) == "0 commands"


def test_commands_stand_after_those_they_need(tmp_path):
    ledger = open_ledger(tmp_path)
    seen = set()
    for line, cell in zip(lines(ledger), ledger.plan.cells.values(), strict=True):
        program, *words = shlex.split(line)
        assert (program, tuple(words)) == ("lit-llm", cell.words)
        assert {str(ledger.plan.cells[need].run_dir) for need in cell.needs.values()} <= seen
        seen.add(str(cell.run_dir))


def test_what_is_done_is_a_comment_and_what_was_interrupted_is_resumed(tmp_path):
    ledger = open_ledger(tmp_path)
    run_study(tmp_path, **{CELLS[0]: 1, CELLS[3]: 1, CELLS[5]: 1})
    (tmp_path / "runs" / CELLS[0] / "config.yaml").touch()
    leave_results(tmp_path / "runs" / CELLS[3])
    shown = lines(open_ledger(tmp_path))
    assert shown[0] == f"lit-llm fit --resume {tmp_path / 'runs' / CELLS[0]}"
    assert shown[2] == f"# done: {CELLS[2]}"
    assert shown[3].startswith(f"# done: {CELLS[3]} (finished")
    assert shown[5] == f"lit-llm {shlex.join(ledger.plan.cells[CELLS[5]].words)}"


def test_done_cell_below_one_that_runs_again_says_so(tmp_path):
    run_study(tmp_path)
    longer = STUDY.replace("max_epochs: 1", "max_epochs: 3")
    shown = lines(open_ledger(tmp_path, longer))
    assert [line.split()[0] for line in shown] == ["#", "#", "mkdir", "mv", "lit-llm", *"######"]
    assert shown[5] == f"# judged again: {CELLS[3]} (done, if {CELLS[2]} leaves the same again)"
    assert shown[6] == f"# judged again: {CELLS[4]} (done, if {CELLS[3]} leaves the same again)"


@pytest.mark.parametrize("name", ["a study", "it's"])
def test_pasted_commands_start_where_an_earlier_run_stood(name, tmp_path):
    directory = tmp_path / name
    directory.mkdir()
    run_study(directory)
    longer = STUDY.replace("max_epochs: 1", "max_epochs: 3")
    (directory / "runs" / CELLS[1] / "results.json").unlink()  # a scoring that did not finish
    shutil.rmtree(directory / "results" / CELLS[1])
    for line in lines(open_ledger(directory, longer)):
        if not line.startswith("lit-llm"):
            subprocess.run(line, shell=True, check=True)
    for cell in (CELLS[1], CELLS[2]):
        assert not (directory / "runs" / cell).exists()
        (moved,) = (directory / "runs" / "replaced").glob(f"*/{cell}")
        assert (moved / "report.md").exists()


def test_resuming_by_hand_is_resuming_by_the_study(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    text = STUDY.replace("start: {settings: {", f"start: {{settings: {{data.path: {data}, ")
    text = text.replace("trainer.max_epochs: 1", "allow_import: [stars], trainer.max_epochs: 1")
    run_study(tmp_path, text=text, **{CELLS[2]: 1})
    (tmp_path / "runs" / CELLS[2] / "config.yaml").touch()
    ledger = open_ledger(tmp_path, text)
    line = next(line for line in lines(ledger) if "--resume" in line)
    cell = ledger.plan.cells[CELLS[2]]
    words, _ = ledger.start(cell, ledger.verdict(cell))
    assert shlex.split(line) == ["lit-llm", *words]
    assert words[3:] == ["--allow_import", '["stars"]', "--data.path", str(data)]


@pytest.mark.parametrize("name", ["a study", "it's", "$HOME", 'a "b"'])
def test_words_with_spaces_and_quotes_survive_the_shell(name, tmp_path):
    directory = tmp_path / name
    directory.mkdir()
    text = STUDY.replace("max_epochs: 2", 'max_epochs: 2, model.labels: ["B O", "I\'"]')
    ledger = open_ledger(directory, text)
    words = [tuple(shlex.split(line)[1:]) for line in lines(ledger)]
    assert words == [cell.words for cell in ledger.plan.cells.values()]
    assert any('["B O", "I\'"]' in line for line in words)
