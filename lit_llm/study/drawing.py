"""A plan as text: the graph of stages, and the commands that remain."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping

from rich.tree import Tree

from lit_llm.study.ledger import Verdict
from lit_llm.study.plan import Cell
from lit_llm.study.starting import command, replaced

_SAID = {"done": "done", "keep": "done", "wait": "done", "resume": "to resume", "run": "to run"}


def graph(study: str, cells: Mapping[str, Cell], verdicts: Mapping[str, Verdict]) -> Tree:
    """A study's stages, each under the last one it reads from, its seeds together."""
    groups: dict[str, list[Cell]] = {}
    for cell in cells.values():
        groups.setdefault(cell.group, []).append(cell)
    tree = Tree(f"{study}: {summary(verdicts)}", highlight=False)
    nodes: dict[str, Tree] = {}
    for group, members in groups.items():
        needs = list(dict.fromkeys(cells[n].group for c in members for n in c.needs.values()))
        counts = Counter(_SAID[verdicts[cell.name].kind] for cell in members)
        states = ", ".join(
            what if number == len(members) else f"{number} {what}"
            for what, number in counts.items()
        )
        seeds = " ".join(str(cell.seed) for cell in members)
        also = f"  (also reads {', '.join(needs[:-1])})" if len(needs) > 1 else ""
        parent = nodes[needs[-1]] if needs else tree
        nodes[group] = parent.add(
            f"{group}  seed{'s' if len(members) > 1 else ''} {seeds}: {states}{also}",
            highlight=False,
        )
    return tree


def summary(verdicts: Mapping[str, Verdict]) -> str:
    """``12 cells, 3 done, 1 to resume, 8 to run``."""
    counts = Counter(_SAID[verdict.kind] for verdict in verdicts.values())
    parts = [f"{counts[what]} {what}" for what in ("done", "to resume", "to run") if counts[what]]
    return ", ".join([f"{len(verdicts)} command{'s' if len(verdicts) != 1 else ''}", *parts])


def commands(cells: Mapping[str, Cell], verdicts: Mapping[str, Verdict]) -> Iterator[str]:
    """Lines for a shell: what remains, in an order that works; other cells as comments."""
    for name, cell in cells.items():
        verdict = verdicts[name]
        resumes = verdict.kind == "resume"
        if verdict.kind in ("done", "keep"):
            yield f"# done: {name}" + (f" ({verdict.why})" if verdict.why else "")
        elif verdict.kind == "wait":
            yield f"# judged again: {name} ({verdict.why})"
        else:
            place = None if resumes else replaced(cell)
            if place is not None:
                yield f"mkdir -p {shlex.quote(str(place.parent))}"
                yield f"mv {shlex.quote(str(cell.run_dir))} {shlex.quote(str(place))}"
            yield f"lit-llm {shlex.join(command(cell, resumes))}"
