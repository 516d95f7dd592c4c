"""A language model's run that goes on inside an epoch ends, bit by bit, as the whole one."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForPreTraining

from lit_llm.backbone.backbone import Backbone
from lit_llm.callbacks.checkpoints import Checkpoints
from lit_llm.checkpoint_io import checkpoints, step_of
from lit_llm.objectives.causal_lm import CausalLM
from lit_llm.objectives.masked_lm import MaskedLM
from lit_llm.optim import OptimizerConfig
from tests.helpers import Recorder, parameters_of, quick_trainer, save_tiny
from tests.references.language_corpus import language_corpus

DROPOUT = {
    "causal": {"resid_pdrop": 0.2, "embd_pdrop": 0.2, "attn_pdrop": 0.2},
    "sop": {"hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.2},
}


def train(directory, source, task, resume=None, **settings):
    torch.manual_seed(1)
    optimizer = OptimizerConfig(lr=1e-2)
    if task == "causal":
        model = CausalLM(Backbone(source), optimizer)
    else:
        model = MaskedLM(Backbone(source), optimizer, sentence_objective=task)
    recorder, saving = Recorder(), Checkpoints(every_n_steps=1, keep=None)
    trainer = quick_trainer(
        directory,
        max_epochs=2,
        enable_checkpointing=True,
        logger=recorder,
        callbacks=[saving],
        **settings,
    )
    data = language_corpus(directory.parent, task)
    trainer.fit(model, data, ckpt_path=resume, weights_only=True)
    return {
        "losses": recorder.values("train/loss"),
        "weights": parameters_of(model),
        "optimizer": trainer.optimizers[0].state_dict()["state"],
        "scores": model.results["val"]["metrics"],
        "steps_an_epoch": len(data.train_dataloader()) // trainer.accumulate_grad_batches,
    }


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("task", ["causal", "sop"])
def test_resumed_inside_an_epoch_equals_uninterrupted(task, accumulate, tmp_path):
    head, kind = AutoModelForPreTraining, "bert"
    if task == "causal":
        head, kind = AutoModelForCausalLM, "gpt2"
    source = save_tiny(tmp_path / "source", head, ["a", "b"], kind, **DROPOUT[task])
    settings = {"accumulate_grad_batches": accumulate}
    whole = train(tmp_path / "whole", source, task, **settings)
    assert whole["steps_an_epoch"] > 2
    inside = whole["steps_an_epoch"] + 1  # one step into the second epoch
    found = {step_of(path): path for path in checkpoints(tmp_path / "whole" / "checkpoints")}
    for step in (1, inside):
        again = train(tmp_path / f"from-{step}", source, task, resume=found[step], **settings)
        assert again["losses"] == whole["losses"][step:]
        for part in ("weights", "optimizer", "scores"):
            torch.testing.assert_close(again[part], whole[part], rtol=0, atol=0)
