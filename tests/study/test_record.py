import json
from dataclasses import replace
from pathlib import Path

import pytest

from lit_llm.study import record, settings
from lit_llm.study.content import Hashes, file_sha256
from lit_llm.study.record import (
    differences,
    keep,
    outputs_of,
    read_record,
    read_request,
    read_results,
    request,
)
from tests.references.finished_cells import CHAIN, fake_run, planned, write_study

START, FINETUNE = "shared/start/seed=0", "started/finetune/seed=0"


def asked(directory, name=START, text=CHAIN, outputs=None, **parameters):
    cell = planned(directory, text, **parameters).cells[name]
    return cell, request(cell, outputs or {}, Hashes())


def changed(before, after):
    _, now = after
    return differences(before[1], now)


def test_a_request_is_all_that_decides_a_result(tmp_path):
    _, found = asked(tmp_path, outputs={"pretrain": "f" * 64})
    assert found.keys() == {"results_version", "command", "settings", "inputs", "needs"}
    data = {"by_default": str(tmp_path / "data"), "content": Hashes().of(tmp_path / "data")}
    assert found["inputs"] == {"data.path": data}
    assert "data.path" not in found["settings"]
    assert found["settings"]["seed_everything"] == 0
    assert found["needs"] == {"pretrain": "f" * 64}
    assert json.loads(json.dumps(found)) == found
    assert differences(found, json.loads(json.dumps(found))) == []


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("max_epochs: 2", "max_epochs: 3", "trainer.max_epochs 2 -> 3"),
        ("max_epochs: 2}", "max_epochs: 2, a.b: [1]}", "a.b null -> [1]"),
        ("trainer.max_epochs: 2", "n: 2", "n null -> 2; trainer.max_epochs 2 -> 3"),  # 3 is base's
        (
            "finetune: {settings: {",
            "finetune: {command: validate, settings: {run: here, ",
            'command fit -> validate; run null -> "here"',
        ),
        ("max_epochs: 2", "max_epochs: 2, wandb.mode: offline", ""),
        ("max_epochs: 2", "max_epochs: 2.0", "trainer.max_epochs 2 -> 2.0"),  # 1 and 1.0 differ
        ("max_epochs: 2}", "max_epochs: 2, hub.api_key: abcdefgh1}", 'hub.api_key null -> "***"'),
        ("seeds: [0, 1]", "seeds: [0, 1, 2]", ""),
        ("scratch: {}", "scratch: {score.model.n: 1}", ""),
        ("max_epochs: 2}", f"max_epochs: 2, n: {'x' * 50}}}", f'n null -> "{"x" * 36}...'),
    ],
)
def test_what_has_changed_is_said(tmp_path, old, new, why):
    assert old in CHAIN
    name = "scratch/finetune/seed=0"
    before = asked(tmp_path, name)
    after = asked(tmp_path, name, CHAIN.replace(old, new))
    assert "; ".join(changed(before, after)) == why


def test_a_raised_version_and_what_a_stage_left_are_changes(tmp_path, monkeypatch):
    before = asked(tmp_path, FINETUNE, outputs={"start": "a" * 64})
    after = asked(tmp_path, FINETUNE, outputs={"start": "b" * 64})
    assert changed(before, after) == ["what start left"]
    assert changed(before, asked(tmp_path, FINETUNE)) == ["what start left"]
    monkeypatch.setattr(record, "RESULTS_VERSION", 2)
    after = asked(tmp_path, FINETUNE, outputs={"start": "a" * 64})
    assert changed(before, after) == ["results_version 1 -> 2"]


def test_data_count_by_what_they_hold_not_by_where_they_lie(tmp_path):
    before = asked(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "train.txt").write_bytes((tmp_path / "data" / "train.txt").read_bytes())
    assert changed(before, asked(tmp_path, data=str(elsewhere))) == []
    written = CHAIN.replace('"${data}"', str(elsewhere)).replace("parameters: {data: DATA}\n", "")
    assert changed(before, asked(tmp_path, text=written)) == []
    (elsewhere / "train.txt").write_text("Anna\tO\n")
    assert changed(before, asked(tmp_path, data=str(elsewhere))) == ["what data.path holds"]


ELSEWHERE = CHAIN.replace("DATA", "data/of/another/machine")


def test_absent_data_are_what_they_were_where_nobody_says_otherwise(tmp_path):
    asked(tmp_path)  # writes the data
    before = asked(tmp_path, text=ELSEWHERE, data=str(tmp_path / "data"))
    absent = asked(tmp_path, text=ELSEWHERE)
    assert absent[1]["inputs"] == {}
    assert changed(before, absent) == []
    hub = asked(tmp_path, text=ELSEWHERE, data="somebody/elses")
    assert changed(before, hub) == ["data.path"]
    none = asked(tmp_path, text=ELSEWHERE, data=None)
    assert changed(before, none) == ["data.path"]
    assert changed(none, before) == ["data.path"]


