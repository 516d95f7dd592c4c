"""Ray's options are checked before anything starts; Ray itself is not started here."""

import pytest

from lit_llm.study.ray_engine import RayEngine

ray = pytest.importorskip("ray")


@pytest.mark.parametrize(
    ("resources", "sentence"),
    [
        ({"score": {"num_cpu": 2}}, "for score: .*num_cpu"),
        ({"default": {"num_cpus": "two"}}, "for default: .*num_cpus"),
    ],
)
def test_what_ray_does_not_take_is_refused(resources, sentence, monkeypatch):
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("it was started"))
    with pytest.raises(ValueError, match=f"--resources {sentence}"):
        RayEngine(1, resources)
