import pytest
import torch
from transformers import (
    get_constant_schedule_with_warmup,
    get_cosine_schedule_with_warmup,
    get_linear_schedule_with_warmup,
)

from lit_llm.freezing import FreezingConfig
from lit_llm.freezing_plan import freezing_plan
from lit_llm.schedules import ScheduleConfig, group_factor, learning_rate_factor


def transformers_factors(name, warmup_steps, total_steps, steps):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    if name == "constant":
        schedule = get_constant_schedule_with_warmup(optimizer, warmup_steps)
    elif name == "linear":
        schedule = get_linear_schedule_with_warmup(optimizer, warmup_steps, total_steps)
    else:
        schedule = get_cosine_schedule_with_warmup(optimizer, warmup_steps, total_steps)
    return [schedule.lr_lambdas[0](step) for step in range(steps)]


@pytest.mark.parametrize("name", ["linear", "cosine", "constant"])
@pytest.mark.parametrize(("warmup_steps", "total_steps"), [(0, 1), (0, 7), (3, 10), (25, 100)])
def test_factor_equals_transformers_at_every_step(name, warmup_steps, total_steps):
    factor = learning_rate_factor(ScheduleConfig(name, warmup_steps), total_steps)
    theirs = transformers_factors(name, warmup_steps, total_steps, total_steps + 1)
    assert [factor(step) for step in range(total_steps + 1)] == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize("name", ["linear", "cosine", "constant"])
def test_factor_of_nothing_but_warmup_equals_transformers(name):
    factor = learning_rate_factor(ScheduleConfig(name, warmup_steps=5), 5)
    # Step 5 is after the run: there is no sixth optimizer step.
    theirs = transformers_factors(name, 5, 5, 5)
    assert [factor(step) for step in range(5)] == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        # Two steps of warm-up, then four steps from 1 down to 0.2: 1 - 0.8 k / 4.
        (
            ScheduleConfig("linear", warmup_steps=2, final_fraction=0.2),
            [0.0, 0.5, 1.0, 0.8, 0.6, 0.4, 0.2, 0.2],
        ),
        # cos(0), cos(60 degrees), cos(120), cos(180) are 1, 1/2, -1/2, -1.
        (ScheduleConfig("cosine", warmup_steps=3), [0.0, 1 / 3, 2 / 3, 1.0, 0.75, 0.25, 0.0, 0.0]),
        (ScheduleConfig("constant", warmup_steps=2), [0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
        # A third of six steps is two.
        (
            ScheduleConfig("linear", warmup_fraction=1 / 3),
            [0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0],
        ),
    ],
)
def test_factor_gives_hand_values_and_holds_the_last(config, expected):
    factor = learning_rate_factor(config, total_steps=6)
    assert [factor(step) for step in range(8)] == pytest.approx(expected, abs=1e-12)


def test_warmup_steps_win_over_the_fraction():
    factor = learning_rate_factor(ScheduleConfig(warmup_steps=0, warmup_fraction=0.5), 10)
    assert factor(0) == 1.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "step"}, r"schedule.name is one of linear, .*, not 'step'"),
        ({"warmup_steps": -1}, r"schedule.warmup_steps must be at least 0, not -1"),
        ({"warmup_fraction": 1.5}, r"schedule.warmup_fraction must lie in \[0, 1\], not 1.5"),
        ({"warmup_fraction": float("nan")}, r"warmup_fraction must lie in \[0, 1\], not nan"),
        ({"restart": True}, "schedule.restart: no group of layers opens later"),
        (
            {"restart": True, "freezing": FreezingConfig("head_only")},
            "schedule.restart: no group of layers opens later",
        ),
        (
            {"name": "slanted_triangular", "final_fraction": 0.1},
            "schedule.final_fraction: a slanted triangle ends at 1/32",
        ),
        ({"final_fraction": -0.1}, r"schedule.final_fraction must lie in \[0, 1\], not -0.1"),
    ],
)
def test_config_refuses_what_makes_no_schedule(settings, message):
    with pytest.raises(ValueError, match=message):
        ScheduleConfig(**settings)


def test_warmup_longer_than_the_run_is_refused():
    with pytest.raises(ValueError, match=r"warmup_steps = 11 is more than the run's 10 steps"):
        learning_rate_factor(ScheduleConfig(warmup_steps=11), 10)


def ulmfit_rate(step, total_steps, cut_fraction, ratio=32):
    """Howard and Ruder 2018, section 3.2, written from the formula."""
    cut = total_steps * cut_fraction
    p = step / cut if step < cut else 1 - (step - cut) / (cut * (1 / cut_fraction - 1))
    return (1 + p * (ratio - 1)) / ratio


@pytest.mark.parametrize(("total_steps", "cut_fraction"), [(10, 0.1), (100, 0.1), (40, 0.25)])
def test_slanted_triangle_is_that_of_the_paper(total_steps, cut_fraction):
    config = ScheduleConfig("slanted_triangular", warmup_fraction=cut_fraction)
    factor = learning_rate_factor(config, total_steps)
    steps = range(total_steps + 1)
    theirs = [ulmfit_rate(step, total_steps, cut_fraction) for step in steps]
    assert [factor(step) for step in steps] == pytest.approx(theirs, abs=1e-12)


GROUPS = ["embeddings", "block 0", "head"]


def factors(group, config, total_steps=8, starts=None):
    plan = freezing_plan(config.freezing, GROUPS, total_steps, steps_per_epoch=4)
    plan = plan if starts is None else plan.with_starts(starts)
    factor = group_factor(config, group, lambda: plan, total_steps)
    return [factor(step) for step in range(total_steps)]


CHAIN = FreezingConfig("chain_thaw", every_steps=2)


def test_a_frozen_group_has_rate_zero_and_one_schedule_is_shared():
    config = ScheduleConfig("linear", warmup_steps=0, freezing=CHAIN)
    # 1 - k / 8 where the group learns: the head in steps 0, 1 and from 6 on.
    assert factors("head", config) == [1.0, 0.875, 0, 0, 0, 0, 0.25, 0.125]
    assert factors("embeddings", config) == [0, 0, 0.75, 0.625, 0, 0, 0.25, 0.125]


def test_a_group_that_opens_goes_through_the_whole_schedule():
    config = ScheduleConfig("linear", warmup_steps=1, freezing=CHAIN, restart=True)
    # Opened at step 4 with 4 to go: a step of warm-up, then 1, 2/3, 1/3.
    assert factors("block 0", config)[4:] == pytest.approx([0, 1, 2 / 3, 1 / 3])
    # The head begins a second time at 6 with 2 to go: 0, 1.
    assert factors("head", config) == pytest.approx([0, 1, 0, 0, 0, 0, 0, 1])


def test_a_warmup_longer_than_what_is_left_fills_it():
    config = ScheduleConfig("linear", warmup_steps=4, freezing=CHAIN, restart=True)
    assert factors("head", config)[6:] == [0.0, 0.5]


def test_phases_that_a_metric_began_count_from_there():
    freezing = FreezingConfig("two_step", patience=1)
    config = ScheduleConfig("linear", warmup_steps=0, freezing=freezing, restart=True)
    assert factors("block 0", config) == [0] * 8
    assert factors("block 0", config, starts=[0, 4]) == [0, 0, 0, 0, 1, 0.75, 0.5, 0.25]
