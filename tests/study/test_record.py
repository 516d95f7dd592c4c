import json
from dataclasses import replace

import pytest

from lit_llm.study import record
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
    assert kept["command"] == ["lit-llm", *cell.written]
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
    for text, message in (("{", "this is not JSON"), ("[]", "a JSON object was expected")):
        (place / "stage.json").write_text(text)
        with pytest.raises(ValueError, match=rf"stage\.json: {message}"):
            read_record(place)
    for other in ({"schema": 1}, {**kept, "schema": 2}):
        (place / "stage.json").write_text(json.dumps(other))
        with pytest.raises(ValueError, match=rf"writes its records otherwise; {remedy}"):
            read_record(place)


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
