"""Finished runs with tiny models, made without training."""

import torch
import yaml
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

from lit_llm.backbone.backbone import Backbone

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
CHINESE = "王小明在北京大学学习。他很高兴！"
VOCABULARY = [*SPECIAL, "w", ".", *(f"##{i}" for i in range(10)), *dict.fromkeys(CHINESE)]
SHAPE = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 16,
    "max_position_embeddings": 48,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 3,
}


def make_source(directory, model_type, plain=False):
    """A two-layer model, far from zero biases and unit norms unless ``plain``, and a tokenizer."""
    torch.manual_seed(0)
    model = AutoModel.from_config(AutoConfig.for_model(model_type, **SHAPE))
    for parameter in () if plain else model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(directory)
    vocab = {word: i for i, word in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if model_type == "bert":
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(directory)
    return str(directory)


def save_run(objective, directory, data=None, **init_args):
    """What ``fit`` leaves behind, as far as ``predict`` reads it."""
    objective.save(directory / "best")
    model = {
        "class_path": f"{type(objective).__module__}.{type(objective).__name__}",
        "init_args": {"backbone": {"source": "tiny"}, "optimizer": {"lr": 1e-3}, **init_args},
    }
    config = {"model": model, "data": {"class_path": "any.Data", "init_args": data or {}}}
    (directory / "config.yaml").write_text(yaml.safe_dump(config))
    return directory


def make_run(directory, class_, model_type, labels, data=None, **init_args):
    """A finished run whose best model is random."""
    objective = class_(Backbone(make_source(directory / "source", model_type)), **init_args)
    objective.build(labels)
    for parameter in objective.head.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return save_run(objective, directory, data, **init_args)
