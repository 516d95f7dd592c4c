import pytest

from lit_llm.freezing import FreezingConfig, PhaseConfig
from lit_llm.freezing_plan import FreezingPlan, freezing_plan

GROUPS = ["embeddings", "block 0", "block 1", "block 2", "final", "head"]


def plan(name="full", total=100, per_epoch=10, groups=GROUPS, **settings):
    return freezing_plan(FreezingConfig(name, **settings), groups, total, per_epoch)


def opened(found: FreezingPlan):
    """[(step, short names of what learns)], such as ``(0, "h")`` or ``(50, "e012fh")``."""
    short = {name: name.split()[-1][0] for name in GROUPS}
    return [
        (start, "".join(short[name] for name in GROUPS if name in phase))
        for start, phase in zip(found.starts, found.phases, strict=True)
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("full", [(0, "e012fh")]),
        ("head_only", [(0, "h")]),
        ("two_step", [(0, "h"), (50, "e012fh")]),
        ("three_stage", [(0, "2fh"), (25, "12fh"), (50, "e012fh")]),
        ("gradual", [(0, "h"), (12, "2fh"), (25, "12fh"), (38, "012fh"), (50, "e012fh")]),
        (
            "chain_thaw",
            [(0, "h"), (10, "e"), (20, "0"), (30, "1"), (40, "2f"), (50, "e012fh")],
        ),
        ("bottom_up", [(0, "h"), (12, "eh"), (25, "e0h"), (38, "e01h"), (50, "e012fh")]),
    ],
)
def test_named_schedules_spread_over_half_of_the_run(name, expected):
    assert opened(plan(name)) == expected


@pytest.mark.parametrize(
    ("settings", "starts"),
    [
        ({"every_steps": 7}, (0, 7, 14, 21, 28)),
        ({"every_epochs": 2}, (0, 20, 40, 60, 80)),
        ({"every_epochs": 0.5}, (0, 5, 10, 15, 20)),
        ({"fraction": 0.8}, (0, 20, 40, 60, 80)),
        ({"patience": 2}, (0,)),
    ],
)
def test_phases_begin_by_steps_epochs_fraction_or_metric(settings, starts):
    assert plan("gradual", **settings).starts == starts


def test_a_list_of_ones_own():
    phases = [
        PhaseConfig(["head", "block 2"], step=0),
        PhaseConfig(["block [01]"], epoch=1.5),
        PhaseConfig(["*"], fraction=0.9),
    ]
    assert opened(plan("custom", phases=phases)) == [(0, "2h"), (15, "01"), (90, "e012fh")]


def test_what_learns_is_a_function_of_the_step():
    found = plan("chain_thaw", every_steps=10)
    assert found.open_at(9) == {"head"}
    assert found.open_at(10) == {"embeddings"}
    assert found.open_at(99) == set(GROUPS)
    assert found.opened_at("head", 5) == 0
    assert found.opened_at("block 0", 25) == 20
    assert found.opened_at("head", 60) == 50  # frozen in between
    assert found.opened_at("final", 60) == 40  # from the phase before on


def test_groups_kept_frozen_are_in_no_phase():
    found = plan("gradual", keep_frozen=["embeddings", "block 0"])
    assert opened(found) == [(0, "h"), (25, "2fh"), (50, "12fh")]
    assert opened(plan("full", keep_frozen=["embeddings"])) == [(0, "012fh")]
    assert opened(plan("chain_thaw", keep_frozen=["block 1"])) == [
        *[(0, "h"), (12, "e"), (25, "0"), (38, "2f"), (50, "e02fh")]
    ]


def test_a_run_shorter_than_its_phases_ends_with_everything_open():
    found = plan("gradual", total=2)
    assert found.open_at(0) == {"head", "block 2", "block 1", "final"}
    assert found.open_at(1) == set(GROUPS)


def test_a_trial_goes_through_phases_that_would_begin_after_its_end():
    phases = [PhaseConfig(["head"], step=0), PhaseConfig(["*"], epoch=3)]
    for settings in ({"name": "two_step", "every_epochs": 3}, {"name": "custom", "phases": phases}):
        config = FreezingConfig(**settings)
        assert freezing_plan(config, GROUPS, 2, 1, trial=True).starts == (0, 1)
        assert freezing_plan(config, GROUPS, 5, 1, trial=True).starts == (0, 3)


