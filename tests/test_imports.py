"""Imports inside the package go one way."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1] / "lit_llm"
ALLOWED = {
    "batch": set(),
    "freezing": set(),
    "freezing_plan": {"freezing"},
    "schedules": {"freezing", "freezing_plan"},
    "optim": {"freezing_plan", "schedules"},
    "environment": set(),
    "secrets": set(),
    "ranks": set(),
    "run_directory": {"durable", "secrets"},
    "loggers": {"durable", "ranks", "secrets"},
    "losses": set(),
    "metrics": set(),
    "data": {"batch", "durable", "schedules"},
    "backbone": {"batch"},
    "objectives": {
        *("batch", "backbone", "durable", "freezing_plan", "losses", "metrics"),
        *("optim", "schedules", "signals"),
    },
    "durable": set(),
    "checkpoint_io": {"durable"},
    "random_state": set(),
    "signals": set(),
    "signals_of_parent": set(),
    "strict_yaml": set(),
    "study": {"durable", "run_directory", "secrets", "signals_of_parent", "strict_yaml"},
    "tables": {"durable", "strict_yaml", "study"},
    "callbacks": {"batch", "checkpoint_io", "durable", "random_state", "schedules", "signals"},
}


def imported_rooms(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.startswith("lit_llm."):
                yield name.split(".")[1], name


def test_imports_inside_the_package_go_one_way():
    files = sorted(ROOT.rglob("*.py"))
    assert len(files) > 20
    wrong = []
    for path in files:
        room = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if room not in ALLOWED:
            continue
        for target, name in imported_rooms(path):
            if target != room and target not in ALLOWED[room]:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert wrong == []


def test_objectives_never_import_each_other():
    modules = {path.stem for path in (ROOT / "objectives").glob("*.py")}
    shared = {"__init__", "objective", "evaluation", "identity", "divergence", "layout"}
    shared |= {"comparison", "kept_words", "matching", "saved", "scorer", "teacher"}
    shared |= {"teacher_cache", "term_counts", "votes"}
    for path in (ROOT / "objectives").glob("*.py"):
        targets = {
            name.split(".")[-1] for room, name in imported_rooms(path) if room == "objectives"
        }
        assert targets <= shared, f"{path.name} imports {targets & (modules - shared)}"


def test_nothing_imports_from_outside_the_package():
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                assert node.module.split(".")[0] not in ("tests", "experiments", "notebooks"), path
