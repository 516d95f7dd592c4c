"""Every study in the repository can be planned, and says what it asks and how it is run."""

from pathlib import Path

import pytest

from lit_llm.study.plan import plan_study
from lit_llm.study.study_file import read_study

ROOT = Path(__file__).parents[1]
STUDIES = sorted((ROOT / "experiments").rglob("*.yaml"))


def test_there_are_studies():
    assert len(STUDIES) >= 3


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_study_opens_with_its_question_and_its_command(path):
    text = path.read_text()
    assert text.startswith("# ")
    assert "?" in text.split("\n")[0]
    for word in ("# Hardware:", "Expect:", f"# Run:    lit-llm run experiments/{path.parent.name}"):
        assert word in text, word


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_study_can_be_planned(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    plan = plan_study(read_study(path), Path("runs") / path.parent.name)
    assert plan.cells
    for cell in plan.cells.values():
        assert cell.words[0] == "fit" or cell.needs


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_study_has_a_readme_with_a_verdict(path):
    text = (path.parent / "README.md").read_text()
    for word in ("lit-llm run", "Verdict", "| variant" if "variants:" in path.read_text() else "|"):
        assert word in text, word
