import pytest

from lit_llm.study.settings import combined
from tests.references.finished_cells import CHAIN, planned

TABLE = "table: {columns: [x]}\n"


def names(directory, text):
    return list(planned(directory, text + TABLE).cells)


def test_what_no_variant_changes_runs_once_for_all(tmp_path):
    cells = planned(tmp_path).cells
    assert list(cells) == [
        "scratch/finetune/seed=0",
        "scratch/score/seed=0",
        "shared/start/seed=0",
        "started/finetune/seed=0",
        "started/score/seed=0",
        "scratch/finetune/seed=1",
        "scratch/score/seed=1",
        "started/finetune/seed=1",
        "started/score/seed=1",
    ]
    assert cells["started/finetune/seed=1"].needs == {"start": "shared/start/seed=0"}
    assert cells["started/score/seed=1"].needs == {"finetune": "started/finetune/seed=1"}
    assert cells["scratch/finetune/seed=1"].needs == {}


def test_what_a_stage_reads_from_decides_how_often_it_runs(tmp_path):
    text = """\
seeds: [0, 1]
stages: {one: {}, two: {settings: {run: "${one}"}}, other: {}}
grid:
  n: {small: {}, big: {one.n: 2}}
  lr: {low: {}, high: {two.lr: 2}}
"""
    plan = planned(tmp_path, text + TABLE)
    assert plan.depends_on == {"one": ("n",), "two": ("n", "lr"), "other": ()}
    assert {cell.group for cell in plan.cells.values()} == {
        *("small/one", "big/one", "shared/other"),
        *("small,low/two", "small,high/two", "big,low/two", "big,high/two"),
    }
    assert len(plan.cells) == 14
    cell = plan.cells["big,low/two/seed=1"]
    assert cell.values == {"n": "big", "lr": "low"}
    assert cell.needs == {"one": "big/one/seed=1"}


def test_a_stage_runs_only_where_one_needs_it(tmp_path):
    text = "stages: {a: {}, b: {}}\nvariants: {x: {}, y: {b.run: '${a}'}, z: {a.n: 1, b.n: 1}}\n"
    assert names(tmp_path, text) == ["x/b/seed=0", "y/a/seed=0", "y/b/seed=0", "z/b/seed=0"]


def test_a_stage_with_one_seed_serves_every_seed(tmp_path):
    text = "seeds: [3, 4]\nstages: {a: {seeds: [7]}, b: {settings: {run: '${a}/best'}}}\n"
    plan = planned(tmp_path, text + TABLE)
    assert list(plan.cells) == ["shared/a/seed=7", "shared/b/seed=3", "shared/b/seed=4"]
    assert plan.cells["shared/b/seed=4"].needs == {"a": "shared/a/seed=7"}


def test_a_stage_without_the_seed_that_is_needed_is_refused(tmp_path):
    text = "seeds: [0, 1, 2]\nstages:\n  a:\n    seeds: [0, 1]\n  b: {settings: {run: '${a}'}}\n"
    message = r"study\.yaml:4: stages\.a\.seeds: b with seed 2 needs a with that seed, .* has 0, 1$"
    with pytest.raises(ValueError, match=message):
        names(tmp_path, text)


@pytest.mark.parametrize(
    ("varies", "place"),
    [
        ("variants:\n  x: {}\n  y: {a.n: 1}\n  z: {a.n: 1}\n", "4: variants.z: .* 'y'"),
        ("variants:\n  x: {}\n  y: {a.trainer.max_epochs: 3}\n", "3: variants.y: .* 'x'"),  # base's
        (
            "variants:\n  x: {}\n  y: {a.n: 1}\n  z: {a.wandb.mode: online}\n",
            "4: variants.z: .* 'x'",
        ),
        ("grid:\n  l: {r: {}, s: {a.n: 1}}\n  m:\n    x: {}\n    y: {}\n", "5: grid.m.y: .* 'r,x'"),
    ],
)
def test_a_variant_that_changes_nothing_is_refused_with_the_one_it_repeats(tmp_path, varies, place):
    text = f"{varies}stages: {{a: {{settings: {{}}}}}}\n{TABLE}"
    with pytest.raises(ValueError, match=f"study.yaml:{place}"):
        planned(tmp_path, text)


