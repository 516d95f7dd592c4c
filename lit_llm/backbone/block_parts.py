"""Which linear layers of a block its heads and its neurons lie between, by architecture."""

from __future__ import annotations

from typing import NamedTuple


class BlockParts(NamedTuple):
    """Paths inside a block.

    Attributes:
        to_heads: layers of queries, keys and values, or the one that makes all three.
        from_heads: the output projection of the attention.
        to_neurons: what goes into the feed-forward layer's neurons, perhaps a gate too.
        from_neurons: what comes out of them.
        fused: 3 where one layer makes queries, keys and values, in this order, else 1.
    """

    to_heads: tuple[str, ...]
    from_heads: str
    to_neurons: tuple[str, ...]
    from_neurons: str
    fused: int = 1


_BERT = BlockParts(
    ("attention.self.query", "attention.self.key", "attention.self.value"),
    "attention.output.dense",
    ("intermediate.dense",),
    "output.dense",
)
_DISTILBERT = BlockParts(
    ("attention.q_lin", "attention.k_lin", "attention.v_lin"),
    "attention.out_lin",
    ("ffn.lin1",),
    "ffn.lin2",
)
_GPT2 = BlockParts(("attn.c_attn",), "attn.c_proj", ("mlp.c_fc",), "mlp.c_proj", fused=3)
_LLAMA = BlockParts(
    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attn.o_proj",
    ("mlp.gate_proj", "mlp.up_proj"),
    "mlp.down_proj",
)
BLOCK_PARTS = {
    **dict.fromkeys(("bert", "camembert", "electra", "roberta", "xlm-roberta"), _BERT),
    "distilbert": _DISTILBERT,
    "gpt2": _GPT2,
    **dict.fromkeys(("llama", "mistral", "qwen2"), _LLAMA),
}
