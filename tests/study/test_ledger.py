import json
import shutil
import time
from collections import Counter

import pytest

from tests.references.finished_cells import (
    CHAIN,
    fake_run,
    kinds,
    opened,
    run,
    run_all,
    write_study,
)

START = "shared/start/seed=0"
FINETUNE, SCORE = "started/finetune/seed=1", "started/score/seed=1"


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    return run_all(opened(tmp_path_factory.mktemp("once"))).results.parent


@pytest.fixture
def done(tmp_path, once):
    """A directory in which the whole chain has run."""
    return shutil.copytree(once, tmp_path / "done")


def changed(directory, old, new):
    """The study after an edit, as a new process sees it."""
    assert old in CHAIN
    return opened(directory, CHAIN.replace(old, new))


def forecast(ledger):
    """What is not done: name -> kind and reason."""
    found = ledger.forecast().items()
    return {name: (v.kind, v.why) for name, v in found if v.kind != "done"}


def test_everything_of_a_new_study_has_to_run(tmp_path):
    ledger = opened(tmp_path)
    assert set(forecast(ledger).values()) == {("run", "new")}
    assert len(forecast(ledger)) == len(ledger.plan.cells) == 9


def test_what_has_run_is_done_here_and_on_another_machine(tmp_path):
    text = CHAIN.replace("DATA", "data/of/another/machine")
    write_study(tmp_path, text)  # and the data
    run_all(opened(tmp_path, text, data=str(tmp_path / "data")))
    assert forecast(opened(tmp_path, text, data=str(tmp_path / "data"))) == {}
    shutil.rmtree(tmp_path / "runs")
    assert forecast(opened(tmp_path, text)) == {}
    said = forecast(opened(tmp_path, text, data="somebody/else"))
    assert said[START] == ("run", "data.path")


def test_a_finished_run_that_was_not_kept_is_kept(tmp_path):
    ledger = opened(tmp_path)
    cell = ledger.plan.cells[START]
    ledger.start(cell, ledger.verdict(cell))
    fake_run(cell)
    again = opened(tmp_path)
    assert kinds(again)[START] == "keep"
    again.finish(cell, None)
    assert kinds(again)[START] == kinds(opened(tmp_path))[START] == "done"
    # as it was started, not as the study is now
    shutil.rmtree(tmp_path / "results")
    other = changed(tmp_path, "start: {settings: {", "start: {settings: {n: 1, ")
    assert forecast(other)[START] == ("run", "new")


@pytest.mark.parametrize(
    ("name", "config", "text", "kind"),
    [
        (START, True, CHAIN, "resume"),
        (START, False, CHAIN, "run"),  # it had not begun
        (SCORE, True, CHAIN, "run"),  # only fit resumes
        (START, True, CHAIN.replace("start: {settings: {", "start: {settings: {n: 1, "), "run"),
    ],
)
def test_an_interrupted_fit_is_resumed(done, name, config, text, kind):
    shutil.rmtree(done / "results" / name)
    (done / "runs" / name / "results.json").unlink()
    if not config:
        (done / "runs" / name / "config.yaml").unlink()
    assert kinds(opened(done, text))[name] == kind


def test_resuming_starts_where_the_run_is(tmp_path):
    text = CHAIN.replace("start: {settings: {", "start: {settings: {allow_import: [stars], ")
    ledger = opened(tmp_path, text)
    cell = ledger.plan.cells[START]
    words, moved = ledger.start(cell, ledger.verdict(cell))
    assert (words, moved) == (list(cell.words), None)
    (cell.run_dir / "config.yaml").write_text("")
    words, moved = ledger.start(cell, ledger.verdict(cell))
    assert words[:5] == ["fit", "--resume", str(cell.run_dir), "--allow_import", '["stars"]']
    assert (moved, (cell.run_dir / "config.yaml").exists()) == (None, True)


def test_resuming_says_where_the_data_lie_now(tmp_path):
    text = CHAIN.replace('data.path: "${data}"', 'data.path.train: "${data}/train.txt", data.n: 1')
    first = opened(tmp_path, text)
    cell = first.plan.cells[START]
    first.start(cell, first.verdict(cell))
    (cell.run_dir / "config.yaml").write_text("")
    (tmp_path / "data").rename(tmp_path / "moved")
    ledger = opened(tmp_path, text, data=str(tmp_path / "moved"))
    words, _ = ledger.start(ledger.plan.cells[START], ledger.verdict(ledger.plan.cells[START]))
    lies = str(tmp_path / "moved" / "train.txt")
    assert words == ["fit", "--resume", str(cell.run_dir), "--data.path.train", lies]


