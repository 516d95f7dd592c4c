"""Each case is a piece of a study; the line at fault ends with what is said about it."""

import re

import pytest

from lit_llm.study.study_file import read_study

STAGES = "stages:\n  a: {}\n  b: {}\n"
TABLE = "table: {columns: [val/f1]}\n"
AXIS = "variants: {x: {}, y: {a.lr: 1}}\n"


def written(directory, text):
    """The case, completed by the sections it does not speak of."""
    for name, section in {"stages": STAGES, "table": TABLE}.items():
        if not re.search(f"^{name}:", text, re.MULTILINE):
            text += section
    path = directory / "study.yaml"
    path.write_text(text)
    return path


def refused(directory, text):
    """``KEY: VALUE  #! MESSAGE``: the study is refused at this line, with this message."""
    path = written(directory, text)
    (fault,) = (
        f"{path}:{number}: {line.partition('#! ')[2]}"
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if "#! " in line
    )
    with pytest.raises(ValueError, match="^" + re.escape(fault)):
        read_study(path)


@pytest.mark.parametrize("name", ["table.md", "table.csv", "Table.md"])
def test_a_variant_is_not_called_like_the_table(tmp_path, name):
    message = r"the study's table is a file of this name"
    for text in (
        f"variants: {{x: {{}}, {name}: {{a.lr: 1}}}}\n",
        f"grid: {{n: {{{name}: {{}}}}}}\n",
    ):
        with pytest.raises(ValueError, match=message):
            read_study(written(tmp_path, text))
    with pytest.raises(ValueError, match="a name is made of letters"):
        read_study(written(tmp_path, f"stages: {{{name}: {{}}}}\n"))


def cases(text):
    """A parameter for each case."""
    return pytest.mark.parametrize("text", text.split("---\n"))


@cases("""\
seed: [1]  #! seed: there is no such key; did you mean seeds?
---
stages:
  a:
    config: []  #! stages.a.config: there is no such key; did you mean configs?
---
table:
  column: [x]  #! table.column: there is no such key; did you mean columns?
---
table:
  columns:
    F: {metric: x, stages: a}  #! table.columns.F.stages: there is no such key; did you mean stage?
---
stages:
  a:  #! stages.a: a mapping was expected, not None
---
parameters: [1]  #! parameters: a mapping was expected, not [1]
---
stages: {}  #! stages: a study names at least one stage
---
stages: [a]  #! stages: a study names at least one stage
""")
def test_unknown_keys_and_shapes_are_refused_at_every_level(tmp_path, text):
    refused(tmp_path, text)


@pytest.mark.parametrize("command", ["test", "validate"])
@cases("""\
stages:
  a: {}
  b:
    command: COMMAND
    settings: {bogus.key: 1}  #! stages.b.settings.bogus.key: COMMAND has no such setting; there are
---
stages:
  a: {}
  b:
    command: COMMAND
    settings: {rum: x}  #! stages.b.settings.rum: COMMAND has no such setting; did you mean run?
---
stages:
  a: {}
  b: {command: COMMAND, settings: {run: "${a}", trainer.callbacks+: [], data: X, model.n: 1}}
variants:
  x: {b.optimizer: 1}  #! variants.x.b.optimizer: COMMAND has no such setting
""")
def test_a_setting_that_scoring_does_not_take_is_refused(tmp_path, text, command):
    refused(tmp_path, text.replace("COMMAND", command))


SPLIT = """\
stages:
  a: {}
  b:
    command: validate
    settings: {run: "${a}", split: train}
"""


def test_losses_of_training_examples_are_for_validate_alone(tmp_path):
    study = read_study(written(tmp_path, SPLIT))
    assert study.stages["b"].settings["split"] == "train"
    fault = "  #! stages.b.settings.split: test has no such setting"
    refused(tmp_path, SPLIT.replace("validate", "test").replace("train}", "train}" + fault))


