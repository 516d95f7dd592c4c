"""What test_multi_step_two_ranks.py compares: each part, by worlds of different size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback

from lit_llm.backbone.backbone import Backbone
from lit_llm.callbacks.adversarial_noise import AdversarialNoise
from lit_llm.callbacks.averaged_weights import AveragedWeights
from lit_llm.callbacks.l2_sp import L2SP
from lit_llm.callbacks.progressive_unfreezing import ProgressiveUnfreezing
from lit_llm.callbacks.r_drop import RDrop
from lit_llm.callbacks.reinitialise_top import ReinitialiseTop
from lit_llm.callbacks.same_weights import SameWeights
from lit_llm.callbacks.staged_data import StagedData
from lit_llm.data.batch_config import BatchConfig
from lit_llm.data.curriculum import CurriculumConfig
from lit_llm.data.stages import StageConfig
from lit_llm.freezing import FreezingConfig
from lit_llm.objectives.distillation import Distillation
from lit_llm.objectives.matching import MatchConfig
from lit_llm.objectives.objective import Objective
from lit_llm.objectives.token_classification import TokenClassification
from lit_llm.optim import OptimizerConfig
from lit_llm.schedules import ScheduleConfig
from tests.helpers import TAGS, Sentences, parameters_of, quick_trainer, sentences
from tests.ranks_program import main
from tests.references.freezing import SCHEDULES


class EveryStep(Callback):
    """Copies of the weights after each optimizer step."""

    def __init__(self) -> None:
        self.found: list[dict[str, torch.Tensor]] = []

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step > len(self.found):
            self.found.append(parameters_of(pl_module))


class OwnOpinion(Callback):
    """A metric that gets better on the first rank, and worse on the others."""

    def __init__(self) -> None:
        self.evaluations = 0

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.evaluations += 1
        sign = -1 if trainer.global_rank else 1
        pl_module.log("val/own", float(sign * self.evaluations))


OWN = FreezingConfig("gradual", patience=1, monitor="val/own", monitor_mode="min")

STAGES = [
    StageConfig(max_tokens=8, steps=2),
    StageConfig(min_tokens=7, until=4.0, monitor="val/own", monitor_mode="max"),
    StageConfig(where={"id": ["s1", "s3", "s4"]}, replay=0.4),
]

DISTILLED = "distilled"
"""The case whose model also learns from a teacher."""
MATCHED = "matched"
"""And from what goes on inside a wider one."""

Case = tuple[FreezingConfig, list[Any], dict[str, Any]]

CASES: dict[str, Case] = {
    **{name: (freezing, [], {}) for name, freezing in SCHEDULES.items()},
    "l2_sp": (SCHEDULES["gradual"], [L2SP], {}),
    "r_drop": (FreezingConfig(), [RDrop], {}),
    "adversarial_noise": (SCHEDULES["two_step"], [AdversarialNoise], {}),
    "reinitialise_top": (FreezingConfig(), [ReinitialiseTop], {}),
    "averaged_weights": (FreezingConfig(), [AveragedWeights], {}),
    "own_opinion": (OWN, [OwnOpinion], {}),
    "curriculum": (
        FreezingConfig(),
        [],
        {"curriculum": CurriculumConfig(epochs=1.5, start=0.3)},
    ),
    "stages": (FreezingConfig(), [OwnOpinion, StagedData], {"stages": STAGES}),
    DISTILLED: (SCHEDULES["two_step"], [], {}),
    MATCHED: (FreezingConfig(), [], {}),
}


def results(directory: Path, world_size: int) -> dict[str, Any]:
    """The weights after each of eight steps, of plain batches and of two to a step."""
    torch.set_num_threads(1)
    return {
        f"{name}, {batches} to a step": train(directory, world_size, name, batches)
        for name in CASES
        for batches in (1, 2)
    }


def train(directory: Path, world_size: int, name: str, accumulate: int) -> Any:
    """Momentum, no Adam and no clipping: these would hide a wrong factor on the gradients."""
    freezing, parts, order = CASES[name]
    schedule = ScheduleConfig("constant", warmup_fraction=0.0, freezing=freezing)
    optimizer = OptimizerConfig("sgd", lr=0.05, layer_decay=0.8)
    torch.manual_seed(3)
    model: Objective = TokenClassification(Backbone(str(directory / "token")), optimizer, schedule)
    if name == DISTILLED:
        model = Distillation(model, str(directory / "teacher"))
    if name == MATCHED:
        match = [MatchConfig("hidden_states"), MatchConfig("relations", relation_heads=2)]
        model = Distillation(model, str(directory / "wide"), match=match)
    data = Sentences(
        train=sentences([3, 9, 1, 14, 6, 2, 5]),
        val=sentences([4, 7, 2], seed=1),
        batches=BatchConfig(examples_per_batch=2 // accumulate, seed=0, **order),
    )
    data.label_names = TAGS
    steps = EveryStep()
    trainer = quick_trainer(
        directory,
        max_steps=8,
        accumulate_grad_batches=accumulate,
        val_check_interval=accumulate,
        callbacks=[
            ProgressiveUnfreezing(),
            *(part() for part in parts),
            SameWeights(every_n_steps=1),
            steps,
        ],
        devices=world_size,
        strategy="ddp_find_unused_parameters_true" if world_size > 1 else "auto",
    )
    trainer.fit(model, data)
    starts = model.freezing.starts if model.freezing is not None else ()
    if data.batches.stages:
        starts = trainer.train_dataloader.plan.starts
        assert len(starts) == 3
    return {"weights": steps.found, "starts": list(starts)}


if __name__ == "__main__":
    main(results)