def test_what_changed_runs_again_and_what_hangs_on_it_waits(done):
    found = forecast(changed(done, "max_epochs: 2", "max_epochs: 3"))
    assert Counter(kind for kind, _ in found.values()) == {"run": 4, "wait": 4}
    assert found[FINETUNE] == ("run", "trainer.max_epochs 2 -> 3")
    assert found[SCORE] == ("wait", f"done, if {FINETUNE} leaves the same again")
    assert START not in found


def test_only_what_depends_on_a_change_runs_again(done):
    found = forecast(changed(done, "started: {", "started: {score.model.n: 1, "))
    assert found == {f"started/score/seed={seed}": ("run", "model.n null -> 1") for seed in (0, 1)}
    (done / "data" / "train.txt").write_text("Anna\tO\n")
    found = forecast(opened(done))
    assert found[START] == ("run", "what data.path holds")
    assert Counter(kind for kind, _ in found.values()) == {"run": 1, "wait": 4}


@pytest.mark.parametrize(
    ("best", "verdict"), [("weights", ("done", "")), ("others", ("run", "what finetune left"))]
)
def test_the_same_bytes_again_keep_what_hangs_on_them(done, best, verdict):
    ledger = changed(done, "max_epochs: 2", "max_epochs: 3")
    run(ledger, FINETUNE, best=best)
    found = ledger.verdict(ledger.plan.cells[SCORE])
    assert (found.kind, found.why) == verdict
    assert forecast(opened(done, CHAIN.replace("max_epochs: 2", "max_epochs: 3"))) == forecast(
        ledger
    )


def test_a_run_that_is_not_here_runs_again_if_something_has_to_read_it(done):
    shutil.rmtree(done / "runs")
    found = forecast(changed(done, "scratch: {}", "scratch: {score.model.n: 1}"))
    expected = {}
    for seed in (0, 1):
        expected[f"scratch/finetune/seed={seed}"] = ("run", "what it left is not here")
        expected[f"scratch/score/seed={seed}"] = ("run", "model.n null -> 1")
    assert found == expected  # and nothing of the other variant, whose runs are not here either


def test_a_run_that_is_here_is_not_run_again(done):
    shutil.rmtree(done / "runs" / "shared")
    ledger = changed(done, "started: {", "started: {score.model.n: 1, ")
    assert set(forecast(ledger)) == {"started/score/seed=0", "started/score/seed=1"}
    assert not ledger.is_here(ledger.plan.cells[START])
    finetune = ledger.plan.cells[FINETUNE]
    assert ledger.is_here(finetune)
    (finetune.run_dir / "best" / "model.safetensors").write_text("touched by someone")
    assert not ledger.is_here(finetune)


def test_starting_moves_an_earlier_run_aside_whole(done):
    ledger = changed(done, "max_epochs: 2", "max_epochs: 3")
    cell = ledger.plan.cells[FINETUNE]
    before = {path.relative_to(cell.run_dir): path.read_bytes() for path in files(cell.run_dir)}
    words, moved = ledger.start(cell, ledger.verdict(cell))
    assert words == list(cell.words)
    assert moved.is_relative_to(done / "runs" / "replaced")
    assert {path.relative_to(moved): path.read_bytes() for path in files(moved)} == before
    assert len(before) == 6  # with what it was asked
    assert [path.name for path in files(cell.run_dir)] == [".request.json"]
    fake_run(cell)
    _, again = ledger.start(cell, ledger.verdict(cell))
    assert again != moved
    assert moved.exists()


def test_a_directory_of_hidden_files_is_no_earlier_run(tmp_path):
    ledger = opened(tmp_path)
    cell = ledger.plan.cells[START]
    cell.run_dir.mkdir(parents=True)
    (cell.run_dir / ".config.yaml.new").write_text("")
    assert ledger.start(cell, ledger.verdict(cell))[1] is None
    assert ledger.log(cell) == cell.run_dir.parent / "seed=0.log"


@pytest.mark.parametrize("interrupted", [False, True])
@pytest.mark.parametrize("data", ["typo", "dta/conll2003", "/no/such/place"])
def test_a_path_that_leads_nowhere_leaves_what_was_made_in_place(done, data, interrupted):
    text, run_dir = CHAIN.replace("DATA", str(done / "data")), done / "runs" / START
    if interrupted:
        shutil.rmtree(done / "results" / START)
        (run_dir / "results.json").unlink()
    before = {path: path.read_bytes() for path in files(done / "runs")}
    ledger = opened(done, text, data=data)
    cell = ledger.plan.cells[START]
    verdict = ledger.verdict(cell)
    assert verdict.kind == "run"
    message = rf"^data\.path = {data}: there is no such file or directory; if a hub id .*{run_dir} "
    with pytest.raises(ValueError, match=message):
        ledger.start(cell, verdict)
    assert {path: path.read_bytes() for path in files(done / "runs")} == before
    for place in ("results", "runs"):
        shutil.rmtree(done / place / START, ignore_errors=True)
    new = opened(done, text, data=data)
    new.start(new.plan.cells[START], new.verdict(new.plan.cells[START]))  # perhaps a hub id