NUMBERS = "a list of numbers such as [0, 1, 2] was expected, not"


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ("[0, 1, 0]", "seed 0 is given twice"),
        ("[0, -1]", f"{NUMBERS} [0, -1]"),
        ("3", f"{NUMBERS} 3"),
        ("[]", f"{NUMBERS} []"),
        ("[true]", f"{NUMBERS} [True]"),
        ("[1.0]", f"{NUMBERS} [1.0]"),
        ("null", f"{NUMBERS} None"),
    ],
)
def test_seeds_are_distinct_whole_numbers(tmp_path, seeds, message):
    refused(tmp_path, f"seeds: {seeds}  #! seeds: {message}\n")
    refused(tmp_path, f"stages:\n  a:\n    seeds: {seeds}  #! stages.a.seeds: {message}\n")


@cases("""\
command: predict  #! command: a stage is one of fit, validate, test, not 'predict'
---
configs: a.yaml  #! configs: a list of configuration files was expected, not 'a.yaml'
---
configs: [1]  #! configs: a list of configuration files was expected, not [1]
---
settings:  #! settings: settings such as 'trainer.max_epochs: 3' were expected
---
settings: {run_dir: x}  #! settings.run_dir: the study sets this itself: leave it out
---
settings: {resume: x}  #! settings.resume: the study sets this itself: leave it out
---
settings: {config: x}  #! settings.config: the study sets this itself: use configs
---
settings: {seed_everything: 1}  #! settings.seed_everything: the study sets this itself: use seeds
---
settings: {data: {n: 3}}  #! settings.data: settings are written as flags are: data.n: VALUE
---
settings: {"": 3}  #! settings.: a setting's name was expected, such as trainer.max_epochs
---
settings: {--data.n: 3}  #! settings.--data.n: a setting's name was expected
---
settings: {data n: 3}  #! settings.data n: a setting's name was expected
""")
def test_what_a_stage_cannot_hold_is_refused(tmp_path, text):
    refused(tmp_path, f"stages:\n  a:\n    {text.replace('#! ', '#! stages.a.')}")


@pytest.mark.parametrize("name", ["two words", "shared", "a/b", "a,b", "../a", "''", ".a"])
@pytest.mark.parametrize(
    ("section", "value"), {"stages": {}, "variants": {}, "grid": {"x": {}}, "parameters": 1}.items()
)
def test_names_that_make_no_directory_are_refused(tmp_path, name, section, value):
    marks = "_ -" if section == "stages" else "_ . + = -"
    said = f"a name is made of letters, digits and {marks}, begins with a letter or a number, "
    fault = f"{section}.{name.strip(chr(39))}: {said}and is not 'shared'"
    refused(tmp_path, f"{section}:\n  {name}: {value}  #! {fault}\n")


@cases(f"""\
{AXIS}grid: {{}}  #! grid: a study has variants or a grid, not both
---
variants: [x, y]  #! variants: names and what each changes were expected: 'NAME: {{}}'
---
variants: {{}}  #! variants: names and what each changes were expected
---
grid: [x]  #! grid: axes were expected, each with its values
---
grid:
  data: 3  #! grid.data: names and what each changes were expected
---
grid:
  a.lr: [1, 2, 1]  #! grid.a.lr: a value is given twice
---
grid:
  a.lr: []  #! grid.a.lr: names and what each changes were expected
---
grid:
  a.lr: [1, 2]
  b.lr: [1, 2]  #! grid.b.lr: there are two axes 'lr': name one of them in full
---
grid:
  a.lr: [1, 2]
  rate:
    low: {{b.n: 2}}
    high: {{a.n: 1, a.lr: 2}}  #! grid.rate.high: a.lr is changed by lr too: leave it to one axis
---
grid:
  one: {{x: {{a.model.n: 1, a.m: 1}}, y: {{a.m: 2}}}}
  two:
    x: {{a.model.init_args.n: 2}}  #! grid.two.x: a.model.init_args.n is changed by one too: leave
---
variants:
  x: 3  #! variants.x: changes such as 'STAGE.SETTING: VALUE' were expected, or {{}}
---
stages: {{fine_tune: {{}}}}
variants:
  x:
    finetune.n: 3  #! variants.x.finetune.n: there is no stage 'finetune'; did you mean fine_tune?
---
variants:
  x:
    a: 3  #! variants.x.a: say which setting of a: 'a.SETTING: VALUE'
---
variants:
  x:
    a.configs+: b  #! variants.x.a.configs+: a list of configuration files was expected, not 'b'
---
variants:
  x: {{a.resume: b}}  #! variants.x.a.resume: the study sets this itself: leave it out
---
grid:
  g:
    x: {{c.d: 1}}  #! grid.g.x.c.d: there is no stage 'c'; there are a, b
""")
def test_what_varies_is_checked(tmp_path, text):
    refused(tmp_path, text)


