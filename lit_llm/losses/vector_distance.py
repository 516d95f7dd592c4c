"""How far a student's vectors are from a teacher's, summed over tokens."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from lit_llm.losses.weighted_sum import weighted_sum

VectorDistance = Literal["squared_error", "cosine"]


def vector_distance(
    student_TD: Tensor, teacher_TD: Tensor, distance: VectorDistance = "squared_error"
) -> tuple[Tensor, Tensor]:
    """``sum over tokens of mean((s - t)^2)``, or of ``1 - cos(s, t)``.

    Summed over tokens, and counted; (0, 0) with zero gradient when there are none.

    Args:
        student_TD: hidden vectors, (T, D), floating point; half precision is raised to float32.
        teacher_TD: likewise; receives no gradient.
        distance: ``squared_error``: the mean over the D components (Jiao et al.); ``cosine``: of
            the angle between the vectors, whatever their lengths (Sanh et al.).

    Returns:
        (sum, count): scalar () float32 (float64 for float64 vectors); scalar () int64, tokens.

    Raises:
        ValueError: shapes differ, or there is no such distance.

    Source:
        Jiao et al. 2020 (TinyBERT), equations 8 and 9, arXiv:1909.10351; Sanh et al. 2019
        (DistilBERT), section 3, arXiv:1910.01108.
        Differs: a sum over tokens, which the caller divides by their number.
    """
    if student_TD.ndim != 2 or student_TD.shape != teacher_TD.shape:
        raise ValueError(
            "student and teacher must both be (T, D), not "
            f"{tuple(student_TD.shape)} and {tuple(teacher_TD.shape)}"
        )
    dtype = torch.promote_types(student_TD.dtype, torch.float32)
    student_TD, teacher_TD = student_TD.to(dtype), teacher_TD.detach().to(dtype)
    if distance == "squared_error":
        return weighted_sum((student_TD - teacher_TD).square().mean(dim=1))
    if distance == "cosine":
        return weighted_sum(1 - functional.cosine_similarity(student_TD, teacher_TD, dim=1))
    known = ", ".join(get_args(VectorDistance))
    raise ValueError(f"distance is one of {known}, not {distance!r}")
