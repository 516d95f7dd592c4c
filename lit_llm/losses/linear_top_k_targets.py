"""A student's output layer over a vocabulary against a teacher's likeliest words."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from lit_llm.losses.check_labels import check_labels
from lit_llm.losses.chunked_logits import CHUNK_TOKENS, check_linear
from lit_llm.losses.linear_loss import linear_loss
from lit_llm.losses.soft_targets import Divergence, soft_targets


@dataclass(frozen=True)
class TopK:
    """A teacher's softened distributions over k + 1 outcomes: its k likeliest words, or another.

    The last outcome is kept, too: from rounded probabilities it would follow with an error of a
    rounding of 1, which is much of a small mass.

    Attributes:
        ids: (M, k), int64, different words of the vocabulary in each row.
        log_probabilities: (M, k), floating point, nats.
        log_rest: (M,), that of any other word; -inf, and of no effect, where k = V.
    """

    ids: Tensor
    log_probabilities: Tensor
    log_rest: Tensor


def most_likely(scores_mV: Tensor, k: int, temperature: float) -> TopK:
    """The k likeliest words of ``softmax(scores / T)``, the likeliest first.

    Args:
        scores_mV: of a vocabulary, (m, V), floating point.
        k: 1 to V.
        temperature: T, above 0.
    """
    log_p_mV = functional.log_softmax(scores_mV / temperature, dim=1)
    log_p_mk, ids_mk = log_p_mV.topk(k, dim=1)
    return TopK(ids_mk, log_p_mk, log_p_mV.scatter_(1, ids_mk, -torch.inf).logsumexp(1))


def linear_top_k_targets(
    features_MD: Tensor,
    weight_VD: Tensor,
    teacher: TopK,
    bias_V: Tensor | None = None,
    temperature: float = 1.0,
    divergence: Divergence = "kl",
    chunk_tokens: int = CHUNK_TOKENS,
) -> tuple[Tensor, Tensor]:
    """``T^2 * sum(D(p', q'))`` over the teacher's k words and any other, without (M, V) logits.

    p' and q' are the softened distributions of teacher and student over k + 1 outcomes. They are
    coarser than those of all words, and these divergences never grow when outcomes are joined (the
    data-processing inequality): the loss is at most that of ``soft_targets``, and equals it where
    k = V. It does not ask how the student shares out what is left among the other words.

    Memory is ``chunk_tokens * V`` numbers beside the gradients; see ``linear_loss``.

    Args:
        features_MD: what goes into the student's output layer, (M, D), floating point.
        weight_VD: (V, D); outside autocast of the features' type.
        teacher: at the same temperature; rounded probabilities are made to add up to 1.
        bias_V: (V,), or none.
        temperature: T, above 0.
        divergence: as in ``soft_targets``, but ``squared_error``, which compares scores.
        chunk_tokens: rows at a time, at least 1; the result does not depend on it.

    Returns:
        (sum, count): scalar () float32 (float64 for float64 features), nats; scalar () int64,
        targets.

    Raises:
        ValueError: shapes or types do not fit, there are more words than the student has or, on the
            CPU, one that it has not, ``chunk_tokens`` is below 1, the temperature is not above 0,
            or there is no such divergence.

    Source:
        Cover and Thomas 2006, theorem 2.7.1 (the log sum inequality: joining outcomes never adds).
        Differs from Tan et al. 2019, arXiv:1902.10461 (top-K distillation), who scale the
        k probabilities up to 1: a student of those is taught that no other word ever comes.
    """
    dtype = check_linear(features_MD, weight_VD, None, bias_V, chunk_tokens)
    _check(teacher, len(features_MD), len(weight_VD), temperature, divergence)
    log_rest_M = teacher.log_rest
    if divergence == "pseudo_labels":  # of a word, at no temperature
        log_rest_M, temperature = torch.full_like(log_rest_M, -torch.inf), 1.0
    kept_is_all = teacher.ids.shape[1] == len(weight_VD)

    def losses_(rows: slice, logits_mV: Tensor) -> Tensor:
        ids_mk, log_p_mK = teacher.ids[rows], teacher.log_probabilities[rows]
        if not kept_is_all:
            log_p_mK = torch.cat([log_p_mK, log_rest_M[rows].unsqueeze(1)], dim=1)
        outcomes_mK, log_rest_m1 = _joined_(logits_mV.div_(temperature), ids_mk, kept_is_all)
        with torch.enable_grad():
            total, _ = soft_targets(outcomes_mK.requires_grad_(), log_p_mK, 1.0, divergence)
            total = temperature**2 * total
        slope_mK = torch.autograd.grad(total, outcomes_mK)[0] / temperature
        # Of a word of the rest: the slope of the rest times the word's share of it.
        logits_mV.sub_(log_rest_m1).exp_().mul_(slope_mK[:, -1:])
        logits_mV.scatter_(1, ids_mk, slope_mK[:, : ids_mk.shape[1]])
        return total.detach()

    total = linear_loss(features_MD, weight_VD, bias_V, losses_, chunk_tokens, dtype)
    return total, torch.full((), len(features_MD), dtype=torch.int64, device=features_MD.device)


def _joined_(scores_mV: Tensor, ids_mk: Tensor, kept_is_all: bool) -> tuple[Tensor, Tensor]:
    """Scores of the outcomes, (m, k + 1) or (m, V), and that of the rest, (m, 1).

    The scores of the words in ``ids_mk`` become -inf. Without a rest its score is 0.
    """
    kept_mk = scores_mV.gather(1, ids_mk)
    scores_mV.scatter_(1, ids_mk, -torch.inf)
    if kept_is_all:
        return kept_mk, kept_mk.new_zeros(len(kept_mk), 1)
    rest_m1 = scores_mV.logsumexp(1, keepdim=True)
    return torch.cat([kept_mk, rest_m1], dim=1), rest_m1


def _check(
    teacher: TopK, num_targets: int, num_words: int, temperature: float, divergence: Divergence
) -> None:
    ids, log_p, rest = teacher.ids, teacher.log_probabilities, teacher.log_rest
    fits = ids.ndim == 2 and ids.shape[0] == num_targets and 1 <= ids.shape[1] <= num_words
    if not fits or log_p.shape != ids.shape or rest.shape != ids.shape[:1]:
        raise ValueError(
            f"words and log-probabilities must be (M, k) and the rest's (M,), with M = "
            f"{num_targets} and k from 1 to {num_words}, not {tuple(ids.shape)}, "
            f"{tuple(log_p.shape)} and {tuple(rest.shape)}"
        )
    check_labels(ids.flatten(), num_words)
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, not {temperature}")
    if divergence == "squared_error":
        raise ValueError(
            "squared_error compares scores, and of a teacher's likeliest words their probabilities "
            "are known: take kl, reverse_kl or jensen_shannon"
        )