@cases("""\
a: {settings: {run: "${b}"}}  #! a refers to b, which comes later: stages refer to earlier ones
---
a: {settings: {run: "${a}/best"}}  #! a refers to itself: stages refer to earlier ones
---
a: {settings: {run: [x, "${c}"]}}  #! ${c} is no earlier stage and no parameter; there are data
---
a: {configs: ["${datta}/x"]}  #! ${datta} is no earlier stage and no parameter; did you mean data?
""")
def test_references_point_to_what_is_there_before(tmp_path, text):
    text = text.replace("#! ", "#! stages.a: ")
    refused(tmp_path, f"parameters: {{data: x}}\nstages:\n  {text}  b: {{}}\n")


@cases("""\
variants:
  x: {}
  y: {a.run: "${b}"}  #! variants.y: a refers to b, which comes later
---
grid:
  g:
    y: {a.run: "${c}"}  #! grid.g.y: ${c} is no earlier stage and no parameter
---
stages:
  a: {}
  b: {settings: {run: "${c}"}}  #! stages.b: b refers to c, which comes later
  c: {}
---
stages:
  a: {}
  b: {configs: ["${a}/config.yaml"]}  #! stages.b: configs are read before any stage has run
---
variants:
  x: {b.configs+: ["${a}/config.yaml"]}  #! variants.x: configs are read before any stage has run
""")
def test_references_are_checked_in_every_variant(tmp_path, text):
    refused(tmp_path, text)


@cases("""\
parameters: {d: x}
table:
  rows: []
  columns: [a, a]  #! table.columns: a is given twice
---
variants: {x: {}}
table:
  columns: [a]
  rows: [variant, variant]  #! table.rows: variant is given twice
---
variants:  #! variants.True: write this name in quotes: YAML reads it as true or false
  yes: {}
---
grid:
  stage: {x: {}}  #! grid.stage: an axis cannot be called stage: columns have such a key
---
stages:
  fine.tune: {}  #! stages.fine.tune: a name is made of letters, digits and _ -
---
parameters:
  d: ${e}/x  #! parameters.d: a parameter does not refer to others
  e: y
---
stages:
  a:
    settings: {1: 2}  #! stages.a.settings.1: a setting's name was expected
---
table:
  columns:
    x: {metric: m, stage: [a]}  #! table.columns.x: there is no stage ['a']; there are a
""")
def test_what_yaml_reads_otherwise_than_it_looks_is_refused(tmp_path, text):
    refused(tmp_path, text)


def test_a_parameter_may_begin_like_a_stage(tmp_path):
    text = "parameters: {a_file: x.yaml}\nstages:\n  a: {}\n"
    text += "  b: {configs: ['${a_file}'], settings: {run: '${a}'}}\n"
    assert read_study(written(tmp_path, text)).stages["b"].references() == ["a_file", "a"]


def test_parameters_are_given_by_name(tmp_path):
    text = "parameters: {data: here, rows: 3}\n"
    text += "stages: {b: {settings: {x: ['${data}', '${rows}']}}}\n"
    study = read_study(written(tmp_path, text), {"data": "there"})
    assert study.parameters == {"data": "there", "rows": 3}
    with pytest.raises(ValueError, match=r"--set dta: .* no such parameter; did you mean data\?"):
        read_study(study.path, {"dta": "there"})
    refused(tmp_path, "parameters:\n  a: 1  #! parameters.a: a stage has this name\n")


