"""How far a commit's instruction counts lie apart beside spinners, and what they show.

Run it where valgrind is installed (an hour)::

    tox -e instruction-rates
    tox -e instruction-rates -- --runs 3

As many processes as there are cores spin beside it throughout. All timed cells of the quick profile
are counted for a commit against itself, then against one with a comment more. Then one compiled
loop is made 1% dearer, and one loop in Python 3%, each counted ``--runs`` times by a cell of its
own, installed anew. The exit code is 1 where a promise is broken: 95% of cells within 0.1% of
themselves, and every dearer loop seen.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from math import inf
from os import cpu_count
from pathlib import Path
from typing import Final

import click
import numpy as np
from rich.console import Console

from hbitmap_bench.base import scratch
from hbitmap_bench.base.children import running
from hbitmap_bench.base.program import run_to_exit
from hbitmap_bench.checks.injections import CHECKS, CORE, Edit, commit, constant, scratch_clone
from hbitmap_bench.commits.gate import environments, instructions, suites
from hbitmap_bench.commits.gate.environments import SideName, Workshop
from hbitmap_bench.commits.gate.session import discover
from hbitmap_bench.commits.gate.sides import Side, resolve
from hbitmap_bench.commits.gate.thresholds import INSTRUCTIONS_BAND
from hbitmap_bench.commits.project import find_project, git

COMMENT: Final = "a comment more"
JOB: Final = "hbitmap_impl/backup.py"

_ASK: Final = "                length, allocated, _ = block_status(end, size - end)\n"

EDITS: Final[Mapping[str, Edit]] = {
    "1% in a compiled loop": constant(1).edits[0],
    "3% in Python": Edit(
        JOB, _ASK, f"                if not queries % 36:\n    {_ASK}{_ASK}"
    ),
}  # fmt: skip
"""A word in a hundred is read twice; a query in 36 is asked twice, and they are counted mod 36."""

CELLS: Final = {
    "1% in a compiled loop": r"^buildup\.BuildUp\.time_queries\('access', 4, 64\)$",
    "3% in Python": r"^buildup\.BuildUp\.time_queries\('plain', 4, 64\)$",
}

PROMISED: Final = 0.95
"""Of the cells, that are within ``WITHIN`` of themselves."""

WITHIN: Final = 0.001


@contextmanager
def spinners() -> Iterator[None]:
    """Processes that keep all cores busy."""
    with ExitStack() as stack:
        for _ in range(cpu_count() or 1):
            command = [sys.executable, "-c", "while True: pass"]
            null = subprocess.DEVNULL
            stack.enter_context(running(command, stdout=null, stderr=null))
        yield


def count(workshop: Workshop, head: str, bench: str | None) -> instructions.Counts:
    """Of the quick profile's cells, or those that match, of ``main`` and another branch."""
    base, other = resolve(workshop.project, "main", head, allow_dirty=False)
    sides: dict[SideName, Side] = {"base": base, "head": other}
    with workshop.alone(), scratch.for_all(), scratch.folder() as folder:
        environments.prepare(workshop, sides)
        suite = suites.extract_suites(workshop, sides, folder / "suites")["head"]
        described = discover(workshop, "head", suite)
        plan = suites.make_plan(
            workshop, sides, profile="quick", bench=bench,
            described=dict.fromkeys(sides, described),
        )  # fmt: skip
        return instructions.count(
            instructions.interpreters(workshop), suite, instructions.timed(plan),
            folder / "counts", inf, lambda *_: None,
        )  # fmt: skip


def heads(clone: Path) -> dict[str, str]:
    """Branches of the clone by what they are: a comment more than main, and main made dearer."""
    texts = {path: (clone / path).read_text(encoding="utf-8") for path in (CHECKS, CORE, JOB)}
    changes = {what: {edit.path: edit.edited(texts[edit.path])} for what, edit in EDITS.items()}
    changes[COMMENT] = {CHECKS: f"{texts[CHECKS]}# Nothing.\n"}
    branches = {}
    for what, change in changes.items():
        branches[what] = what.replace(" ", "-").replace("%", "")
        git(clone, "checkout", "--quiet", "-b", branches[what], "main")
        commit(clone, what, change)
    git(clone, "checkout", "--quiet", "main")
    return branches


def tell_same(what: str, counts: instructions.Counts, console: Console) -> bool:
    """Print how far one code is from itself; whether that is as promised."""
    apart = {cell: abs(head / base - 1) for cell, (base, _, head) in counts.counted.items()}
    share = float(np.mean([one <= WITHIN for one in apart.values()]))
    worst = max(apart, key=apart.__getitem__)
    median, most = np.quantile([*apart.values()], [0.5, PROMISED])
    console.print(
        f"{what}: {len(apart)} cells, {share:.1%} within {WITHIN:.1%}; median {median:.6%}, "
        f"{PROMISED:.0%} within {most:.6%}, the largest {apart[worst]:.6%} ({worst.name})"
    )
    for cell, reason in counts.left_out.items():
        console.print(f"  not counted: {cell.name}: {reason}")
    return share >= PROMISED


def tell_dearer(what: str, changes: Sequence[float], console: Console) -> bool:
    """Print how often a dearer loop was seen; whether it always was."""
    seen = sum(change > INSTRUCTIONS_BAND.value for change in changes)
    console.print(
        f"{what}: seen in {seen} of {len(changes)} runs; {min(changes):+.4%} to {max(changes):+.4%}"
    )
    return seen == len(changes)


@click.command()
@click.option("--runs", type=click.IntRange(1), default=20, show_default=True)
@click.option("--same", type=click.IntRange(1), default=1, show_default=True,
              help="Runs over all cells of the quick profile, of one code.")  # fmt: skip
def main(runs: int, same: int) -> int:
    """Count beside spinners; 1 where a promise is broken."""
    instructions.require()
    console = Console(soft_wrap=True, highlight=False)
    kept = []
    with scratch.folder() as folder, spinners():
        clone = scratch_clone(find_project(Path.cwd()).root, folder / "clone")
        workshop, branches = Workshop(find_project(clone)), heads(clone)
        for _ in range(same):
            for what, head in (("itself", "main"), (COMMENT, branches[COMMENT])):
                kept.append(tell_same(what, count(workshop, head, None), console))
        for what, bench in CELLS.items():
            counts = [count(workshop, branches[what], bench).counted for _ in range(runs)]
            ratios = [head / base for one in counts for base, _, head in one.values()]
            kept.append(tell_dearer(what, [ratio - 1 for ratio in ratios], console))
    return 0 if all(kept) else 1


if __name__ == "__main__":
    run_to_exit(main)