@pytest.mark.parametrize(
    ("varies", "fault"),
    [
        # what a variant changes is not run for it
        (
            "variants:\n  x: {b.run: null}\n  y: {}\n  z: {b.run: null, a.n: 9}\n",
            r"5: variants\.z: .*: 'z' runs the same as 'x'",
        ),
        (
            "grid:\n  source: {none: {b.run: null}, a: {}}\n  a.n: [1, 2]\n",
            r"4: grid\.a\.n\.2: .*: 'none,2' runs the same as 'none,1'",
        ),
        # two axes say the same in other words
        (
            "grid:\n  p: {x: {}, y: {b.configs+: [FILE]}}\n  b.m: [1, 2]\n  q:\n"
            "    u: {}\n    v: {b.configs+: [FILE]}\n",
            r"3: grid\.p\.y: .*: 'y,1,u' runs the same as 'x,1,v'",
        ),
    ],
)
def test_variants_for_which_the_same_is_run_are_refused_by_both_names(tmp_path, varies, fault):
    (tmp_path / "file.yaml").write_text("model: {n: 1}\n")
    text = (
        f"seeds: [0, 1]\n{varies}stages: {{a: {{}}, b: {{settings: {{run: '${{a}}'}}}}}}\n{TABLE}"
    )
    with pytest.raises(ValueError, match=f"study.yaml:{fault}"):
        planned(tmp_path, text.replace("FILE", str(tmp_path / "file.yaml")))


def test_variants_that_differ_in_one_of_several_last_stages_are_planned(tmp_path):
    text = "stages: {a: {}, b: {}}\nvariants: {x: {}, y: {a.n: 1}, z: {b.n: 1}}\n"
    assert len(names(tmp_path, text)) == 6


@pytest.mark.parametrize("command", ["test", "validate"])
def test_scoring_without_a_run_is_refused(tmp_path, command):
    text = f"stages:\n  a: {{}}\n  b: {{command: {command}}}\nvariants:\n  x: {{b.run: '${{a}}'}}\n"
    assert names(tmp_path, text) == ["shared/a/seed=0", "x/b/seed=0"]
    fault = r"study\.yaml:3: stages\.b: say which run it scores in y/b/seed=0: 'run: \$\{STAGE\}'"
    with pytest.raises(ValueError, match=fault):
        names(tmp_path, f"{text}  y: {{}}\n")


def test_configurations_make_a_difference_by_what_they_say(tmp_path):
    for name, value in {"a": 1, "b": 2, "c": 2}.items():
        (tmp_path / f"{name}.yaml").write_text(f"model: {{n: {value}}}\n")
    text = (
        f"parameters: {{at: {tmp_path}}}\nstages: {{s: {{configs: ['${{at}}/a.yaml']}}}}\n{TABLE}"
    )
    variants = "variants: {x: {}, y: {s.configs+: ['${at}/b.yaml']}}\n"
    plan = planned(tmp_path, text + variants)
    assert [cell.settings["model.n"] for cell in plan.cells.values()] == [1, 2]
    assert plan.cells["y/s/seed=0"].stage.configs == ("${at}/a.yaml", "${at}/b.yaml")
    with pytest.raises(ValueError, match=r"variants\.z: .* the same as 'y'"):
        planned(tmp_path, text + variants[:-2] + ", z: {s.configs: ['${at}/c.yaml']}}\n")


def test_a_configuration_that_is_not_there_is_refused_with_its_cell(tmp_path):
    with pytest.raises(ValueError, match=r"no\.yaml: there is no such file \(configs of shared/a/"):
        names(tmp_path, "stages: {a: {configs: [no.yaml]}}\n")


def test_every_cell_stands_after_those_it_needs_and_seeds_go_in_turn(tmp_path):
    text = """\
seeds: [5, 3, 4]
stages: {a: {}, b: {settings: {run: "${a}"}}, c: {seeds: [9]}, d: {settings: {x: ["${b}", "${c}"]}}}
variants: {x: {}, y: {a.n: 1}, z: {d.n: 1}}
"""
    cells = planned(tmp_path, text + TABLE).cells
    seen = set()
    for name, cell in cells.items():
        assert set(cell.needs.values()) <= seen
        seen.add(name)
    seeds = [cell.seed for cell in cells.values() if cell.stage.name != "c"]
    assert seeds == [5] * 9 + [3] * 9 + [4] * 9


