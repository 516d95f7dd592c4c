import sys; sys.path.insert(0,"tests/backbone")
import pytest, torch
from test_backbone import *
@pytest.mark.parametrize("model_type", sorted(PACKABLE))
def test_seg(model_type, source, items, packed):
    assert_exact(source(model_type), items, packed, attn_implementation="segments")
