"""How far a student's independent labels are from a teacher's, summed over targets."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from lit_llm.losses.soft_targets import check_soft_targets
from lit_llm.losses.weighted_sum import weighted_sum


def soft_binary_targets(
    student_MC: Tensor,
    teacher_MC: Tensor,
    temperature: float = 1.0,
    weights_M: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """``T^2 * sum(w * mean over classes of KL(Bernoulli(t / T) || Bernoulli(s / T)))``.

    The mean over classes is that of ``binary_cross_entropy``.

    Args:
        student_MC: scores s (logits), (M, C), C at least 1; half precision is raised to float32.
        teacher_MC: scores t, (M, C); they receive no gradient.
        temperature: T, above 0.
        weights_M: (M,), at least 0; see ``weighted_sum``.

    Returns:
        (sum, count): as ``soft_targets``.

    Raises:
        ValueError: shapes differ, there is no class, or the temperature is not above 0.

    Source:
        Hinton et al. 2015, section 2, arXiv:1503.02531, for one Bernoulli variable a class.
    """
    check_soft_targets(student_MC, teacher_MC, temperature)
    if student_MC.shape[1] == 0:
        raise ValueError("scores must have at least one class: (M, 0) has no mean over classes")
    dtype = torch.promote_types(student_MC.dtype, torch.float32)
    student_MC = student_MC.to(dtype) / temperature
    teacher_MC = teacher_MC.detach().to(dtype) / temperature
    on_MC, off_MC = functional.logsigmoid(teacher_MC), functional.logsigmoid(-teacher_MC)
    kl_MC = on_MC.exp() * (on_MC - functional.logsigmoid(student_MC)) + off_MC.exp() * (
        off_MC - functional.logsigmoid(-student_MC)
    )
    return weighted_sum(temperature**2 * kl_MC.mean(dim=1), weights_M)