def test_starts_that_a_metric_decided_are_replayed():
    found = plan("two_step", patience=1).with_starts([0, 33])
    assert found.open_at(32) == {"head"}
    assert found.open_at(33) == set(GROUPS)


def test_a_tied_head_is_no_group():
    assert opened(plan("gradual", groups=GROUPS[:-1], fraction=0.6)) == [
        *[(0, "2f"), (20, "12f"), (40, "012f"), (60, "e012f")]
    ]


CUSTOM = [PhaseConfig(["head"], step=0), PhaseConfig(["*"], step=5)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "gradual", "every_epochs": 3}, r"phase 5 of 5 begins at step 120.*after 100"),
        ({"name": "two_step", "every_steps": 100}, "phase 2 of 2 begins at step 100"),
        (
            {"name": "gradual", "keep_frozen": ["block 7"]},
            r"keep_frozen: no group.*'block 7'.*head",
        ),
        ({"name": "head_only", "keep_frozen": ["*"]}, "in which nothing would learn"),
        (
            {"name": "custom", "phases": [*CUSTOM, PhaseConfig(["blocks"], step=9)]},
            r"phases\[2\]: no group is called 'blocks'",
        ),
        (
            {"name": "custom", "phases": [*CUSTOM, PhaseConfig(["head"], step=5)]},
            "phase 3 begins at step 5 and the one before it at 5: they overlap",
        ),
        (
            {"name": "custom", "phases": [*CUSTOM, PhaseConfig(["head"], epoch=0.1)]},
            "phase 3 begins at step 1 and the one before it at 5",
        ),
        (
            {"name": "custom", "phases": [PhaseConfig(["head", "block *"], step=0)]},
            r"embeddings, final would never learn.*keep_frozen",
        ),
        ({"name": "custom", "phases": CUSTOM[1:]}, "the first one must begin at step 0, not 5"),
        ({"name": "gradual", "patience": 1, "every_steps": 1}, "exclude each other"),
        ({"name": "custom", "phases": CUSTOM, "every_steps": 1}, "every_steps: the entries of"),
        ({"name": "gradual", "every_steps": 0}, "every_steps must be above 0, not 0"),
        ({"name": "gradual", "fraction": 1.0}, r"fraction must lie in \[0, 1\), not 1.0"),
        ({"every_steps": 5}, "every_steps: full has one phase"),
        ({"name": "head_only", "patience": 1}, "patience: head_only has one phase"),
        ({"name": "gradual", "fraction": 0.2, "every_steps": 1}, "exclude each other"),
        ({"name": "gradual", "monitor": "val/loss", "patience": 1}, "monitor and monitor_mode"),
        (
            {"name": "gradual", "monitor": "val/loss", "monitor_mode": "min"},
            "monitor is watched by patience",
        ),
        (
            {"name": "two_step", "groups": GROUPS[:-1]},
            "begins with the head, which is tied",
        ),
        ({"name": "gradual", "phases": CUSTOM}, "phases belongs to name: custom, and gradual"),
        ({"name": "custom"}, "custom needs"),
        ({"name": "melt"}, "name is one of full, .* not 'melt'"),
        ({"name": "gradual", "frozen_layers": "ice"}, "train or eval, not 'ice'"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(settings, message):
    with pytest.raises(ValueError, match=message):
        plan(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "one of step, epoch and fraction, not 0"),
        ({"step": 1, "epoch": 1}, "not 2 of them"),
        ({"step": -1}, "begins before the run, at -1"),
    ],
)
def test_an_entry_says_once_when_it_begins(settings, message):
    with pytest.raises(ValueError, match=message):
        PhaseConfig(["head"], **settings)


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        (GROUPS, "head, final, block 2 to block 0, embeddings"),
        (["head", "block 2", "block 0"], "head, block 2, block 0"),
        (["block 1", "block 0"], "block 1, block 0"),
        ([], ""),
    ],
)
def test_groups_are_named_in_short(groups, words):
    assert plan().in_words(set(groups)) == words