def test_paths_in_a_list_are_inputs_one_by_one(tmp_path):
    asked(tmp_path)
    files = 'settings: {data.files: ["${data}/train.txt", plain], '
    text = ELSEWHERE.replace("settings: {", files, 1)
    before = asked(tmp_path, text=text, data=str(tmp_path / "data"))
    assert before[1]["inputs"].keys() == {"data.files[0]", "data.path"}
    assert before[1]["settings"]["data.files[1]"] == "plain"
    assert changed(before, asked(tmp_path, text=text)) == []
    (tmp_path / "data" / "train.txt").write_text("Anna\tO\n")
    after = asked(tmp_path, text=text, data=str(tmp_path / "data"))
    assert changed(before, after) == ["what data.files[0] holds", "what data.path holds"]


def test_paths_in_mappings_of_a_list_are_inputs_one_by_one(tmp_path):
    asked(tmp_path)
    sources = "[{path: '${data}/train.txt', name: a}, {path: '${data}/none.txt'}]"
    text = CHAIN.replace("settings: {", f"settings: {{data.sources: {sources}, ", 1)
    before = asked(tmp_path, text=text)
    assert "data.sources[0].path" in before[1]["inputs"]
    assert before[1]["settings"]["data.sources[0].name"] == "a"
    assert before[1]["settings"]["data.sources[1].path"].endswith("none.txt")
    (tmp_path / "data" / "train.txt").write_text("Anna\tO\n")
    changes = changed(before, asked(tmp_path, text=text))
    assert changes == ["what data.path holds", "what data.sources[0].path holds"]