def test_two_thousand_cells_are_planned(tmp_path):
    text = f"""\
seeds: {list(range(50))}
stages: {{one: {{}}, two: {{settings: {{run: "${{one}}"}}}}}}
grid: {{one.n: {list(range(8))}, two.lr: [1, 2, 3, 4]}}
"""
    cells = planned(tmp_path, text + TABLE).cells
    assert len(cells) == 50 * 8 + 50 * 8 * 4
    assert len({cell.run_dir for cell in cells.values()}) == len(cells)
    two = [cell for cell in cells.values() if cell.stage.name == "two"]
    assert len(two) == 1600
    for cell in two:
        assert cell.needs == {"one": f"{cell.values['n']}/one/seed={cell.seed}"}
        assert cell.settings["lr"] == int(cell.values["lr"])


WORDS = """\
parameters: {data: here, top: TOP, rows: 3, names: [u, v]}
stages:
  a: {}
  b: {command: test, configs: ["${top}/b.yaml"], settings: {data.path: "${data}/x", run: "${a}/y"}}
  c: {settings: {n: [1, "${data}"], m: null, x: "${names}", said: "${rows} of ${data}"}}
"""


@pytest.fixture
def cells(tmp_path):
    (tmp_path / "b.yaml").write_text("model: {n: 1}\n")
    text = WORDS.replace("TOP", str(tmp_path)) + TABLE
    return planned(tmp_path, text, data="there").cells


def test_words_are_a_command_and_written_keeps_the_parameters(tmp_path, cells):
    cell = cells["shared/b/seed=0"]
    runs = tmp_path / "runs" / "shared"
    last = (
        "--run",
        f"{runs}/a/seed=0/y",
        "--seed_everything",
        "0",
        "--run_dir",
        f"{runs}/b/seed=0",
    )
    assert cell.words == ("test", "--config", f"{tmp_path}/b.yaml", "--data.path", "there/x", *last)
    assert cell.written == (
        *("test", "--config", "${top}/b.yaml", "--data.path", "${data}/x"),
        *last,
    )
    assert (cell.run_dir, cell.group) == (runs / "b" / "seed=0", "shared/b")
    own = {"model.n": 1, "data.path": "there/x", "run": "${a}/y"}  # where a lies does not count
    assert cell.settings == combined([], own)


def test_a_parameter_that_is_the_whole_value_keeps_its_type(cells):
    cell = cells["shared/c/seed=0"]
    assert cell.words[1:7] == ("--n", '[1, "there"]', "--m", "null", "--x", '["u", "v"]')
    assert {key: cell.settings[key] for key in ("n", "m", "x", "said")} == {
        "n": [1, "there"],
        "m": None,
        "x": ["u", "v"],
        "said": "3 of there",
    }


def test_the_seed_is_a_setting(tmp_path):
    cells = planned(tmp_path, CHAIN).cells
    assert cells["scratch/score/seed=1"].settings["seed_everything"] == 1
    assert cells["scratch/score/seed=1"].words[-4:-2] == ("--seed_everything", "1")


UNFREEZING = """\
# Which way of unfreezing is best, in two languages?
parameters: {english: data/english, german: data/german}
seeds: [0, 1, 2, 3, 4]
stages:
  finetune:
    configs: []
    settings: {trainer.max_epochs: 4}
grid:
  unfreezing:
    all_at_once: {}
    head_only: {finetune.unfreezing.blocks: 0}
    last_two: {finetune.unfreezing.blocks: 2}
    last_half: {finetune.unfreezing.blocks: 3}
    one_an_epoch: {finetune.unfreezing.every_epochs: 1}
    two_an_epoch: {finetune.unfreezing.every_epochs: 1, finetune.unfreezing.blocks_each: 2}
    one_in_100_steps: {finetune.unfreezing.every_steps: 100}
    top_down: {finetune.unfreezing.order: top_down, finetune.unfreezing.every_epochs: 1}
    when_it_stalls: {finetune.unfreezing.monitor: val/entity_f1}
  data:
    english: {finetune.data.path: "${english}"}
    german: {finetune.data.path: "${german}"}
table:
  rows: [unfreezing, data]
  columns: {dev F1: val/entity_f1, test F1: test/entity_f1}
"""


def test_nine_variants_of_two_datasets_and_five_seeds_fit_on_a_page(tmp_path):
    assert len(UNFREEZING.splitlines()) <= 40
    cells = planned(tmp_path, UNFREEZING).cells
    assert len(cells) == 90
    assert "when_it_stalls,german/finetune/seed=4" in cells
