"""A student's layers against a teacher's: hidden states, embeddings, attention, relations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from lit_llm.backbone.backbone import Backbone
from lit_llm.backbone.inner_states import Heads, InnerStates
from lit_llm.backbone.segment_layout import SegmentLayout
from lit_llm.batch import PackedBatch
from lit_llm.losses.map_distance import MapDistance, map_distance
from lit_llm.losses.vector_distance import VectorDistance, vector_distance

What = Literal["hidden_states", "embeddings", "attention", "relations"]
LayerMap = Literal["skip", "last", "top"]
Vectors = Literal["query", "key", "value"]

_OF_VECTORS = ("hidden_states", "embeddings")
_DISTANCES: dict[str, tuple[str, ...]] = {  # the papers' own first
    "hidden_states": get_args(VectorDistance),
    "embeddings": get_args(VectorDistance),
    "attention": get_args(MapDistance),
    "relations": get_args(MapDistance)[1:],
}


@dataclass(frozen=True)
class MatchConfig:
    """What of a student's inside is to be like its teacher's.

    Attributes:
        what: ``hidden_states``: what leaves a block; ``embeddings``: what enters the first;
            ``attention``: scores of tokens looking at tokens, head by head; ``relations``: dot
            products of queries with queries, keys with keys, values with values, whatever the
            number of heads and the width (MiniLMv2).
        layers: which block of the teacher a student's block learns from: ``skip``: evenly spaced,
            the last from the last; ``last``: all from the teacher's last ones; ``top``: the last
            from the last alone; or pairs [student's block, teacher's block], from 0.
        distance: ``squared_error`` or ``cosine`` of vectors; ``squared_error`` or ``kl`` of
            attention; ``kl`` of relations. Default the first of these.
        weight: of the term, at least 0.
        relations: of which vectors.
        relation_heads: of all vectors; default as many as the teacher has heads.

    Raises:
        ValueError: a word there is not, a distance that does not go with ``what``, or a negative
            weight.

    Source:
        Jiao et al. 2020 (TinyBERT), section 3.1, arXiv:1909.10351; Sanh et al. 2019 (DistilBERT),
        section 3, arXiv:1910.01108 (``hidden_states``, ``top``, ``cosine``); Sun et al. 2019,
        section 3.2, arXiv:1908.09355 (``skip``, ``last``); Wang et al. 2021 (MiniLMv2), section 3,
        arXiv:2012.15828; Wang et al. 2020 (MiniLM), section 3, arXiv:2002.10957 (``attention``,
        ``top``, ``kl``).
    """

    what: What
    layers: LayerMap | list[list[int]] = "skip"
    distance: Literal["squared_error", "cosine", "kl"] | None = None
    weight: float = 1.0
    relations: list[Vectors] = field(default_factory=lambda: list(get_args(Vectors)))
    relation_heads: int | None = None

    def __post_init__(self) -> None:
        if self.what not in get_args(What):
            raise ValueError(f"match.what is one of {', '.join(get_args(What))}, not {self.what!r}")
        if self.distance not in (None, *_DISTANCES[self.what]):
            known = ", ".join(_DISTANCES[self.what])
            raise ValueError(f"match.distance of {self.what} is {known}, not {self.distance!r}")
        if not self.weight >= 0:
            raise ValueError(f"match.weight must be at least 0, not {self.weight}")
        if isinstance(self.layers, str) and self.layers not in get_args(LayerMap):
            known = ", ".join(get_args(LayerMap))
            raise ValueError(f"match.layers is {known} or a list of pairs, not {self.layers!r}")
        if not self.relations or not set(self.relations) <= set(get_args(Vectors)):
            raise ValueError(f"match.relations are some of {', '.join(get_args(Vectors))}")


def match_names(match: Sequence[MatchConfig]) -> list[str]:
    """A name for each term: what is matched, numbered from its second occurrence on."""
    seen: list[str] = []
    names = []
    for config in match:
        seen.append(config.what)
        number = seen.count(config.what)
        names.append(config.what if number == 1 else f"{config.what}_{number}")
    return names


class Matching(nn.Module):
    """Distances between what goes on inside two models that read the same batch.

    Vectors of different widths are compared after a linear map of the student's, which learns
    beside it and is no part of it.

    Args:
        match: what is compared.
        student: built.
        teacher: built; of the same kind (encoder or decoder).

    Raises:
        ValueError: a layer map, or a number of heads, that does not fit; names the entry.
    """

    def __init__(self, match: Sequence[MatchConfig], student: Backbone, teacher: Backbone) -> None:
        super().__init__()
        self.causal = student.causal
        self.maps = nn.ModuleDict()
        self._entries: list[tuple[str, MatchConfig, list[tuple[int, int]]]] = []
        ours, theirs = student.config, teacher.config
        for number, (name, config) in enumerate(zip(match_names(match), match, strict=True)):
            key = f"match[{number}]"
            pairs = [(-1, -1)]  # what enters the first block
            if config.what != "embeddings":
                depths = ours.num_hidden_layers, theirs.num_hidden_layers
                pairs = layer_pairs(config.layers, *depths, key)
            if config.what not in _OF_VECTORS:
                _check_heads(config, ours, theirs, key)
            elif ours.hidden_size != theirs.hidden_size:
                shape = ours.hidden_size, theirs.hidden_size
                self.maps[name] = nn.ModuleList(nn.Linear(*shape, bias=False) for _ in pairs)
            self._entries.append((name, config, pairs))
        self.looks_at_heads = any(config.what not in _OF_VECTORS for config in match)

    def terms(
        self, batch: PackedBatch, student: InnerStates, teacher: InnerStates
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Of each entry the sum over its pairs of layers and all tokens, and the tokens.

        Args:
            batch: what both read.
            student: filled by its forward pass.
            teacher: likewise, without gradients.
        """
        is_token = batch.segment_ids.flatten() >= 0
        count = is_token.sum()
        layout = SegmentLayout(batch) if self.looks_at_heads else None
        if batch.num_examples == 0:  # the teacher was not asked: keep the maps on the graph
            nothing = sum((p.sum() for p in self.maps.parameters()), student.hidden[-1].sum()) * 0.0
            return {name: (nothing, count) for name, _, _ in self._entries}
        found = {}
        for name, config, pairs in self._entries:
            total = torch.zeros((), device=count.device)
            for place, (ours, theirs) in enumerate(pairs):
                if config.what in _OF_VECTORS:
                    states = student.hidden[ours + 1], teacher.hidden[theirs + 1]
                    s_TD, t_TD = (hidden.flatten(0, 1)[is_token] for hidden in states)
                    if name in self.maps:
                        s_TD = self.maps[name][place](s_TD)  # type: ignore[index]
                    part, _ = vector_distance(s_TD, t_TD, config.distance or "squared_error")  # type: ignore[arg-type]
                    total = total + part
                elif layout is not None:
                    heads = student.heads[ours], teacher.heads[theirs]
                    for pair, empty, distance in _map_pairs(config, *heads, layout):
                        part, _ = map_distance(*pair, empty, self.causal, distance)
                        total = total + part
            found[name] = (total, count)
        return found