@pytest.mark.parametrize(
    ("own", "typed", "value"),
    [
        ("4", "4", 4),
        ("4", "4.0", 4.0),
        ("true", "no", False),
        ("null", "3", 3),
        ("[u, v]", "[w]", ["w"]),
        ("0.001", "1e-4", "1e-4"),  # which settings take for a number
        ("1e-3", "0.001", 0.001),
        ("4", "2020-01-01", "2020-01-01"),
        ("here", "2020", "2020"),  # a directory may have this name
        ("here", "a #1: *b", "a #1: *b"),
    ],
)
def test_what_is_typed_is_read_as_in_the_file_and_stays_text_where_that_has_text(
    tmp_path, own, typed, value
):
    text = f"parameters: {{p: {own}}}\nstages: {{b: {{settings: {{x: '${{p}}'}}}}}}\n"
    found = read_study(written(tmp_path, text), {"p": typed}).parameters["p"]
    assert found == value
    assert type(found) is type(value)


@cases("""\
parameters:
  here: 1
  there: 2  #! parameters.there: no stage refers to it: write ${there} where it is meant, or leave
stages: {a: {settings: {x: "${here}"}}}
---
parameters:
  used: 1
  unused: 2  #! parameters.unused: no stage refers to it
stages: {a: {}, b: {}}
variants: {x: {}, y: {b.x: ["${used}/y"]}}
""")
def test_a_parameter_that_nobody_refers_to_is_refused(tmp_path, text):
    refused(tmp_path, text)


@cases("""\
rows: axis  #! rows: there is no axis 'axis'; there are variant
  columns: [x]
---
rows: [varian]  #! rows: there is no axis 'varian'; did you mean variant?
  columns: [x]
---
rows: 3  #! rows: the name of an axis was expected, or a list of them
  columns: [x]
---
columns: []  #! columns: name at least one metric
---
columns: x  #! columns: name at least one metric
---
columns: [1]  #! columns: a list of metrics, or 'HEADING: {metric: ...}'
---
columns:
    F1: {stage: a}  #! columns.F1: name the metric: 'metric: test/entity_f1'
---
columns:
    F1: {metric: x, stage: aa}  #! columns.F1: there is no stage 'aa'; did you mean a?
---
rows: []
  columns:
    F1: {metric: x, variant: xx}  #! columns.F1.variant: variant has no value 'xx'; did you mean x?
---
columns:
    F1: {metric: x, variant: x}  #! columns.F1.variant: variant makes the rows already
""")
def test_the_table_is_checked(tmp_path, text):
    refused(tmp_path, f"{AXIS}table:\n  {text.replace('#! ', '#! table.')}")


def test_a_study_without_a_table_is_refused(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(STAGES)
    with pytest.raises(ValueError, match=r"table: a study ends with a table: 'table: \{columns: "):
        read_study(path)


def test_what_is_not_said_has_its_default(tmp_path):
    study = read_study(written(tmp_path, f"seeds: [4, 2]\n{AXIS}").parent)
    assert study.name == tmp_path.name
    assert [(s.command, s.seeds) for s in study.stages.values()] == [("fit", (4, 2))] * 2
    assert study.rows == ("variant",)
    assert [(c.name, c.stage, c.metric, c.where) for c in study.columns] == [
        ("val/f1", "b", "val/f1", {})
    ]


def test_a_list_axis_names_its_values_by_themselves(tmp_path):
    study = read_study(written(tmp_path, "grid: {a.data.max_length: [512, null], b.lr: [1e-3]}\n"))
    assert study.axes == {
        "max_length": {
            "512": {"a": {"data.max_length": 512}},
            "None": {"a": {"data.max_length": None}},
        },
        "lr": {"1e-3": {"b": {"lr": "1e-3"}}},
    }


def test_an_axis_may_have_negative_numbers_and_dates(tmp_path):
    study = read_study(written(tmp_path, "grid: {a.n: [-1, 2, -0.5], b.day: [2020-01-01]}\n"))
    assert study.axes == {
        "n": {"-1": {"a": {"n": -1}}, "2": {"a": {"n": 2}}, "-0.5": {"a": {"n": -0.5}}},
        "day": {"2020-01-01": {"b": {"day": "2020-01-01"}}},
    }
