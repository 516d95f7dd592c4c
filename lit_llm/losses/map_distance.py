"""How far a student's maps between tokens (attention, relations) are from a teacher's."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

MapDistance = Literal["squared_error", "kl"]
_HIDDEN = -1e30  # a score whose probability is 0, and whose difference from another such one is too


def map_distance(
    student_SNTT: Tensor,
    teacher_SNTT: Tensor,
    empty_ST: Tensor,
    causal: bool = False,
    distance: MapDistance = "kl",
) -> tuple[Tensor, Tensor]:
    """Sum over tokens of the mean over heads of the distance between two rows of scores.

    Row i of a map holds the scores of what token i looks at. Places without a token are neither
    rows nor looked at.

    Args:
        student_SNTT: scores before any softmax, of S segments, N heads, T places, floating point;
            half precision is raised to float32.
        teacher_SNTT: likewise; receives no gradient.
        empty_ST: which places hold no token, (S, T), bool.
        causal: a token looks at itself and at earlier ones alone.
        distance: ``kl``: KL(teacher || student) of the softmaxed rows (Wang et al.);
            ``squared_error``: of the scores themselves, the mean over what the token looks at
            (Jiao et al.).

    Returns:
        (sum, count): scalar () float32 (float64 for float64 scores), nats or squared scores; scalar
        () int64, tokens.

    Raises:
        ValueError: shapes do not fit, or there is no such distance.

    Source:
        Wang et al. 2020 (MiniLM), equations 6 and 9, arXiv:2002.10957; Jiao et al. 2020
        (TinyBERT), equation 7, arXiv:1909.10351.
        Differs: a sum over tokens, which the caller divides by their number; TinyBERT's mean over
        the keys leaves padding out.
    """
    shape = student_SNTT.shape
    if len(shape) != 4 or shape != teacher_SNTT.shape or empty_ST.shape != (shape[0], shape[3]):
        raise ValueError(
            "student and teacher must both be (S, N, T, T) and empty (S, T), not "
            f"{tuple(shape)}, {tuple(teacher_SNTT.shape)} and {tuple(empty_ST.shape)}"
        )
    if distance not in get_args(MapDistance):
        known = ", ".join(get_args(MapDistance))
        raise ValueError(f"distance is one of {known}, not {distance!r}")
    dtype = torch.promote_types(student_SNTT.dtype, torch.float32)
    unseen = empty_ST[:, None, None, :]
    if causal:
        future = torch.ones(shape[2:], dtype=torch.bool, device=empty_ST.device).triu(1)
        unseen = unseen | future
    maps = (student_SNTT.to(dtype), teacher_SNTT.detach().to(dtype))
    if distance == "kl":
        log_q, log_p = (m.masked_fill(unseen, _HIDDEN).log_softmax(dim=3) for m in maps)
        rows_SNT = (log_p.exp() * (log_p - log_q)).sum(dim=3)
    else:
        squares = (maps[0] - maps[1]).square().masked_fill(unseen, 0)
        seen = (~unseen).expand(shape[0], 1, *shape[2:]).sum(dim=3)
        rows_SNT = squares.sum(dim=3) / seen.clamp(min=1)
    rows_ST = rows_SNT.mean(dim=1).masked_fill(empty_ST, 0)
    return rows_ST.sum(), (~empty_ST).sum()
