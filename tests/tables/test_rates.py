"""Rates over a run, as text and as a figure."""

import pytest

from lit_llm.tables.rates import draw_rates, rates_as_text

RATES = {"embeddings": [None, None, 0.0, 0.1], "block 0": [None] * 4, "head": [0.25, 0.5, 1.0, 0.5]}


def test_a_block_for_each_step_of_a_short_run_blank_where_frozen():
    assert rates_as_text(RATES).splitlines() == [
        "head        ▃▅█▅  peak 1",
        "block 0           frozen",
        "embeddings    ▁█  peak 0.1",
    ]


def test_a_long_run_is_drawn_in_sixty_blocks():
    line = rates_as_text({"head": [None] * 500 + [1.0] * 500})
    assert line == f"head  {' ' * 30}{'█' * 30}  peak 1"


def test_figures_are_the_same_for_the_same_rates(tmp_path):
    pytest.importorskip("matplotlib")
    for name in ("one.svg", "two.svg"):
        draw_rates(RATES, tmp_path / name, "gradual")
    text = (tmp_path / "one.svg").read_text()
    assert text == (tmp_path / "two.svg").read_text()
    assert all(f">{name}<" in text for name in (*RATES, "gradual", "optimizer step"))
    draw_rates({"head": [1.0, 1.0]}, tmp_path / "constant.png", "full")


def test_rates_of_nothing_are_not_drawn(tmp_path):
    with pytest.raises(ValueError, match="no learning rate above 0"):
        draw_rates({"head": [0.0]}, tmp_path / "zero.svg", "full")
    assert rates_as_text({"head": [0.0]}) == "head  ▁  peak 0"