def test_what_was_asked_at_the_start_is_what_is_kept(tmp_path):
    ledger = opened(tmp_path)
    cell = ledger.plan.cells[START]
    ledger.start(cell, ledger.verdict(cell))
    (tmp_path / "data" / "train.txt").write_text("changed while it ran\n")
    fake_run(cell)
    opened(tmp_path).finish(cell, 1.0)
    assert forecast(opened(tmp_path))[START] == ("run", "what data.path holds")


def test_results_changed_by_hand_stop_the_study(done):
    path = done / "results" / FINETUNE / "results.json"
    results = json.loads(path.read_text())
    path.write_text(json.dumps({**results, "metrics": {"test/f1": 0.99}}))
    with pytest.raises(ValueError, match=r"results\.json is not what the stage wrote"):
        opened(done)


SCORING = CHAIN.replace("trainer.max_epochs: 2", 'trainer.max_epochs: 2, data.path: "${test}"')
SCORING = SCORING.replace("parameters: {", "parameters: {test: TEST, ")


def test_a_score_depends_on_the_data_that_the_scored_run_names(tmp_path):
    tested = tmp_path / "test"
    tested.mkdir()
    (tested / "test.txt").write_text("Bonn\tB-LOC\n")
    text = SCORING.replace("TEST", str(tested))
    run_all(opened(tmp_path, text))
    assert forecast(opened(tmp_path, text)) == {}
    (tested / "test.txt").write_text("Bonn\tO\n")
    ledger = opened(tmp_path, text)
    assert forecast(ledger)[SCORE] == ("run", "what data.path holds")
    run(ledger, FINETUNE)  # it leaves the same weights
    assert ledger.verdict(ledger.plan.cells[SCORE]).why == "what data.path holds"
    run(ledger, SCORE)
    assert ledger.verdict(ledger.plan.cells[SCORE]).kind == "done"
    split = text.replace('data.path: "${test}"', 'data.path: "${test}", data.split: 2')
    assert forecast(opened(tmp_path, split))[SCORE][1].endswith("data.split null -> 2")
    part = text.replace(
        'data.path: "${test}"', 'data.path: "${test}", trainer.limit_test_batches: 2'
    )
    expected = "trainer.limit_test_batches null -> 2"
    assert forecast(opened(tmp_path, part))[SCORE][1].endswith(expected)


def test_a_score_with_data_of_its_own_does_not_depend_on_those_of_the_run(tmp_path):
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "test.txt").write_text("Bonn\tB-LOC\n")
    text = SCORING.replace("TEST", str(tmp_path / "test"))
    text = text.replace('run: "${finetune}"', 'run: "${finetune}", data.path: "${data}"')
    run_all(opened(tmp_path, text))
    (tmp_path / "test" / "test.txt").write_text("Bonn\tO\n")
    ledger = opened(tmp_path, text)
    assert forecast(ledger)[SCORE][0] == "wait"
    run(ledger, FINETUNE)
    assert ledger.verdict(ledger.plan.cells[SCORE]).kind == "done"


def test_results_put_back_over_a_newer_run_do_not_hide_it(done):
    """The run has ended and is not kept: what hangs on it is judged by what it left."""
    old = shutil.copytree(done / "results", done / "old")
    run(changed(done, "start: {settings: {", "start: {settings: {n: 1, "), START, best="others")
    shutil.rmtree(done / "results")
    old.rename(done / "results")
    ledger = changed(done, "start: {settings: {", "start: {settings: {n: 1, ")
    found = forecast(ledger)
    assert found[START][0] == "keep"
    assert found[FINETUNE] == ("run", "what start left")
    ledger.finish(ledger.plan.cells[START], None)
    assert forecast(ledger)[FINETUNE] == ("run", "what start left")
    run(ledger, START, best="weights")  # and by what is kept once it is
    assert ledger.verdict(ledger.plan.cells[FINETUNE]).kind == "done"


