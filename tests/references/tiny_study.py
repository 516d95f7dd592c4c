"""A study of seven commands over nine sentences; each takes a second or two beside its imports."""

from pathlib import Path

from tests.references.tiny_experiment import tiny_experiment, write_config

STUDY = """\
# Does it help to start from another run?
parameters:
  data: DATA
seeds: [0, 1]
stages:
  start:
    configs: [CONFIG]
    settings: {data.path: "${data}"}
    seeds: [0]
  finetune:
    configs: [CONFIG]
    settings: {data.path: "${data}", trainer.max_epochs: 2}
  score:
    command: test
    settings: {run: "${finetune}", data.path: "${data}"}
variants:
  scratch: {}
  started:
    finetune.model.backbone.source: ${start}
    finetune.model.backbone.tokenizer: null
table:
  columns:
    dev loss: {stage: finetune, metric: val/loss}
    test loss: {stage: score, metric: test/loss}
"""


def tiny_study(directory: Path) -> Path:
    """Write data, configuration and ``study.yaml``; the study's path."""
    config = tiny_experiment(directory)
    config["trainer"] |= {
        "log_every_n_steps": 1,
        "callbacks": [
            {"class_path": "lit_llm.callbacks.best_model.BestModel"},
            {
                "class_path": "lit_llm.callbacks.checkpoints.Checkpoints",
                "init_args": {"every_n_steps": 1},
            },
        ],
    }
    path = write_config(directory / "experiment.yaml", config)
    study = directory / "study.yaml"
    text = STUDY.replace("CONFIG", path).replace("DATA", str(directory / "data"))
    study.write_text(text)
    return study
