"""SLURM jobs, through submitit: each has its own stage's resources, checked before any starts."""

import pytest

from lit_llm.study.engines import Job
from lit_llm.study.submitit_engine import SubmititEngine

submitit = pytest.importorskip("submitit")


class Submitted:
    """A job that has ended."""

    def results(self):
        return [0]


@pytest.fixture
def submitted(monkeypatch):
    """What SLURM was asked for, job by job."""
    asked = []

    def submit(executor, command):
        asked.append({"stage": command.job.stage, **executor._executor.parameters})
        return Submitted()

    monkeypatch.setattr(submitit.SlurmExecutor, "affinity", classmethod(lambda _: 2))
    monkeypatch.setattr(submitit.AutoExecutor, "submit", submit)
    return asked


def job(stage, log):
    return Job(f"study/x/{stage}/seed=0", stage, ["fit"], log)


def test_a_job_has_its_own_stages_resources_or_the_default(submitted, tmp_path):
    resources = {"default": {"gpus_per_node": 1}, "start": {"tasks_per_node": 2, "timeout_min": 7}}
    engine = SubmititEngine(2, tmp_path, resources)
    for stage in ("start", "finetune", "start"):
        assert engine.submit(job(stage, tmp_path / "log")).result(10) == 0
    engine.close()
    asked = [
        {key: parameters.get(key) for key in ("gpus_per_node", "ntasks_per_node", "time")}
        for parameters in submitted
    ]
    start = {"gpus_per_node": 1, "ntasks_per_node": 2, "time": 7}
    assert asked[0] == asked[2] == start
    assert asked[1] == {"gpus_per_node": 1, "ntasks_per_node": None, "time": 24 * 60}
    assert submitted[1]["job_name"] == "study.x.finetune.seed=0"


@pytest.mark.parametrize(
    ("resources", "sentence"),
    [
        ({"score": {"slurm_partiton": "gpu"}}, "for score: .*Unknown argument 'partiton'"),
        ({"score": {"gpus": 2}}, "for score: .*gpus"),
        ({"default": {"nodes": "two"}}, 'for default: .*"nodes" expected type'),
    ],
)
def test_what_submitit_does_not_take_is_refused_before_any_job(
    resources, sentence, submitted, tmp_path
):
    with pytest.raises(ValueError, match=f"--resources {sentence}"):
        SubmititEngine(1, tmp_path, resources)


def test_a_machine_without_slurm_is_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(submitit.SlurmExecutor, "affinity", classmethod(lambda _: -1))
    with pytest.raises(ValueError, match=r"--on slurm .*srun"):
        SubmititEngine(1, tmp_path, {})
