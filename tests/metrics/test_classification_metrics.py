from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing

from lit_llm.metrics.classification_metrics import classification_metrics

PROBLEMS = {
    "single_label_classification": (
        2,
        {"accuracy", "f1", "f1_positive", "mcc", "calibration_error"},
    ),
    "multi_label_classification": (3, {"f1", "micro_f1", "exact_match"}),
    "regression": (1, {"mse", "pearson", "spearman"}),
}


def examples(problem: str, m: int) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    if problem == "regression":
        return torch.randn(m, generator=g), torch.randn(m, generator=g)
    num_labels = PROBLEMS[problem][0]
    probabilities_MC = torch.randn(m, num_labels, generator=g).softmax(dim=1)
    if problem == "multi_label_classification":
        return probabilities_MC, torch.randint(2, (m, num_labels), generator=g)
    return probabilities_MC, torch.randint(num_labels, (m,), generator=g)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_names_are_those_of_the_logs_and_values_are_plain(problem: str) -> None:
    num_labels, names = PROBLEMS[problem]
    metrics = classification_metrics(problem, num_labels)
    metrics.update(*examples(problem, 12))
    scores = metrics.compute()
    assert set(scores) == names
    assert json.loads(json.dumps(scores)) == scores
    assert all(type(value) is float for value in scores.values())
    metrics.reset()
    metrics.update(*examples(problem, 12))
    assert metrics.compute() == scores


def test_positive_class_has_its_own_f1_only_for_two_classes() -> None:
    metrics = classification_metrics("single_label_classification", 3)
    metrics.update(torch.eye(3), torch.arange(3))
    assert set(metrics.compute()) == {"accuracy", "f1", "mcc", "calibration_error"}


def test_wrong_problem_is_refused() -> None:
    with pytest.raises(ValueError, match="problem 'ranking' must be single_label"):
        classification_metrics("ranking", 2)
    with pytest.raises(ValueError, match="num_labels must be 1, not 2"):
        classification_metrics("regression", 2)
    with pytest.raises(ValueError, match="at least 2, not 1"):
        classification_metrics("single_label_classification", 1)


def score_on_two_ranks(rank: int, folder: str) -> None:
    """Every m: rank 1 holds the odd examples; of one example it holds none."""
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    scores = {}
    for problem, (num_labels, _) in PROBLEMS.items():
        for m in (1, 2, 5):
            metrics = classification_metrics(problem, num_labels)
            predictions, gold = examples(problem, m)
            if m > rank:
                metrics.update(predictions[rank::2], gold[rank::2])
            scores[f"{problem} {m}"] = metrics.compute()
    Path(folder, f"{rank}.json").write_text(json.dumps(scores))
    distributed.destroy_process_group()


@pytest.mark.ddp
def test_two_ranks_equal_one_process(tmp_path: Path) -> None:
    multiprocessing.spawn(score_on_two_ranks, args=(str(tmp_path),), nprocs=2)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert first == second
    for problem, (num_labels, _) in PROBLEMS.items():
        for m in (1, 2, 5):
            metrics = classification_metrics(problem, num_labels)
            metrics.update(*examples(problem, m))
            assert first[f"{problem} {m}"] == pytest.approx(metrics.compute(), rel=1e-12)
