"""Optimizers as plain configuration: parameter groups, optimizer, learning-rate schedule."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from lit_llm.schedules import ScheduleConfig, learning_rate_factor


@dataclass(frozen=True)
class OptimizerConfig:
    """Which optimizer, how fast.

    Attributes:
        name: ``adamw`` (decoupled decay, Loshchilov and Hutter 2019, arXiv:1711.05101), ``adam``
            (decay as an L2 term) or ``sgd``.
        lr: peak learning rate.
        weight_decay: for matrices only: biases and normalisation weights are never decayed.
        betas: Adam's two decay rates.
        eps: Adam's epsilon.
        momentum: of SGD.
        head_lr: peak rate of the head's parameters; ``lr`` when unset.
    """

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = 5e-5
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    momentum: float = 0.9
    head_lr: float | None = None

    def __post_init__(self) -> None:
        if self.name not in ("adamw", "adam", "sgd"):
            raise ValueError(f"optimizer.name is adamw, adam or sgd, not {self.name!r}")
        for key in ("lr", "head_lr"):
            value = getattr(self, key)
            if value is not None and not value > 0:
                raise ValueError(f"optimizer.{key} must be above 0, not {value}")
        if not self.weight_decay >= 0:
            raise ValueError(f"optimizer.weight_decay must be at least 0, not {self.weight_decay}")


def parameter_groups(
    named: Iterable[tuple[str, nn.Parameter]], config: OptimizerConfig
) -> list[dict[str, Any]]:
    """All parameters in groups by (part, decayed or not), each named, none left out.

    One-dimensional parameters (biases, normalisation weights) are not decayed. A frozen parameter
    is in its group too: what trains when is the schedule's business, not the optimizer's.
    """
    groups: dict[str, dict[str, Any]] = {}
    for name, parameter in named:
        head = not name.startswith("backbone.")
        decayed = parameter.ndim > 1
        key = f"{'head' if head else 'backbone'}{'' if decayed else '/no_decay'}"
        lr = config.head_lr if head and config.head_lr is not None else config.lr
        group = groups.setdefault(
            key,
            {
                "name": key,
                "params": [],
                "lr": lr,
                "weight_decay": config.weight_decay if decayed else 0.0,
            },
        )
        group["params"].append(parameter)
    return list(groups.values())


def build_optimizer(
    groups: list[dict[str, Any]], config: OptimizerConfig, fused: bool
) -> torch.optim.Optimizer:
    """The optimizer over ``groups``; ``fused`` takes torch's one-kernel form of it."""
    if config.name == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, fused=fused)
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    return kind(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=fused)


def build_schedule(
    optimizer: torch.optim.Optimizer, config: ScheduleConfig, total_steps: int
) -> LambdaLR:
    """The learning-rate schedule, one step per optimizer step."""
    return LambdaLR(optimizer, learning_rate_factor(config, total_steps))


def set_rates(schedule: LambdaLR) -> None:
    """Give each group the rate that the schedule has for the step it stands at."""
    groups = zip(
        schedule.optimizer.param_groups, schedule.base_lrs, schedule.lr_lambdas, strict=True
    )
    for group, base, factor in groups:
        group["lr"] = base * factor(schedule.last_epoch)
