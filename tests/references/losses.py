"""The losses one target at a time, in Python floats, from their definitions.

Cross-entropy with smoothing: Szegedy et al. 2016, section 7 (q' = (1 - e) q + e / C, H(q', p)).
Binary cross-entropy: the negative log-likelihood of independent Bernoulli variables.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def cross_entropy(
    logits: Sequence[Sequence[float]],
    labels: Sequence[int],
    weights: Sequence[float],
    label_smoothing: float,
) -> tuple[float, float]:
    total = 0.0
    for scores, label, weight in zip(logits, labels, weights, strict=True):
        partition = sum(math.exp(score) for score in scores)
        for c, score in enumerate(scores):
            q = (1 - label_smoothing) * (c == label) + label_smoothing / len(scores)
            total -= weight * q * math.log(math.exp(score) / partition)
    return total, sum(weights)


def cross_entropy_gradient(
    logits: Sequence[Sequence[float]],
    labels: Sequence[int],
    weights: Sequence[float],
    label_smoothing: float,
) -> list[list[float]]:
    """d sum / d logit = w * (p - q')."""
    rows = []
    for scores, label, weight in zip(logits, labels, weights, strict=True):
        partition = sum(math.exp(score) for score in scores)
        rows.append(
            [
                weight
                * (
                    math.exp(score) / partition
                    - (1 - label_smoothing) * (c == label)
                    - label_smoothing / len(scores)
                )
                for c, score in enumerate(scores)
            ]
        )
    return rows


def binary_cross_entropy(
    logits: Sequence[Sequence[float]], labels: Sequence[Sequence[float]], weights: Sequence[float]
) -> tuple[float, float]:
    total = 0.0
    for scores, targets, weight in zip(logits, labels, weights, strict=True):
        for score, target in zip(scores, targets, strict=True):
            p = 1 / (1 + math.exp(-score))
            total -= weight * (target * math.log(p) + (1 - target) * math.log(1 - p)) / len(scores)
    return total, sum(weights)


def squared_error(
    predictions: Sequence[float], labels: Sequence[float], weights: Sequence[float]
) -> tuple[float, float]:
    total = 0.0
    for prediction, label, weight in zip(predictions, labels, weights, strict=True):
        total += weight * (prediction - label) ** 2
    return total, sum(weights)


def softened(scores: Sequence[float], temperature: float) -> list[float]:
    """Hinton et al. 2015, equation 1."""
    powers = [math.exp(score / temperature) for score in scores]
    return [power / sum(powers) for power in powers]


def soft_targets(
    student: Sequence[float], teacher: Sequence[float], temperature: float, divergence: str
) -> float:
    """T^2 times the divergence of one target, by its definition."""
    return temperature**2 * divergence_of(
        softened(teacher, temperature), softened(student, temperature), divergence
    )


def top_k_targets(
    student: Sequence[float],
    teacher: Sequence[float],
    k: int,
    temperature: float,
    divergence: str,
) -> float:
    """T^2 times the divergence over the teacher's k likeliest words, and any other of the rest."""
    p, q = softened(teacher, temperature), softened(student, temperature)
    order = sorted(range(len(p)), key=lambda word: -p[word])
    kept, others = order[:k], order[k:]

    def joined(probabilities: Sequence[float]) -> list[float]:
        rest = [sum(probabilities[word] for word in others)] if others else []
        return [probabilities[word] for word in kept] + rest

    return temperature**2 * divergence_of(joined(p), joined(q), divergence)


def divergence_of(p: Sequence[float], q: Sequence[float], divergence: str) -> float:
    def kl(one: Sequence[float], other: Sequence[float]) -> float:
        return sum(a * math.log(a / b) for a, b in zip(one, other, strict=True))

    middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    return {
        "kl": kl(p, q),
        "reverse_kl": kl(q, p),
        "jensen_shannon": (kl(p, middle) + kl(q, middle)) / 2,
    }[divergence]