def layer_pairs(
    layers: LayerMap | list[list[int]], student: int, teacher: int, key: str = "match"
) -> list[tuple[int, int]]:
    """(student's block, teacher's block), from 0.

    Args:
        layers: see ``MatchConfig``.
        student: how many blocks it has.
        teacher: likewise.
        key: for messages.

    Raises:
        ValueError: the map does not fit these depths.
    """
    if isinstance(layers, str):
        if layers == "top":
            return [(student - 1, teacher - 1)]
        if student > teacher:
            raise ValueError(
                f"{key}.layers: {layers} needs a teacher of at least as many blocks as the student "
                f"has: {teacher} for {student}; give pairs [student's block, teacher's block]"
            )
        if layers == "last":
            return [(i, i + teacher - student) for i in range(student)]
        return [(i, -(-(i + 1) * teacher // student) - 1) for i in range(student)]
    for pair in layers:
        fits = len(pair) == 2 and 0 <= pair[0] < student and 0 <= pair[1] < teacher
        if not fits:
            raise ValueError(
                f"{key}.layers: {pair} does not fit: pairs of a student's block 0 to {student - 1} "
                f"and a teacher's block 0 to {teacher - 1} were expected"
            )
    if not layers:
        raise ValueError(f"{key}.layers is empty: name at least one pair of blocks")
    return [(ours, theirs) for ours, theirs in layers]


def _map_pairs(
    config: MatchConfig, student: Heads, teacher: Heads, layout: SegmentLayout
) -> Iterator[tuple[tuple[Tensor, Tensor], Tensor, MapDistance]]:
    """Scores of both, (S, N, T, T), which places are empty, (S, T), and how they are compared."""
    for tokens_ST, empty_ST in layout.tokens():
        if config.what == "attention":
            pair = _attention(student, tokens_ST), _attention(teacher, tokens_ST)
            yield pair, empty_ST, config.distance or "squared_error"  # type: ignore[misc]
            continue
        count = config.relation_heads or teacher.query.shape[1]
        for name in config.relations:
            both = (getattr(heads, name) for heads in (student, teacher))
            ours, theirs = (_relations(vectors, tokens_ST, count) for vectors in both)
            yield (ours, theirs), empty_ST, "kl"


def _attention(heads: Heads, tokens_ST: Tensor) -> Tensor:
    """Scores before the softmax, (S, N, T, T)."""
    query, key = (_gathered(x, tokens_ST).transpose(1, 2) for x in (heads.query, heads.key))
    key = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)
    return query @ key.mT * heads.scaling


def _relations(vectors_RNLH: Tensor, tokens_ST: Tensor, count: int) -> Tensor:
    """Scaled dot products of all heads' vectors, cut into ``count`` parts, (S, count, T, T)."""
    vectors_STD = _gathered(vectors_RNLH, tokens_ST).flatten(2)
    parts = vectors_STD.view(*vectors_STD.shape[:2], count, -1).transpose(1, 2)
    related: Tensor = parts @ parts.mT * parts.shape[-1] ** -0.5
    return related


def _gathered(vectors_RNLH: Tensor, tokens_ST: Tensor) -> Tensor:
    """The tokens' vectors, (S, T, N, H)."""
    return vectors_RNLH.transpose(1, 2).flatten(0, 1)[tokens_ST]


def _check_heads(config: MatchConfig, student: Any, teacher: Any, key: str) -> None:
    heads = [c.num_attention_heads for c in (student, teacher)]
    if config.what == "attention":
        for whose, c in (("student", student), ("teacher", teacher)):
            kinds = getattr(c, "layer_types", None) or ()
            if getattr(c, "sliding_window", None) or "sliding_attention" in kinds:
                raise ValueError(
                    f"{key}: the {whose}'s attention looks through a sliding window, which is not "
                    "compared: match relations or hidden_states"
                )
        if heads[0] != heads[1]:
            raise ValueError(
                f"{key}: the student has {heads[0]} heads and the teacher {heads[1]}, whose "
                "attention cannot be compared one by one: match relations"
            )
        return
    count = config.relation_heads or heads[1]
    for whose, c, number in (("student", student, heads[0]), ("teacher", teacher, heads[1])):
        width = getattr(c, "head_dim", None) or c.hidden_size // number
        groups = getattr(c, "num_key_value_heads", None) or number
        for name in config.relations:
            total = width * (number if name == "query" else groups)
            if total % count:
                raise ValueError(
                    f"{key}.relation_heads: {count} parts of the {whose}'s {name} vectors, of "
                    f"{total} components: choose a divisor"
                )
