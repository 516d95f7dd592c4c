"""``lit-llm schedule`` shows a run that has not begun."""

import pytest

from lit_llm.__main__ import main
from tests.references.tiny_experiment import tiny_experiment, write_config


@pytest.fixture
def words(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = tiny_experiment(tmp_path)
    config["trainer"]["max_epochs"] = 4
    return ["schedule", "--config", write_config(tmp_path / "tiny.yaml", config)]


def freezing(name, callbacks=None, **settings):
    settings = {"name": name, **settings}
    if callbacks is not None:
        return ["--trainer.callbacks", callbacks, *freezing(**settings)]
    return [w for k, v in settings.items() for w in (f"--model.schedule.freezing.{k}", str(v))]


def test_phases_and_rates_are_printed_and_nothing_is_written(words, tmp_path, capsys):
    before = sorted(path.name for path in tmp_path.iterdir())
    rates = ["--model.schedule.name", "constant", "--model.schedule.warmup_fraction", "0"]
    assert main([*words, *freezing("gradual", every_steps=2), *rates]) == 0
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("8 optimizer steps, 2 in an epoch")
    assert lines[start + 1 :] == [
        "  from step 0 (epoch 0.00): head",
        "  from step 2 (epoch 1.00): head, block 1",
        "  from step 4 (epoch 2.00): head, block 1, block 0",
        "  from step 6 (epoch 3.00): head, block 1, block 0, embeddings",
        "",
        "head        ████████  peak 5e-05",
        "block 1       ██████  peak 5e-05",
        "block 0         ████  peak 5e-05",
        "embeddings        ██  peak 5e-05",
    ]
    assert sorted({path.name for path in tmp_path.iterdir()} - {"cache"}) == before


def test_a_phase_that_waits_for_a_metric_has_no_step(words, capsys):
    assert main([*words, *freezing("two_step", patience=2)]) == 0
    out = capsys.readouterr().out
    assert "  after 2 evaluations that are no better: head, block 1, block 0, embeddings" in out
    assert "block 0" in out
    assert out.splitlines()[-1].endswith("  frozen")
    assert "never" not in out


def test_a_run_without_freezing_has_its_rates(words, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    assert main([*words, "--plot", str(tmp_path / "rates.svg")]) == 0
    out = capsys.readouterr().out
    assert "from step" not in out
    assert "backbone  " in out
    assert out.endswith(f"written: {tmp_path / 'rates.svg'}\n")
    assert ">full, linear<" in (tmp_path / "rates.svg").read_text()


STAGES = "[{max_tokens: 9, steps: 3}, {until: 0.9, steps: 20}, {until: 0.5}, {}]"


def test_stages_of_the_data_are_named(words, capsys):
    assert main([*words, "--data.batches.stages", STAGES]) == 0
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("8 optimizer steps, 2 in an epoch")
    assert lines[start + 1 : start + 5] == [
        "  data of batches.stages[0]: for 3 steps",
        "  data of batches.stages[1]: for 20 steps or until the development score reaches 0.9",
        "  data of batches.stages[2]: until the development score reaches 0.5",
        "  data of batches.stages[3]: to the end",
    ]


@pytest.mark.parametrize("command", ["schedule", "fit"])
def test_a_stage_after_the_end_is_refused_before_training(words, command, capsys):
    late = ["--data.batches.stages", "[{steps: 8}, {}]"]
    assert main([command, *words[1:], *late]) == 1
    assert "stages[1] begins at step 8, and the run ends after 8" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"name": "gradual", "every_epochs": 2},
            "phase 4 of 4 begins at step 12, and the run ends",
        ),
        ({"name": "full", "keep_frozen": "[block 7]"}, "no group is called 'block 7'"),
        ({"name": "thaw"}, "schedule.freezing.name"),
        ({"name": "two_step", "callbacks": "[]"}, "give the trainer the callback"),
    ],
)
@pytest.mark.parametrize("command", ["schedule", "fit"])
def test_what_cannot_be_is_refused_before_training(words, command, settings, message, capsys):
    assert main([command, *words[1:], *freezing(**settings)]) == 1
    assert message in capsys.readouterr().err
