from __future__ import annotations

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

from lit_llm.batch import PackedBatch

WORDS = [f"w{i}" for i in range(27)]
SHAPE = {
    "vocab_size": 40,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 40,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 3,
}
OWN = {
    "albert": {"embedding_size": 4},
    "electra": {"embedding_size": 4},
    "gpt2": {"n_inner": 16},
    "modernbert": {
        "cls_token_id": 2,
        "sep_token_id": 3,
        "local_attention": 4,
        "layer_types": ["full_attention", "sliding_attention"],
    },
    "qwen2": {
        "num_key_value_heads": 1,
        "use_sliding_window": True,
        "sliding_window": 3,
        "max_window_layers": 1,
    },
    "qwen3": {"num_key_value_heads": 1, "head_dim": 4},
    "mistral": {"num_key_value_heads": 1, "sliding_window": 3},
    "llama": {"num_key_value_heads": 1},
    "roberta": {"type_vocab_size": 1, "pad_token_id": 1},
    "camembert": {"type_vocab_size": 1, "pad_token_id": 1},
    "xlm-roberta": {"type_vocab_size": 1, "pad_token_id": 1},
    "distilbert": {"dim": 8, "n_layers": 2, "n_heads": 2, "hidden_dim": 16},
    "deberta-v2": {
        "relative_attention": True,
        "position_buckets": 4,
        "pos_att_type": ["p2c", "c2p"],
        "norm_rel_ebd": "layer_norm",
        "pooler_hidden_size": 8,
    },
    "squeezebert": {"embedding_size": 8},
    "opt": {"ffn_dim": 16, "word_embed_proj_dim": 8},
}


def make_config(model_type, **changes):
    """A random two-layer model's configuration, hidden width 8."""
    config = AutoConfig.for_model(model_type, **{**SHAPE, **OWN.get(model_type, {}), **changes})
    return config


def make_tokenizer():
    """28 words and BERT's special tokens; ids as in SHAPE."""
    vocab = {w: i for i, w in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = ("pad", "unk", "cls", "sep", "mask")
    special = {f"{name}_token": f"[{name.upper()}]" for name in names}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


@pytest.fixture(autouse=True)
def _one_thread():
    """Two threads only get in each other's way on models this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def config_of():
    return make_config


@pytest.fixture(scope="session")
def tokenizer_directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tokenizer")
    make_tokenizer().save_pretrained(directory)
    return directory


@pytest.fixture(scope="session")
def source(tmp_path_factory):
    """Saves a tiny random model with its tokenizer, once per type; returns the directory."""
    made = {}

    def save(model_type, task=AutoModel, **changes):
        key = (model_type, task, str(changes))
        if key not in made:
            directory = tmp_path_factory.mktemp(model_type)
            torch.manual_seed(0)
            model = task.from_config(make_config(model_type, **changes))
            for parameter in model.parameters():  # away from zero biases and unit norms
                torch.nn.init.normal_(parameter, std=0.3)
            model.save_pretrained(directory)
            make_tokenizer().save_pretrained(directory)
            made[key] = str(directory)
        return made[key]

    return save


@pytest.fixture(scope="session")
def items():
    """Five examples of 2 to 9 tokens."""
    generator = torch.Generator().manual_seed(1)
    return [
        {
            "input_ids": torch.randint(5, 32, (length,), generator=generator).tolist(),
            "token_type_ids": [0] * length,
        }
        for length in (7, 2, 9, 4, 5)
    ]


@pytest.fixture(scope="session")
def packed(items):
    """Three rows of 16 tokens, two of them shared, one with much filler."""
    return PackedBatch.pack(items, [[0, 2], [4, 1, 3], []], 16, pad_token_id=0)
