"""Optimizers as plain configuration: parameter groups, optimizer, learning-rate schedule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from lit_llm.freezing_plan import FreezingPlan
from lit_llm.schedules import ScheduleConfig, group_factor, learning_rate_factor

Layers = Sequence[tuple[str, list[nn.Parameter]]]
"""Groups of layers by name, from the input upwards, ``head`` last."""


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
        layer_decay: the factor from each group of layers to the one below it, in (0, 1]: the
            highest block has ``lr * layer_decay``, the embeddings of L blocks ``lr *
            layer_decay ** (L + 1)``. ULMFiT divides by 2.6: 0.3846 (Howard and Ruder 2018, section
            3.1, arXiv:1801.06146); 0.8 in Clark et al. 2020 (arXiv:2003.10555). The head's is 1.
    """

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = 5e-5
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    momentum: float = 0.9
    head_lr: float | None = None
    layer_decay: float = 1.0

    def __post_init__(self) -> None:
        if self.name not in ("adamw", "adam", "sgd"):
            raise ValueError(f"optimizer.name is adamw, adam or sgd, not {self.name!r}")
        for key in ("lr", "head_lr"):
            value = getattr(self, key)
            if value is not None and not value > 0:
                raise ValueError(f"optimizer.{key} must be above 0, not {value}")
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"optimizer.layer_decay must lie in (0, 1], not {self.layer_decay}")
        if not self.weight_decay >= 0:
            raise ValueError(f"optimizer.weight_decay must be at least 0, not {self.weight_decay}")


def parameter_groups(layers: Layers, config: OptimizerConfig) -> list[dict[str, Any]]:
    """All parameters in groups by (layer, decayed or not), each named, none left out.

    One-dimensional parameters (biases, normalisation weights) are not decayed. A frozen parameter
    is in its group too: what trains when is the schedule's business, not the optimizer's.

    Args:
        layers: names and parameters, from the input upwards, ``head`` last; or ``joined``.
        config: rates and decay.
    """
    groups: dict[str, dict[str, Any]] = {}
    names = [name for name, _ in layers]
    for name, parameters in layers:
        rate = rate_of(name, names, config)
        for parameter in parameters:
            decayed = parameter.ndim > 1
            key = name if decayed else f"{name}/no_decay"
            group = {
                "name": key,
                "params": [],
                "lr": rate,
                "weight_decay": config.weight_decay if decayed else 0.0,
            }
            groups.setdefault(key, group)["params"].append(parameter)
    return list(groups.values())


def joined(layers: Layers) -> Layers:
    """Two layers, ``backbone`` and ``head``, where no more need be told apart."""
    backbone = [p for name, parameters in layers if name != "head" for p in parameters]
    return [("backbone", backbone), *(layer for layer in layers if layer[0] == "head")]


def layer_of(group: str) -> str:
    """The layer that a parameter group belongs to, from the group's name."""
    return group.removesuffix("/no_decay")


def rate_of(layer: str, layers: Sequence[str], config: OptimizerConfig) -> float:
    """The peak learning rate of one of ``layers``, which stand from the input upwards."""
    if layer == "head":
        return config.lr if config.head_lr is None else config.head_lr
    levels = [name for name in layers if name not in ("head", "final")]
    below = 0 if layer == "final" else len(levels) - 1 - levels.index(layer)
    return float(config.lr * config.layer_decay ** (below + 1))


def build_optimizer(
    groups: list[dict[str, Any]], config: OptimizerConfig, fused: bool
) -> torch.optim.Optimizer:
    """The optimizer over ``groups``; ``fused`` takes torch's one-kernel form of it."""
    if config.name == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, fused=fused)
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    return kind(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=fused)


def build_schedule(
    optimizer: torch.optim.Optimizer,
    config: ScheduleConfig,
    total_steps: int,
    plan: Callable[[], FreezingPlan] | None = None,
) -> LambdaLR:
    """The learning-rate schedule, one step per optimizer step.

    Args:
        optimizer: of ``parameter_groups``.
        config: which shape.
        total_steps: optimizer steps of the whole run.
        plan: what is open when; None for everything, always.
    """
    if plan is None:
        return LambdaLR(optimizer, learning_rate_factor(config, total_steps))
    layers = [layer_of(group["name"]) for group in optimizer.param_groups]
    factors = {layer: group_factor(config, layer, plan, total_steps) for layer in set(layers)}
    return LambdaLR(optimizer, [factors[layer] for layer in layers])


def set_rates(schedule: LambdaLR) -> None:
    """Give each group the rate that the schedule has for the step it stands at."""
    groups = zip(
        schedule.optimizer.param_groups, schedule.base_lrs, schedule.lr_lambdas, strict=True
    )
    for group, base, factor in groups:
        group["lr"] = base * factor(schedule.last_epoch)
