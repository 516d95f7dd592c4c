import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForTokenClassification

from lit_llm.backbone.backbone import Backbone
from lit_llm.batch import PackedBatch
from tests.helpers import TAGS, save_tiny

DEEP = {"num_hidden_layers": 6}


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_what_is_kept_has_the_teachers_weights(tmp_path, kind):
    source = save_tiny(tmp_path / "deep", AutoModelForTokenClassification, TAGS, kind, **DEEP)
    deep, shallow = Backbone(source), Backbone(source, keep_layers=[1, 3, 5])
    labels = {"num_labels": len(TAGS), "id2label": dict(enumerate(TAGS))}
    deep.build(AutoModelForTokenClassification, **labels)
    head = shallow.build(AutoModelForTokenClassification, **labels)
    assert shallow.head_loaded
    theirs, ours = dict(deep.layer_groups()), dict(shallow.layer_groups())
    assert list(ours) == [name for name in theirs if name not in ("block 3", "block 4", "block 5")]
    for place, layer in enumerate([1, 3, 5]):
        pairs = zip(ours[f"block {place}"], theirs[f"block {layer}"], strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)
    shallow.save(tmp_path / "shallow", head)
    assert AutoConfig.from_pretrained(tmp_path / "shallow").num_hidden_layers == 3
    loaded = AutoModel.from_pretrained(tmp_path / "shallow").eval()
    batch = PackedBatch.pack([{"input_ids": [5, 6, 7, 8]}], [[0]], 4, 0)
    with torch.no_grad():
        hidden = loaded(input_ids=batch.input_ids).last_hidden_state
        torch.testing.assert_close(shallow.eval()(batch), hidden)


@pytest.mark.parametrize("layers", [[], [0, 6], [1, 1], [3, 1], [-1]])
def test_layers_that_do_not_fit_are_refused(tmp_path, layers):
    source = save_tiny(tmp_path, AutoModelForTokenClassification, TAGS, **DEEP)
    with pytest.raises(ValueError, match=r"keep_layers: .* does not fit: .* blocks 0 to 5"):
        Backbone(source, keep_layers=layers).build()


def test_layers_that_share_their_weights_are_refused(tmp_path):
    config = AutoConfig.for_model(
        "albert",
        vocab_size=60,
        embedding_size=8,
        hidden_size=8,
        num_attention_heads=2,
        intermediate_size=16,
        num_hidden_layers=4,
    )
    tokenizer = save_tiny(tmp_path / "bert", AutoModelForTokenClassification, TAGS)
    AutoModel.from_config(config).save_pretrained(tmp_path / "albert")
    with pytest.raises(ValueError, match="the 4 layers of albert share 1 sets of weights"):
        Backbone(str(tmp_path / "albert"), tokenizer=tokenizer, keep_layers=[0, 2]).build()
