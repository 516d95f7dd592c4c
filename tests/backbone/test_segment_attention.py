"""Segment attention against torch's own attention under a block mask."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import BertConfig, BertModel, LlamaConfig, LlamaModel, MistralConfig, MistralModel

from lit_llm.backbone.segment_attention import SEGMENT_ATTENTION, segment_attention
from lit_llm.backbone.segment_layout import SegmentLayout
from lit_llm.batch import PackedBatch

ROWS = [[0, 3], [], [2, 1, 4]]  # lengths 3, 40, 33, 1, 7; the middle row is filler alone
LENGTHS = [3, 40, 33, 1, 7]
TINY = {
    "vocab_size": 30,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 16,
    "max_position_embeddings": 90,
}


def pack(lengths: list[int], rows: list[list[int]], row_length: int) -> PackedBatch:
    generator = torch.Generator().manual_seed(1)
    items = [{"input_ids": torch.randint(1, 30, (n,), generator=generator)} for n in lengths]
    return PackedBatch.pack(items, rows, row_length, 0)


def states(batch: PackedBatch, heads: int = 4, kv_heads: int = 4, width: int = 8) -> list[Tensor]:
    torch.manual_seed(0)
    rows, length = batch.input_ids.shape
    shapes = [(rows, n, length, width) for n in (heads, kv_heads, kv_heads)]
    return [torch.randn(shape).requires_grad_() for shape in shapes]


def module(causal: bool = False) -> torch.nn.Module:
    layer = torch.nn.Module()
    layer.is_causal = causal
    return layer


def block_mask(batch: PackedBatch, causal: bool = False) -> Tensor:
    """(R, 1, L, L), bool; filler sees filler, so that the reference stays finite."""
    same = batch.segment_ids[:, None, :, None] == batch.segment_ids[:, None, None, :]
    return same.tril() if causal else same


def reference(batch: PackedBatch, qkv: list[Tensor], causal: bool = False, **kwargs) -> Tensor:
    """Sdpa under the block mask; (R, L, N, H), zero on filler."""
    out = scaled_dot_product_attention(
        *qkv, attn_mask=block_mask(batch, causal), enable_gqa=True, **kwargs
    )
    return out.transpose(1, 2) * (batch.segment_ids >= 0)[:, :, None, None]


def with_gradients(out: Tensor, qkv: list[Tensor]) -> list[Tensor]:
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(2))
    return [out.detach(), *torch.autograd.grad((out * weight).sum(), qkv)]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize(
    ("lengths", "rows", "row_length"),
    [
        (LENGTHS, ROWS, 90),
        ([32, 32], [[0], [1]], 32),  # neither filler nor empty slots
        ([70], [[0]], 80),
        ([1] * 40, [list(range(40))], 40),
        ([5, 600, 520], [[2, 0], [1]], 620),  # a bucket of its own each
    ],
)
def test_attention_equals_sdpa_with_mask(lengths, rows, row_length, kv_heads, causal):
    batch = pack(lengths, rows, row_length)
    qkv = states(batch, kv_heads=kv_heads)
    ours, _ = segment_attention(
        module(causal), *qkv, None, scaling=0.3, segments=SegmentLayout(batch)
    )
    expected = with_gradients(reference(batch, qkv, causal, scale=0.3), qkv)
    for got, want in zip(with_gradients(ours, qkv), expected, strict=True):
        # Sums over 600 tokens grow, and float32's own noise with them.
        torch.testing.assert_close(got, want, atol=1e-6 * max(1, want.abs().max()), rtol=1e-5)


def test_long_segments_probabilities_are_not_kept():
    batch = pack([20, 300], [[0, 1]], 320)
    for dropout, kept in ((0.0, 1), (0.5, 2)):
        out, _ = segment_attention(
            module(False), *states(batch), None, dropout=dropout, segments=SegmentLayout(batch)
        )
        _, _, _, *probs = out.grad_fn.saved_tensors
        assert sum(p is not None for p in probs) == kept


def test_hand_value():
    # One segment of two tokens, then filler. Scores of token 0: (0, ln 3), so it reads
    # 1/4 * 1 + 3/4 * 5 = 4; token 1 has query 0 and reads the mean, 3.
    batch = pack([2], [[0]], 3)
    query = torch.tensor([math.log(3), 0, 9]).view(1, 1, 3, 1)
    key = torch.tensor([0.0, 1, 9]).view(1, 1, 3, 1)
    value = torch.tensor([1.0, 5, 9]).view(1, 1, 3, 1)
    out, weights = segment_attention(
        module(), query, key, value, None, scaling=1.0, segments=SegmentLayout(batch)
    )
    torch.testing.assert_close(out.flatten(), torch.tensor([4.0, 3.0, 0.0]))
    assert weights is None


def test_causal_of_layout_overrides_argument_and_module():
    batch = pack(LENGTHS, ROWS, 90)
    qkv = states(batch)
    expected = reference(batch, qkv, causal=True)
    for layer, argument, layout in [
        (module(False), False, SegmentLayout(batch, causal=True)),
        (module(False), True, SegmentLayout(batch)),
        (module(True), None, SegmentLayout(batch)),
        (torch.nn.Module(), None, SegmentLayout(batch)),
    ]:
        out, _ = segment_attention(layer, *qkv, None, is_causal=argument, segments=layout)
        torch.testing.assert_close(out, expected)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_filler_content_reaches_nothing(value):
    batch = pack(LENGTHS, ROWS, 90)
    qkv = [x.detach() for x in states(batch)]
    clean, _ = segment_attention(module(), *qkv, None, segments=SegmentLayout(batch))
    filler = (batch.segment_ids < 0)[:, None, :, None]
    spoilt = [x.masked_fill(filler, value) for x in qkv]
    out, _ = segment_attention(module(), *spoilt, None, segments=SegmentLayout(batch))
    assert torch.equal(out, clean)


def test_batch_without_examples_gives_zeros():
    batch = pack([], [], 6)
    qkv = states(batch)
    out, _ = segment_attention(module(), *qkv, None, dropout=0.5, segments=SegmentLayout(batch))
    for got in with_gradients(out, qkv):
        assert torch.equal(got, torch.zeros_like(got))


def test_dropout_of_everything_gives_zeros():
    batch = pack(LENGTHS, ROWS, 90)
    qkv = states(batch)
    out, _ = segment_attention(module(), *qkv, None, dropout=1.0, segments=SegmentLayout(batch))
    for got in with_gradients(out, qkv):
        assert torch.equal(got, torch.zeros_like(got))


def test_dropout_keeps_the_mean_and_drops_its_share():
    batch = pack([60], [[0]], 60)
    # With equal scores and the identity as values, outputs are the weights after dropout.
    value = torch.eye(60).expand(1, 8, 60, 60)
    query, key = (torch.zeros(1, 8, 60, 60) for _ in range(2))
    torch.manual_seed(3)
    out, _ = segment_attention(
        module(), query, key, value, None, dropout=0.1, segments=SegmentLayout(batch)
    )
    # 28,800 draws: the share dropped has a standard deviation of 0.0018.
    assert (out == 0).float().mean().item() == pytest.approx(0.1, abs=0.008)
    kept = out[out > 0] * 60 * 0.9
    torch.testing.assert_close(kept, torch.ones_like(kept), atol=1e-4, rtol=0)


# One stripe, and two: causal, long and four query heads to two key heads.
@pytest.mark.parametrize(("length", "heads", "causal"), [(40, 2, False), (300, 4, True)])
def test_dropout_gradients_equal_autograd_with_the_same_draws(length, heads, causal):
    batch = pack([length], [[0]], length)
    qkv = states(batch, heads=heads, kv_heads=2, width=length)
    eye = torch.eye(length).expand(1, 2, length, length)

    def ours(value: Tensor) -> Tensor:
        torch.manual_seed(4)
        return segment_attention(
            module(causal), *qkv[:2], value, None, dropout=0.4, segments=SegmentLayout(batch)
        )[0]

    kept = ours(eye).transpose(1, 2) > 0  # the weights themselves
    key, value = (states.repeat_interleave(heads // 2, dim=1) for states in qkv[1:])
    scores = qkv[0] @ key.mT / length**0.5
    if causal:
        scores = scores.masked_fill(torch.ones(length, length, dtype=bool).triu(1), -torch.inf)
    weights = scores.softmax(-1) * kept / 0.6
    expected = with_gradients((weights @ value).transpose(1, 2), qkv)
    for got, want in zip(with_gradients(ours(qkv[2]), qkv), expected, strict=True):
        torch.testing.assert_close(got, want, atol=2e-4, rtol=1e-4)  # 0.4 is met to 1 / 32,768


def test_dropout_repeats_with_the_generator():
    batch = pack(LENGTHS, ROWS, 90)
    qkv = states(batch)
    outs = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        outs.append(
            segment_attention(module(), *qkv, None, dropout=0.3, segments=SegmentLayout(batch))[0]
        )
    assert torch.equal(outs[0], outs[1])
    assert not torch.equal(outs[0], outs[2])


def models(kind: str) -> tuple[torch.nn.Module, torch.nn.Module]:
    """The same tiny model twice, with sdpa and with ours."""
    made = []
    for attention in ("sdpa", SEGMENT_ATTENTION):
        torch.manual_seed(0)
        if kind == "bert":
            config = BertConfig(**TINY, hidden_dropout_prob=0, attention_probs_dropout_prob=0)
            made.append(BertModel._from_config(config, attn_implementation=attention))
        else:
            config = LlamaConfig(**TINY, num_key_value_heads=2, use_cache=False)
            made.append(LlamaModel._from_config(config, attn_implementation=attention))
    return made[0].train(), made[1].train()


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_model_equals_sdpa_with_mask(kind, checkpointing):
    batch = pack(LENGTHS, ROWS, 90)
    theirs, ours = models(kind)
    if checkpointing:
        ours.gradient_checkpointing_enable()
    real = (batch.segment_ids >= 0)[..., None]
    inputs = {"input_ids": batch.input_ids, "position_ids": batch.position_ids}
    mask = block_mask(batch, causal=kind == "llama")
    want = theirs(**inputs, attention_mask=mask).last_hidden_state
    got = ours(**inputs, segments=SegmentLayout(batch)).last_hidden_state
    assert got.isfinite().all()
    torch.testing.assert_close(got * real, want * real, atol=2e-6, rtol=1e-5)
    (want * real).square().mean().backward()
    (got * real).square().mean().backward()
    for (name, w), g in zip(theirs.named_parameters(), ours.parameters(), strict=True):
        if w.grad is not None:
            torch.testing.assert_close(g.grad, w.grad, atol=1e-6, rtol=1e-4, msg=name)


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_bf16_autocast_is_as_exact_as_sdpa(kind):
    batch = pack(LENGTHS, ROWS, 90)
    theirs, ours = (model.eval() for model in models(kind))
    real = (batch.segment_ids >= 0)[..., None]
    inputs = {"input_ids": batch.input_ids, "position_ids": batch.position_ids}
    mask = block_mask(batch, causal=kind == "llama")
    with torch.no_grad():
        exact = theirs(**inputs, attention_mask=mask).last_hidden_state
        with torch.autocast("cpu", torch.bfloat16):
            sdpa = theirs(**inputs, attention_mask=mask).last_hidden_state
            segments = ours(**inputs, segments=SegmentLayout(batch)).last_hidden_state
    errors = [((x - exact) * real).square().mean().sqrt() for x in (sdpa, segments)]
    assert errors[1] < 1.2 * errors[0]


def test_autocast_computes_in_bf16_whatever_rotary_positions_left():
    batch = pack(LENGTHS, ROWS, 90)
    query, key, value = states(batch)
    with torch.autocast("cpu", torch.bfloat16):
        out, _ = segment_attention(
            module(), query, key, value.bfloat16(), None, segments=SegmentLayout(batch)
        )
    assert out.dtype == torch.bfloat16
    out.sum().backward()
    assert query.grad.dtype == torch.float32


def test_sliding_window_accepted_only_where_it_hides_nothing():
    config = MistralConfig(**TINY, num_key_value_heads=2, sliding_window=39, use_cache=False)
    model = MistralModel._from_config(config, attn_implementation=SEGMENT_ATTENTION)
    batch = pack(LENGTHS, ROWS, 90)
    with pytest.raises(ValueError, match=r"longest example, of 40 tokens, exceeds.*\(39\): use"):
        model(input_ids=batch.input_ids, segments=SegmentLayout(batch))
    fits = pack([39, 2], [[0, 1]], 41)
    assert model(input_ids=fits.input_ids, segments=SegmentLayout(fits))[0].isfinite().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"segments": None}, r"needs the keyword segments=SegmentLayout\(batch\)"),
        ({"segments": SegmentLayout(pack([3], [[0]], 4))}, "pass this batch's layout"),
        ({"attention_mask": torch.ones(3, 90)}, "takes no attention_mask"),
        ({"softcap": 30.0}, "does not support softcap"),
        ({"output_attentions": True}, "does not support output_attentions"),
    ],
)
def test_what_would_be_silently_wrong_is_refused(options, message):
    batch = pack(LENGTHS, ROWS, 90)
    arguments = {"attention_mask": None, "segments": SegmentLayout(batch)} | options
    with pytest.raises(ValueError, match=message):
        segment_attention(module(), *states(batch), **arguments)


def test_longer_keys_are_refused():
    batch = pack([3], [[0]], 4)
    query, key, value = states(batch)
    key, value = (torch.cat([x, x], dim=2) for x in (key, value))
    with pytest.raises(ValueError, match="use sdpa for cross-attention or generation"):
        segment_attention(module(), query, key, value, None, segments=SegmentLayout(batch))