def test_files_under_their_bare_names_are_inputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text("data: {path: {train: train.txt, val: dev.txt}}\n")
    for name in ("train.txt", "dev.txt", "mybert/config.json", "mybert/best.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    text = CHAIN.replace("finetune: {settings: {", "finetune: {configs: [a.yaml], settings: {")
    text = text.replace(
        "finetune.model.source: ", "finetune.model.backbone.source: mybert, finetune.b: "
    )
    before = asked(tmp_path, FINETUNE, text)
    names = {"data.path.train", "data.path.val", "model.backbone.source"}
    assert before[1]["inputs"].keys() == names
    for name, place in (("data.path.train", "train.txt"), ("model.backbone.source", "mybert/x")):
        (tmp_path / place).write_text("another")
        assert changed(before, asked(tmp_path, FINETUNE, text)) == [f"what {name} holds"]
        before = asked(tmp_path, FINETUNE, text)


def test_of_an_earlier_run_a_backbone_depends_on_its_best_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base = tmp_path / "runs" / "base"
    (base / "best").mkdir(parents=True)
    (base / "best" / "model.txt").write_text("weights")
    text = CHAIN.replace('"${start}"', "runs/base").replace("model.source", "model.backbone.source")
    before = asked(tmp_path, FINETUNE, text)
    assert before[1]["inputs"].keys() == {"model.backbone.source"}
    (base / "test").mkdir()
    (base / "test" / "results.json").write_text("{}")
    assert changed(before, asked(tmp_path, FINETUNE, text)) == []
    (base / "best" / "model.txt").write_text("others")
    after = asked(tmp_path, FINETUNE, text)
    assert changed(before, after) == ["what model.backbone.source holds"]


def test_a_single_fit_asks_what_it_always_did(tmp_path, monkeypatch):
    """Committed results hold this: the request of such a cell does not change."""
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data" / "conll2003"
    data.mkdir(parents=True)
    (data / "train.txt").write_text("Anna B-PER\n")
    (tmp_path / "one_fit.yaml").write_text(
        "model: {class_path: a.B, init_args: {backbone: {source: pkg://lit_llm/study}}}\n"
        "data: {class_path: a.C, init_args: {path: data/conll2003, context: 'none', n: 3}}\n"
    )
    text = """\
parameters: {data: data/conll2003}
stages: {finetune: {configs: [one_fit.yaml], settings: {data.path: "${data}"}}}
table: {columns: {f1: val/f1}}
"""
    found = asked(tmp_path, "shared/finetune/seed=0", text)[1]
    assert list(found) == ["results_version", "command", "settings", "inputs", "needs"]
    assert (found["results_version"], found["command"], found["needs"]) == (1, "fit", {})
    ours = {k: v for k, v in found["settings"].items() if not k.startswith("trainer.")}
    assert ours == {
        "seed_everything": 0,
        "model.class_path": "a.B",
        "data.class_path": "a.C",
        "data.context": "none",
        "data.n": 3,
    }
    source = Hashes().of(Path(settings.__file__).parent)
    assert found["inputs"] == {
        "model.backbone.source": {"by_default": "pkg://lit_llm/study", "content": source},
        "data.path": {"by_default": "data/conll2003", "content": Hashes().of(data)},
    }


def test_numbers_that_are_not_finite_are_the_same_again(tmp_path):
    name, text = "scratch/finetune/seed=0", CHAIN.replace("max_epochs: 2", "n: .inf, m: [.nan]")
    before = asked(tmp_path, name, text)
    fake_run(before[0])
    keep(*before, tmp_path / "kept", Hashes(), 1.0)
    kept = read_record(tmp_path / "kept")["request"]
    assert (kept["settings"]["trainer.n"], kept["settings"]["m"]) == ("inf", ["nan"])
    again = asked(tmp_path, name, text)
    assert changed((before[0], kept), again) == []
    less = asked(tmp_path, name, text.replace(".inf", "-.inf").replace("[.nan]", "null"))
    assert changed((before[0], kept), less) == ['m ["nan"] -> null', 'trainer.n "inf" -> "-inf"']


def test_what_a_trainer_writes_is_no_input(tmp_path):
    text = CHAIN.replace("settings: {", f"settings: {{trainer.profiler_path: {tmp_path}, ", 1)
    assert asked(tmp_path, text=text)[1]["inputs"].keys() == {"data.path"}


def test_the_record_holds_no_path_that_a_parameter_gave(tmp_path):
    asked(tmp_path)
    cell, found = asked(tmp_path, text=ELSEWHERE, data=str(tmp_path / "data"))
    fake_run(cell)
    keep(cell, found, tmp_path / "kept", Hashes(), 1.0)
    assert str(tmp_path / "data") not in (tmp_path / "kept" / "stage.json").read_text()


def test_keeping_copies_the_figures_and_says_how_they_came(tmp_path):
    cell, found = asked(tmp_path)
    fake_run(cell, commit="c" * 40, packages={"torch": "2.13"})
    kept = keep(cell, found, tmp_path / "kept", Hashes(), 12.34)
    assert read_record(tmp_path / "kept") == kept
    assert kept["cell"] == START
    assert kept["command"] == ["lit-llm", *cell.written[:-1], f"${{runs}}/{START}"]
    assert (kept["commits"], kept["seconds"]) == (["c" * 40], 12.3)
    assert kept["outputs"] == Hashes().of(cell.run_dir / "best") == outputs_of(cell, Hashes())
    assert kept["environment"]["packages"] == {"torch": "2.13"}
    assert kept["files"]["results.json"] == file_sha256(cell.run_dir / "results.json")
    assert read_results(tmp_path / "kept")["metrics"] == {"val/f1": 0.5, "test/f1": 0.5}
    assert (tmp_path / "kept" / "report.md").read_text() == "# Run\n"
    assert differences(read_record(tmp_path / "kept")["request"], found) == []


def test_a_resumed_run_has_the_commits_of_all_its_starts(tmp_path):
    cell, found = asked(tmp_path)
    fake_run(cell)
    resumed = [{"commit": "a"}, {"commit": "b"}, {"commit": "a"}]
    facts = {"commit": "a", "resumed": resumed}
    (cell.run_dir / "environment.json").write_text(json.dumps(facts))
    kept = keep(cell, found, tmp_path / "kept", Hashes(), None)
    assert (kept["commits"], kept["seconds"]) == (["a", "b"], None)


def test_a_run_without_best_leaves_its_results_and_one_without_these_nothing(tmp_path):
    cell, found = asked(tmp_path)
    assert outputs_of(cell, Hashes()) is None
    with pytest.raises(ValueError, match=rf"{START}: it ended without a results\.json in "):
        keep(cell, found, tmp_path / "kept", Hashes(), 1.0)
    assert not (tmp_path / "kept").exists()
    fake_run(cell, best=None)
    assert outputs_of(cell, Hashes()) == file_sha256(cell.run_dir / "results.json")


def test_results_changed_by_hand_are_refused_with_the_remedy(tmp_path):
    cell, found = asked(tmp_path)
    fake_run(cell)
    place = tmp_path / "kept"
    kept = keep(cell, found, place, Hashes(), 1.0)
    remedy = rf"restore it \(git checkout {place}\), or remove {place} to run the stage again"
    (place / "results.json").write_text('{"metrics": {"test/f1": 0.9}}')
    with pytest.raises(ValueError, match=rf"results\.json is not what the stage wrote .*{remedy}"):
        read_record(place)
    (place / "results.json").unlink()
    with pytest.raises(ValueError, match=rf"results\.json is missing, .*stage\.json .*{remedy}"):
        read_record(place)
    merged = "<<<<<<< HEAD\n{}\n"
    refusals = ("{", "this is not JSON"), (merged, "this is not JSON"), ("[]", "a JSON object was")
    for text, message in refusals:
        (place / "stage.json").write_text(text)
        with pytest.raises(ValueError, match=rf"stage\.json: {message} .*; {remedy}"):
            read_record(place)
    for other in ({"schema": 1}, {**kept, "schema": 2}):
        (place / "stage.json").write_text(json.dumps(other))
        with pytest.raises(ValueError, match=rf"writes its records otherwise; {remedy}"):
            read_record(place)


@pytest.mark.parametrize(
    "edit",
    [
        {"request": {}},
        {"request.settings": None},
        {"request.inputs": {"data.path": "x"}},
        {"request.inputs": {"data.path": {"content": None}}},
        {"request.needs": {"start": 1}},
        {"request.needs": []},
        {"request.command": None},
        {"files": None},
        {"files": []},
        {"files": {}},  # nothing would be compared
        {"files": {"results.json": "a" * 64}},
        {"files": {"results.json": None, "report.md": None}},
        {"environment": None},
        {"environment": {"packages": ["torch"]}},
        {"commits": None},
        {"commits": [1]},
        {"outputs": 1},
        {"seconds": "12"},
        {"cell": None},
    ],
)
def test_a_record_edited_by_hand_is_refused_with_the_remedy(tmp_path, edit):
    cell, found = asked(tmp_path)
    fake_run(cell)
    place = tmp_path / "kept"
    kept = keep(cell, found, place, Hashes(), 1.0)
    ((keys, value),) = edit.items()
    *outer, last = keys.split(".")
    (kept[outer[0]] if outer else kept)[last] = value
    (place / "stage.json").write_text(json.dumps(kept))
    with pytest.raises(ValueError, match=r"; restore it \(git checkout"):
        read_record(place)
    if outer:
        (tmp_path / "request.json").write_text(json.dumps(kept["request"]))
        assert read_request(tmp_path / "request.json") is None


@pytest.mark.parametrize("missing", ["environment", "seconds", "packages", "by_default"])
def test_what_a_record_need_not_hold(tmp_path, missing):
    cell, found = asked(tmp_path)
    fake_run(cell)
    kept = keep(cell, found, tmp_path / "kept", Hashes(), 1.0)
    for part in (kept, kept["environment"], kept["request"]["inputs"]["data.path"]):
        part.pop(missing, None)
    (tmp_path / "kept" / "stage.json").write_text(json.dumps(kept))
    if missing == "environment":  # the table's notes need it
        with pytest.raises(ValueError, match="writes its records otherwise"):
            read_record(tmp_path / "kept")
    else:
        assert differences(read_record(tmp_path / "kept")["request"], found) == []


def test_where_nothing_was_kept_there_is_no_record(tmp_path):
    assert read_record(tmp_path) is None
    assert read_request(tmp_path / "none.json") is None
    (tmp_path / "half.json").write_text('{"command": ')
    assert read_request(tmp_path / "half.json") is None


def test_secrets_are_masked_the_same_way_on_both_sides(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_TOKEN", "correct-horse-battery")
    hidden = "max_epochs: 2, hub.api_key: abcde, n: correct-horse-battery, list: [hf_" + "a1" * 12
    text, name = CHAIN.replace("max_epochs: 2", f"{hidden}]"), "scratch/finetune/seed=0"
    cell, found = asked(tmp_path, name, text)
    fake_run(cell)
    keep(cell, found, tmp_path / "kept", Hashes(), 1.0)
    written = (tmp_path / "kept" / "stage.json").read_text()
    assert not any(secret in written for secret in ("correct-horse", "abcde", "hf_"))
    kept = read_record(tmp_path / "kept")["request"]
    assert differences(kept, found) == []
    after = asked(tmp_path, name, text.replace("max_epochs: 2", "max_epochs: 4"))
    assert changed((cell, kept), after) == ["trainer.max_epochs 2 -> 4"]


def test_the_same_cell_elsewhere_asks_the_same(tmp_path):
    write_study(tmp_path / "one")
    before, after = asked(tmp_path / "one"), asked(tmp_path / "two")
    assert before[0].run_dir != after[0].run_dir
    assert changed(before, after) == []
    assert before[1] != request(replace(after[0], settings={}), {}, Hashes())
