"""Freezing schedules that change something in a run of eight steps of a two-layer model."""

from lit_llm.freezing import FreezingConfig, PhaseConfig

SCHEDULES = {
    "head_only": FreezingConfig("head_only"),
    "two_step": FreezingConfig("two_step", every_epochs=1),
    "three_stage": FreezingConfig("three_stage", every_steps=3),
    "gradual": FreezingConfig("gradual", fraction=0.75),
    "chain_thaw": FreezingConfig("chain_thaw", every_steps=1),
    "bottom_up": FreezingConfig("bottom_up", every_steps=2),
    "keep_frozen": FreezingConfig("full", keep_frozen=["embeddings", "block 0"]),
    "custom": FreezingConfig(
        "custom",
        phases=[
            PhaseConfig(["embeddings", "head"], step=0),
            PhaseConfig(["block *"], epoch=0.75),
            PhaseConfig(["*"], fraction=0.8),
        ],
    ),
    "eval": FreezingConfig("two_step", every_steps=5, frozen_layers="eval"),
    "patience": FreezingConfig("gradual", patience=1, monitor="val/entity_f1", monitor_mode="max"),
}
