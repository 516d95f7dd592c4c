import argparse
import json

import pytest
import yaml

from lit_llm.study.settings import BASE, combined, flags, plain


@pytest.fixture
def amount(tmp_path):
    """What files and settings amount to, without what ``base.yaml`` says of other things."""

    def of(*files, **settings):
        paths = []
        for number, text in enumerate(files):
            path = tmp_path / f"{number}.yaml"
            path.write_text(text)
            paths.append(str(path))
        found = combined(paths, {key.replace("__", "."): v for key, v in settings.items()})
        return {k: v for k, v in found.items() if k.startswith(("model", "data"))}

    return of


def test_every_run_begins_with_base_yaml(tmp_path):
    base = yaml.safe_load(BASE.read_text())
    found = combined([], {})
    assert found["seed_everything"] == base["seed_everything"]
    assert found["trainer.callbacks"] == base["trainer"]["callbacks"]
    assert combined([], {"trainer.max_epochs": 7})["trainer.max_epochs"] == 7


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        # later files win, and mappings merge deeply
        (
            ["model: {a: {x: 1, y: 2}, b: 3}", "model: {a: {y: 4}}", "model: {b: 5}"],
            {"model.a.x": 1, "model.a.y": 4, "model.b": 5},
        ),
        # lists are replaced whole, or appended to
        (["data: {x: [1, 2]}", "data: {x: [3]}"], {"data.x": [3]}),
        (["data: {x: [1, 2]}", "data: {x+: [3]}", "data: {x+: 4}"], {"data.x": [1, 2, 3, 4]}),
        (["data: {x+: [3]}"], {"data.x": [3]}),
        (["data: {x: null}", "data: {x+: [3]}"], {"data.x": [3]}),
        # init_args is not part of a name
        (
            ["model: {class_path: A, init_args: {lr: 1, h: {class_path: B, init_args: {n: 2}}}}"],
            {
                "model.class_path": "A",
                "model.lr": 1,
                "model.h.class_path": "B",
                "model.h.n": 2,
            },
        ),
        # one value takes the place of many, and many that of one
        (["model: {a: {x: 1, y: 2}}", "model: {a: null}"], {"model.a": None}),
        (["model: {a: null}", "model: {a: {x: {y: 2}}}"], {"model.a.x.y": 2}),
        (["model: {a: 1, ab: 2}", "model: {a: {x: 3}}"], {"model.ab": 2, "model.a.x": 3}),
        (["model: {a: {x: 3}, ab: {x: 2}}", "model: {a: 1}"], {"model.ab.x": 2, "model.a": 1}),
        # what is empty changes nothing
        (["model: {class_path: A, init_args: {}}"], {"model.class_path": "A"}),
        (["data: {x: 1}", "data: {}"], {"data.x": 1}),
        # a class in place of a mapping keeps the settings of the one before
        (
            ["data: {class_path: A, init_args: {x: 1}}", "data: B"],
            {"data.class_path": "B", "data.x": 1},
        ),
    ],
)
def test_files_combine_as_on_the_command_line(amount, files, expected):
    assert amount(*files) == expected


def test_settings_win_over_files(amount):
    files = ["model: {class_path: A, init_args: {lr: 1, n: 2}}", "data: {x: [1], y: {z: 1}}"]
    found = amount(*files, model__init_args__lr=5, data__x=[2], data__y=None)
    assert found == {
        "model.class_path": "A",
        "model.lr": 5,
        "model.n": 2,
        "data.x": [2],
        "data.y": None,
    }
    assert amount(*files, **{"data__x+": 3})["data.x"] == [1, 3]


def test_combining_changes_no_list_that_another_combination_sees(amount):
    assert amount("data: {x: [1]}", "data: {x+: [2]}")["data.x"] == [1, 2]
    assert amount("data: {x: [1]}")["data.x"] == [1]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("1e-3", 0.001),
        ("2E+5", 200_000.0),
        ("-1.5e-3", -0.0015),
        (["1e-3", {"lr": "1e-3"}, ("none",)], [0.001, {"lr": 0.001}, ["none"]]),
        ("1e", "1e"),
        ("1.10", "1.10"),  # a name, for all we know
        ("007", "007"),
        ("none", "none"),
        ("true", "true"),
        ("3 epochs", "3 epochs"),
        ("v1.0", "v1.0"),
        ("", ""),
        ("nan", "nan"),
    ],
)
def test_values_are_read_as_the_command_line_reads_them(written, read):
    assert plain(written) == read
    assert type(plain(written)) is type(read)


def test_floats_are_the_same_however_they_are_written(amount):
    files = [
        "model: {lr: 1e-3}",
        "model: {lr: 0.001}",
        "model: {lr: 1.0e-3}",
    ]
    for number, text in enumerate(files):  # each file has a place of its own: they are remembered
        assert amount(*["{}"] * number, text) == {"model.lr": 0.001}
    assert amount("{}", model__lr="1e-3") == {"model.lr": 0.001}


def test_dates_in_files_are_the_text_that_the_command_line_reads(amount):
    found = amount("model: {day: 2020-01-01, all: [{class_path: A, init_args: {day: 2020-01-02}}]}")
    assert json.loads(json.dumps(found)) == found
    assert found["model.day"] == "2020-01-01"
    assert found["model.all"] == [{"class_path": "A", "init_args": {"day": "2020-01-02"}}]


def test_settings_without_effect_are_left_out():
    idle = {
        "wandb.mode": "online",
        "wandb": None,
        "trainer.enable_progress_bar": False,
        "trainer.default_root_dir": "/somewhere",
        "data.cache_dir": "/cache",
        "data.batches.num_workers": 4,
    }
    assert combined([], idle) == combined([], {})
    for counts in ("wandbx", "data.cache_directory", "data.batches.num_workers_", "data.batches"):
        assert counts in combined([], {counts: 1})


@pytest.mark.parametrize("text", [None, "[1]", "a: 1\na: 2"])
def test_a_file_that_cannot_be_combined_is_refused(tmp_path, text):
    path = tmp_path / "a.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=rf"{path}.*(no such file|keys and values|is given twice)"):
        combined([str(path)], {})


def test_a_value_with_a_dash_is_one_word_with_its_flag():
    assert flags({"model.lr": -1e-05, "data.x": "-abc"}) == ["--model.lr=-1e-05", "--data.x=-abc"]


def test_flags_come_back_as_they_were():
    settings = {
        "i": 3,
        "f": 1e-5,
        "s": "a b, 'c'",
        "none": None,
        "yes": True,
        "no": False,
        "list": [1, "x y", None, [True]],
        "mapping": {"a": [1.5]},
    }
    words = flags(settings)
    parser = argparse.ArgumentParser()
    for key, value in settings.items():
        kind = (
            type(value) if isinstance(value, int | float | str) and key[0] in "ifs" else json.loads
        )
        parser.add_argument(f"--{key}", type=kind)
    assert vars(parser.parse_args(words)) == settings
    assert all(isinstance(word, str) for word in words)
    assert flags({"a.b": None, "c+": ["x"], "d": "y"}) == [
        *("--a.b", "null", "--c+", '["x"]', "--d", "y")
    ]
