"""What is seen inside a packed batch is what transformers shows of one example at a time."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModel

from lit_llm.backbone.backbone import Backbone
from lit_llm.backbone.inner_states import inner_states

SHOWN = ["bert", "roberta", "albert", "gpt2", "llama"]


def built(source, attention=None):
    backbone = Backbone(source, attn_implementation=attention)
    backbone.build()
    return backbone.eval()


@pytest.mark.parametrize("attention", ["segments", "sdpa"])
@pytest.mark.parametrize("model_type", SHOWN)
def test_states_equal_those_of_each_example_alone(model_type, attention, source, items, packed):
    backbone = built(source(model_type), attention)
    plain = AutoModel.from_pretrained(source(model_type), attn_implementation="eager").eval()
    with torch.no_grad(), inner_states(backbone) as states:
        hidden_RLD = backbone(packed)
    assert (len(states.hidden), len(states.heads)) == (3, 2)
    for i, item in enumerate(items):
        start, length = int(packed.segment_starts[i]), len(item["input_ids"])
        with torch.no_grad():
            alone = plain(
                torch.tensor([item["input_ids"]]), output_hidden_states=True, output_attentions=True
            )
        own = slice(start, start + length)
        last = alone.last_hidden_state[0]
        torch.testing.assert_close(hidden_RLD.flatten(0, 1)[own], last, rtol=1e-4, atol=1e-5)
        # transformers gives the last one behind the final norm, where there is one
        for ours, theirs in zip(states.hidden[:2], alone.hidden_states[:2], strict=True):
            torch.testing.assert_close(ours.flatten(0, 1)[own], theirs[0], rtol=1e-4, atol=1e-5)
        for heads, theirs in zip(states.heads, alone.attentions, strict=True):
            query, key = (
                x.transpose(1, 2).flatten(0, 1)[own].transpose(0, 1)
                for x in (heads.query, heads.key)
            )
            key = key.repeat_interleave(len(query) // len(key), dim=0)
            scores = query @ key.mT * heads.scaling
            if backbone.causal:
                scores = scores.masked_fill(torch.ones_like(scores[0]).triu(1).bool(), -torch.inf)
            torch.testing.assert_close(scores.softmax(-1), theirs[0], rtol=1e-4, atol=1e-5)


def test_the_last_block_is_whole_while_it_is_looked_at(source, packed):
    backbone = built(source("bert"))
    at = torch.tensor([0, 9])
    expected = backbone.at(packed, at)
    with inner_states(backbone) as states:
        found = backbone.at(packed, at)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert states.hidden[-1].shape == (*packed.input_ids.shape, 8)
    with inner_states(backbone, heads=False) as states:
        pass
    backbone(packed)  # nobody looks any more
    assert (states.hidden, states.heads, backbone.whole) == ([], [], False)


def test_two_models_are_looked_at_side_by_side(source, packed):
    student, teacher = built(source("bert")), built(source("bert", hidden_size=16))
    with inner_states(student) as ours, inner_states(teacher) as theirs:
        for backbone in (teacher, student):
            backbone(packed)
    for states, width in ((ours, 8), (theirs, 16)):
        assert [h.shape[-1] for h in states.hidden] == [width] * 3
        assert [h.query.shape[1] * h.query.shape[3] for h in states.heads] == [width] * 2


def test_what_cannot_be_seen_is_refused(source, packed):
    backbone = built(source("bert"), "eager")
    refused = pytest.raises(ValueError, match=r"attention of bert .* sdpa or segments")
    with refused, inner_states(backbone):
        pass
    assert not backbone.whole
    with inner_states(backbone, heads=False) as states:
        backbone(packed)
    assert len(states.hidden) == 3
    unbuilt = Backbone(source("bert"))
    with pytest.raises(ValueError, match=r"call build\(\) before looking"), inner_states(unbuilt):
        pass
