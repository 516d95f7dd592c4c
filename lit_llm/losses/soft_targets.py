"""How far a student's scores are from a teacher's, summed over targets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from lit_llm.losses.weighted_sum import weighted_sum

Divergence = Literal["kl", "reverse_kl", "jensen_shannon", "squared_error", "pseudo_labels"]


def soft_targets(
    student_MC: Tensor,
    teacher_MC: Tensor,
    temperature: float = 1.0,
    divergence: Divergence = "kl",
    weights_M: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """``T^2 * sum(w * D(softmax(t / T), softmax(s / T)))``; the gradient goes to the student alone.

    The factor T^2 keeps the gradient's size when T changes. Of ``kl`` it is that of the soft
    cross-entropy, which differs by the teacher's entropy, a constant.

    Args:
        student_MC: scores s, (M, C), floating point; half precision is raised to float32 first.
        teacher_MC: scores t, (M, C).
        temperature: T, above 0; of no effect on ``squared_error`` and ``pseudo_labels``.
        divergence: ``kl``: KL(teacher || student); ``reverse_kl``: KL(student || teacher), which
            would rather leave out some of the teacher's answers than cover them all;
            ``jensen_shannon``: the mean KL of both to their mean; ``squared_error``: of the scores
            themselves, the mean over classes; ``pseudo_labels``: the cross-entropy of the class
            that the teacher finds likeliest, and of nothing else that it says.
        weights_M: (M,), at least 0; see ``weighted_sum``.

    Returns:
        (sum, count): scalar () float32 (float64 for float64 scores), nats (squared scores for
        ``squared_error``); scalar () int64, targets, or float32, the sum of their weights.

    Raises:
        ValueError: shapes differ, the temperature is not above 0, or there is no such divergence.

    Source:
        ``kl``: Hinton et al. 2015, section 2, arXiv:1503.02531. ``reverse_kl``: Gu et al. 2024,
        section 2.1, arXiv:2306.08543. ``squared_error``: Ba and Caruana 2014, section 2.2.
        ``pseudo_labels``: Lee 2013, section 2.
        Differs: a sum over targets, which the caller divides by their number.
    """
    check_soft_targets(student_MC, teacher_MC, temperature)
    if divergence not in get_args(Divergence):
        raise ValueError(
            f"divergence is one of {', '.join(get_args(Divergence))}, not {divergence!r}"
        )
    dtype = torch.promote_types(student_MC.dtype, torch.float32)
    student_MC, teacher_MC = student_MC.to(dtype), teacher_MC.detach().to(dtype)
    if divergence == "squared_error":
        return weighted_sum((student_MC - teacher_MC).square().mean(dim=1), weights_M)
    if divergence == "pseudo_labels":
        loss_M = functional.cross_entropy(student_MC, teacher_MC.argmax(dim=1), reduction="none")
        return weighted_sum(loss_M, weights_M)
    log_q_MC = functional.log_softmax(student_MC / temperature, dim=1)
    log_p_MC = functional.log_softmax(teacher_MC / temperature, dim=1)
    loss_M = temperature**2 * _DIVERGENCES[divergence](log_p_MC, log_q_MC)
    return weighted_sum(loss_M, weights_M)


def check_soft_targets(student_MC: Tensor, teacher_MC: Tensor, temperature: float) -> None:
    """Refuse scores that do not belong together, and temperatures that make no distribution.

    Raises:
        ValueError: says which.
    """
    if student_MC.ndim != 2 or student_MC.shape != teacher_MC.shape:
        raise ValueError(
            "student and teacher must both be (M, C), not "
            f"{tuple(student_MC.shape)} and {tuple(teacher_MC.shape)}"
        )
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, not {temperature}")


def _kl(log_p_MC: Tensor, log_q_MC: Tensor) -> Tensor:
    """KL(p || q) of each row, (M,)."""
    return (log_p_MC.exp() * (log_p_MC - log_q_MC)).sum(dim=1)


def _reverse_kl(log_p_MC: Tensor, log_q_MC: Tensor) -> Tensor:
    return _kl(log_q_MC, log_p_MC)


def _jensen_shannon(log_p_MC: Tensor, log_q_MC: Tensor) -> Tensor:
    log_m_MC = torch.logaddexp(log_p_MC, log_q_MC) - torch.log(log_p_MC.new_tensor(2.0))
    return 0.5 * (_kl(log_p_MC, log_m_MC) + _kl(log_q_MC, log_m_MC))


_DIVERGENCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "kl": _kl,
    "reverse_kl": _reverse_kl,
    "jensen_shannon": _jensen_shannon,
}
