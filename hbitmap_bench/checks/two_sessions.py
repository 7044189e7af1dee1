"""Is a step found after a night, on a busy machine? Two real sessions of ``bench``.

CLONE is any clone whose HEAD has a configuration of asv's; it stays as it is::

    tox -e two-sessions -- CLONE --bench REGEX --function src/package/module.py:Class.method

Commits that change nothing are made on a scratch clone, but for one in the second half, since which
the function takes 20% longer. ``bench`` measures each half in a session of its own, the second
beside processes that keep all cores busy. The exit code is 1 unless ``trend`` finds this step in
every benchmark, and no other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from hbitmap_bench.base import scratch
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.program import run_to_exit
from hbitmap_bench.checks.foreign import (
    MACHINE,
    PROFILE,
    SLOWER,
    Done,
    Step,
    run,
    scratch_clone,
)
from hbitmap_bench.checks.injections import commit
from hbitmap_bench.checks.instruction_rates import spinners
from hbitmap_bench.commits.project import Project, git

A_SESSION: Final = 5
"""Commits."""

SLOWER_AT: Final = A_SESSION + 2
"""The place of the slower commit: two of its session come before it, and two after."""

SHOWN: Final = ("state", "benchmark", "params", "ratio")


def make_commits(project: Project, function: str) -> list[str]:
    """Commits of both sessions, checked out on a branch of their own; their hashes."""
    path, _, name = function.partition(":")
    file = project.root / path
    if not file.is_file():
        raise UserError(f"the clone must have {path}, and has not: name a file of its own")
    git(project.root, "checkout", "--quiet", "-B", "two-sessions")
    made = []
    for place in range(2 * A_SESSION):
        more = SLOWER.format(name=name) if place == SLOWER_AT else f"\n# Commit {place}.\n"
        text = file.read_text(encoding="utf-8") + more
        made.append(commit(project.root, f"Commit {place}", {path: text}))
    return made


def measure(project: Project, before: str, newest: str) -> None:
    """Run a session. Raises ``UserError`` where it fails."""
    commits = f"{before}..{newest}"
    done = run(project, Step("bench", ("bench", "--profile", PROFILE, *MACHINE, commits)))
    if done.code:
        raise UserError(f"bench must measure {commits}, and ended with {done.code}: {_last(done)}")


def _last(done: Done) -> str:
    return done.complaint or (done.output.strip().splitlines() or ["no message"])[-1]


def found_right(history: Mapping[str, Any], slower: str) -> bool:
    """Whether every series has its step at ``slower``, and none has another."""
    steps = [*history["regressions"], *history["improvements"]]
    right = [step for step in history["regressions"] if step["commit"]["hash"] == slower]
    return len(right) == len(steps) == int(history["series"])


def tell(history: Mapping[str, Any], made: Sequence[str], console: Console) -> None:
    """Print each step that was found, and what the seam hides."""
    for step in (*history["regressions"], *history["improvements"]):
        place = made.index(step["commit"]["hash"])
        what = " ".join(str(step[key]) for key in SHOWN)
        console.print(f"commit {place}: {what}", markup=False)
    for doubt in history["doubts"]:
        console.print(f"in doubt: {doubt['benchmark']} {doubt['params']}: {doubt['why']}")
    for seam in history.get("seams", ()):
        place = made.index(seam["before"]["hash"])
        console.print(
            f"seam before commit {place}: {seam['linked']} series linked, {seam['unlinked']} not; "
            f"hides {seam['hides']:.1%} in the middle, {seam['hides_at_worst']:.1%} at worst"
            if seam["linked"]
            else f"seam before commit {place}: no series is linked"
        )


@click.command()
@click.argument("clone", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--bench", required=True, metavar="REGEX", help="Which of its benchmarks.")
@click.option("--function", metavar="FILE:NAME", required=True,
              help="What is made slower, such as a.py:A.run.")  # fmt: skip
def main(clone: Path, bench: str, function: str) -> int:
    """Measure CLONE in two sessions; 1 unless the step is found, and no other."""
    console = Console(highlight=False, soft_wrap=True)
    with scratch.folder() as folder:
        project = scratch_clone(clone, folder / "clone", bench)
        start = git(project.root, "rev-parse", "HEAD")
        made = make_commits(project, function)
        middle = made[A_SESSION - 1]
        for before, newest, load in (
            (start, middle, nullcontext()), (middle, made[-1], spinners()),
        ):  # fmt: skip
            console.print(f"session of {A_SESSION} commits ...")
            with load:
                measure(project, before, newest)
        done = run(project, Step("trend", ("trend", "--json", "-")))
    if not done.output:
        raise UserError(f"trend must find something, and ended with {done.code}: {_last(done)}")
    (history,) = json.loads(done.output)["histories"]
    tell(history, made, console)
    right = found_right(history, made[SLOWER_AT])
    console.print(
        f"{history['series']} series: {'as it should be' if right else 'NOT as it should be'}"
    )
    return int(not right)


if __name__ == "__main__":
    run_to_exit(main)