def pasted(cell, **facts):
    """What somebody leaves who runs a cell's command by hand."""
    fake_run(cell)
    path = cell.run_dir / "environment.json"
    facts = {"command": list(cell.words), **json.loads(path.read_text()), **facts}
    path.write_text(json.dumps(facts))


def test_a_study_that_was_run_by_hand_is_only_kept(tmp_path):
    ledger = opened(tmp_path)
    for cell in ledger.plan.cells.values():
        pasted(cell)
        time.sleep(0.01)  # what it reads is older
    assert set(kinds(opened(tmp_path)).values()) == {"keep"}
    again = opened(tmp_path)
    for cell in again.plan.cells.values():
        assert again.verdict(cell).kind == "keep"
        again.finish(cell, None)
    assert forecast(opened(tmp_path)) == {}


@pytest.mark.parametrize(
    "change",
    [
        lambda cell, data: (data / "train.txt").write_text("Anna\tO\n"),
        lambda cell, data: (data / "new.txt").write_text("Anna\tO\n"),
        lambda cell, data: (data.parent / "a.yaml").write_text("trainer: {max_epochs: 1}\n"),
        lambda cell, data: pasted(cell, command=[*cell.words, "--trainer.max_epochs", "9"]),
        lambda cell, data: pasted(cell, resumed=[{}]),  # when it began is not known
        lambda cell, data: (cell.run_dir / "environment.json").write_text("{"),
        lambda cell, data: (cell.run_dir / "config.yaml").unlink(),
    ],
)
def test_a_run_by_hand_counts_only_if_nothing_it_read_has_changed(tmp_path, change):
    (tmp_path / "a.yaml").write_text("trainer: {max_epochs: 1}\n")
    text = CHAIN.replace("start: {settings", f"start: {{configs: [{tmp_path / 'a.yaml'}], settings")
    cell = opened(tmp_path, text).plan.cells[START]
    pasted(cell)
    assert kinds(opened(tmp_path, text))[START] == "keep"
    time.sleep(0.01)
    change(cell, tmp_path / "data")
    assert kinds(opened(tmp_path, text))[START] == "run"


def test_a_run_by_hand_does_not_count_if_what_it_started_from_is_newer(tmp_path):
    ledger = opened(tmp_path)
    pasted(ledger.plan.cells[START])
    time.sleep(0.01)
    pasted(ledger.plan.cells[FINETUNE])
    assert kinds(opened(tmp_path))[FINETUNE] == "keep"
    time.sleep(0.01)
    fake_run(ledger.plan.cells[START], best="others")
    assert kinds(opened(tmp_path))[FINETUNE] == "run"


def test_a_fit_by_hand_that_was_interrupted_is_resumed_and_then_known(tmp_path):
    ledger = opened(tmp_path)
    cell = ledger.plan.cells[START]
    pasted(cell)
    (cell.run_dir / "results.json").unlink()
    verdict = ledger.verdict(cell)
    assert verdict.kind == "resume"
    ledger.start(cell, verdict)
    pasted(cell, resumed=[{}])
    assert kinds(opened(tmp_path))[START] == "keep"


def files(directory):
    return sorted(path for path in directory.rglob("*") if path.is_file())


def test_a_stage_whose_own_run_is_needed_again_is_not_called_done(done):
    """It reads from one that runs first: the commands of a dry run stand in an order that works."""
    shutil.rmtree(done / "runs")
    found = forecast(changed(done, "settings: {run:", "settings: {model.n: 1, run:"))
    assert found[START][0] == found[FINETUNE][0] == found[SCORE][0] == "run"


def test_a_finished_run_that_is_not_kept_yet_makes_nothing_else_run(done):
    shutil.rmtree(done / "results" / "shared")
    assert {name: why[0] for name, why in forecast(opened(done)).items()} == {START: "keep"}


def test_a_needed_run_that_was_touched_is_not_kept_for_what_it_was(done):
    ledger = changed(done, "finetune: {settings: {", "finetune: {settings: {n: 1, ")
    (done / "runs" / START / "best" / "model.safetensors").write_text("half")
    assert forecast(ledger)[START][0] == "run"


def test_a_configuration_that_changes_while_a_study_runs_is_refused(tmp_path):
    config = tmp_path / "a.yaml"
    config.write_text("trainer: {max_epochs: 1}\n")
    text = CHAIN.replace("start: {settings", f"start: {{configs: [{config}], settings")
    ledger = opened(tmp_path, text)
    config.write_text("trainer: {max_epochs: 2}\n")
    cell = ledger.plan.cells[START]
    with pytest.raises(ValueError, match=r"a\.yaml has changed since the study was planned"):
        ledger.start(cell, ledger.verdict(cell))
