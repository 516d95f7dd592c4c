"""Buckets and the way to them and back."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lit_llm.backbone.segment_layout import SegmentLayout
from lit_llm.batch import PackedBatch


def layout_of(lengths: list[int], row_length: int, rows: list[list[int]]) -> SegmentLayout:
    items = [{"input_ids": np.ones(n, np.int64)} for n in lengths]
    return SegmentLayout(PackedBatch.pack(items, rows, row_length, 0))


def test_buckets_hold_every_segment_and_round_up_to_32():
    lengths = np.random.default_rng(0).integers(1, 513, 64).tolist()
    layout = layout_of(lengths, 512, [[i] for i in range(64)])
    found = [(n, b.length) for b in layout.buckets for n in (~b.empty).sum(1).tolist()]
    assert sorted(found) == sorted((n, math.ceil(n / 32) * 32) for n in lengths)
    assert layout.num_slots == sum(b.size * b.length for b in layout.buckets)
    assert layout.longest == max(lengths)


def test_bucket_of_equal_lengths_is_split_by_its_scores():
    layout = layout_of([256] * 9, 256, [[i] for i in range(9)])
    assert [(b.size, b.length) for b in layout.buckets] == [(4, 256), (4, 256), (1, 256)]


@pytest.mark.parametrize("heads", [1, 3])
def test_gather_then_scatter_is_identity_and_zero_on_filler(heads):
    layout = layout_of([3, 40, 33, 1], 45, [[0, 1], [2, 3]])
    gather, scatter, empty = layout.rows(heads)
    vectors = torch.arange(1.0, 2 * 45 * heads + 1)
    gathered = vectors[gather]
    assert len(gathered) == layout.num_slots * heads
    assert len(empty) == (layout.num_slots - 77) * heads
    gathered[empty] = torch.nan
    back = torch.cat([gathered, torch.zeros(1)])[scatter].view(2, 45, heads)
    expected = vectors.view(2, 45, heads).clone()
    expected[0, 43:] = 0
    expected[1, 34:] = 0
    assert torch.equal(back, expected)


def test_empty_slots_repeat_their_own_segment():
    layout = layout_of([2, 3], 5, [[0, 1]])
    gather, _, _ = layout.rows(1)
    assert [sorted(set(row.tolist())) for row in gather.view(2, 32)] == [[0, 1], [2, 3, 4]]


def test_bias_hides_empty_slots_or_the_future():
    layout = layout_of([31, 32], 63, [[0, 1]])
    (stripe,) = layout.stripes(False, torch.float32)
    assert stripe.bias is not None
    assert stripe.bias.shape == (2, 1, 1, 32)
    assert (stripe.bias == -torch.inf).sum() == 1
    (triangle,) = layout.stripes(True, torch.float32)
    assert torch.equal(triangle.bias, torch.full((32, 32), -torch.inf).triu(1))
    assert layout_of([32], 32, [[0]]).stripes(False, torch.float32)[0].bias is None
    assert layout.stripes(False, torch.float32)[0] is stripe  # computed once for all layers


@pytest.mark.parametrize("length", [256, 257, 300, 512, 1000])
def test_long_causal_segments_are_cut_in_two_of_which_the_first_sees_all(length):
    layout = layout_of([length], length, [[0]])
    slots = layout.buckets[0].length
    cuts = [(stripe.start, stripe.stop) for stripe in layout.stripes(True, torch.float32)]
    if length <= 256:
        assert cuts == [(0, slots)]
    else:
        (middle, end), (start, stop) = cuts
        assert (start, stop, end) == (0, middle, slots)
        assert middle % 32 == 0
        assert abs(2 * middle - slots) <= 32
    assert [(s.start, s.stop) for s in layout.stripes(False, torch.float32)] == [(0, slots)]
