import pytest
import torch

from lit_llm.callbacks.same_weights import SameWeights, checksum


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_checksum_sees_one_bit_and_two_values_that_changed_places(dtype):
    weights = torch.randn(300, 500).to(dtype)
    flipped, swapped = weights.clone(), weights.clone()
    flipped.view(torch.uint8)[7, 3] ^= 1
    swapped[0, 0], swapped[200, 1] = weights[200, 1], weights[0, 0]
    assert checksum(weights) == checksum(weights.clone())
    assert len({checksum(w).item() for w in (weights, flipped, swapped)}) == 3


def test_checksum_of_one_value_and_of_none():
    assert checksum(torch.zeros(())).item() == 0
    assert checksum(torch.ones(1)).item() == 0x3F800000
    assert checksum(torch.zeros(0)).item() == 0


def test_a_rank_that_never_compares_is_refused():
    with pytest.raises(ValueError, match="every_n_steps must be at least 1"):
        SameWeights(0)
