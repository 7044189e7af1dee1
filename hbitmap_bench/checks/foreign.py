"""Does a project of others get measured, shown and judged? By the real commands, in a clone of it.

CLONE is any clone, or a bare one, whose HEAD has a configuration of asv's; it stays as it is::

    tox -e foreign -- CLONE --bench REGEX
    tox -e foreign -- CLONE --bench REGEX --function src/package/module.py:Class.method

``bench``, ``show``, ``trend`` and ``publish`` take its last commits. ``gate`` takes the newest,
one whose suites can't be imported, and two that change a function's file: one adds a comment, one
makes the function take 20% longer. What each said is printed. The exit code is 1 where one of them
ended by a traceback, or not as it should.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Final, NamedTuple

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hbitmap_bench.base import scratch
from hbitmap_bench.base.consoles import table_console
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.printable import printable
from hbitmap_bench.base.program import run_to_exit
from hbitmap_bench.checks.injections import commit
from hbitmap_bench.commits.project import CONFIGURATIONS, Project, find_project, git
from hbitmap_bench.commits.project_file import FILE

COMMAND: Final = Path(sys.executable).with_name("hbitmap-bench")
PROFILE: Final = "foreign"
MACHINE: Final = ("--machine", "foreign")

SLOWER: Final = """

def _slower(function):
    import functools, time

    @functools.wraps(function)
    def slowed(*arguments, **named):
        started = time.perf_counter()
        found = function(*arguments, **named)
        ends = time.perf_counter() * 1.2 - started * 0.2
        while time.perf_counter() < ends:
            pass
        return found

    return slowed


{name} = _slower({name})
"""
"""Takes 20% more time, and whatever it costs to look at a clock."""


class Step(NamedTuple):
    """A command, by which exit codes it may end, and what it refuses, if it is to refuse."""

    name: str
    arguments: tuple[str, ...]
    codes: tuple[int, ...] = (0,)
    refuses: str = ""


class Done(NamedTuple):
    """How a step ended, and all that it said."""

    step: Step
    code: int
    elapsed_s: float
    output: str
    errors: str

    @property
    def complaint(self) -> str:
        """The line by which it refused; empty where it did not."""
        lines = self.errors.splitlines()
        return next((line for line in lines if line.startswith("hbitmap-bench: ")), "")

    @property
    def is_right(self) -> bool:
        """Whether it ended as it should."""
        is_told = self.step.refuses in self.complaint and "Traceback" not in self.errors
        is_refused = bool(self.complaint) == bool(self.step.refuses)
        return is_told and is_refused and self.code in self.step.codes

    @property
    def said(self) -> str:
        """Its complaint, else the line that tells most: the first, or the last of progress."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()] or ["nothing"]
        last = self.step.name in ("bench", "publish")
        return printable(self.complaint or lines[-1 if last else 0])


def scratch_clone(clone: Path, where: Path, bench: str) -> Project:
    """Clone what ``clone`` has checked out, with a profile of ``bench`` alone.

    Raises ``UserError`` where it has no configuration of asv's.
    """
    git(clone, "clone", "--quiet", str(clone.resolve()), str(where))
    found = git(where, "ls-files", *(f":(glob)**/{name}" for name in CONFIGURATIONS)).splitlines()
    if not found:
        raise UserError(f"{clone} must have asv.conf.json in a commit, and has none: name another")
    folder = (where / found[0]).parent
    profile = f"\n[profiles.{PROFILE}]\ncells = [{json.dumps(bench)}]\n"
    with (folder / FILE).open("a", encoding="utf-8") as file:
        file.write(profile)
    return find_project(folder)


def steps(project: Project, bench: str, n_commits: int, function: str | None) -> Iterator[Step]:
    """All that is run; each head is made when its turn comes."""
    newest = git(project.root, "rev-parse", "HEAD")
    last = ("rev-list", "--first-parent", f"--max-count={n_commits + 1}", newest)
    before = git(project.root, *last).split()[-1]
    yield Step("bench", ("bench", "--profile", PROFILE, *MACHINE, f"{before}..{newest}"))
    yield Step("show", ("show",))
    yield Step("trend", ("trend",), (0, 1, 2))
    yield Step("publish", ("publish",))

    def gate(name: str, head: str, base: str, codes: tuple[int, ...], refuses: str = "") -> Step:
        arguments = ("gate", *MACHINE, "--bench", bench, "--base", base, "--head", head)
        return Step(f"gate: {name}", arguments, codes, refuses)

    yield gate("the newest", newest, f"{newest}^", (0, 1, 2))
    suites = project.path_of(project.benchmark_dir / "__init__.py")
    if suites is not None:
        broken = _head(project, suites, "\nimport no_such_module_at_all\n")
        yield gate("suites can't be imported", broken, newest, (2,), "no_such_module_at_all")
    if function is not None:
        path, _, name = function.partition(":")
        same = _head(project, path, "\n# Nothing.\n")
        yield gate("a comment", same, newest, (0,))
        slower = _head(project, path, SLOWER.format(name=name))
        yield gate("20% slower", slower, newest, (1,))


def _head(project: Project, path: str, more: str) -> str:
    """A commit on what is checked out that adds lines to a file; it does not stay checked out."""
    file = project.root / path
    if not file.is_file():
        raise UserError(f"the clone must have {path}, and has not: name a file of its own")
    text = file.read_text(encoding="utf-8")
    made = commit(project.root, f"Change {path}", {path: text + more})
    git(project.root, "reset", "--quiet", "--keep", "HEAD~1")
    return made


def run(project: Project, step: Step) -> Done:
    """Run a step in the project's folder."""
    started = perf_counter()
    ran = subprocess.run(
        [COMMAND, *step.arguments], cwd=project.folder, capture_output=True, text=True
    )
    return Done(step, ran.returncode, perf_counter() - started, ran.stdout, ran.stderr)


def table(done: list[Done]) -> Table:
    """A row for each step."""
    shown = Table("step", "exit code", "seconds", "as it should", "what it said")
    for one in done:
        right = "yes" if one.is_right else "NO"
        facts = (one.step.name, str(one.code), f"{one.elapsed_s:.0f}", right, one.said)
        shown.add_row(*map(escape, facts))
    return shown


@click.command()
@click.argument("clone", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--bench", required=True, metavar="REGEX", help="Which of its benchmarks.")
@click.option("--commits", default=10, show_default=True, type=click.IntRange(1),
              help="How many, the newest last.")  # fmt: skip
@click.option("--function", metavar="FILE:NAME", help="What is made slower, such as a.py:A.run.")
def main(clone: Path, bench: str, commits: int, function: str | None) -> int:
    """Print what worked on CLONE, what did not, and why."""
    console, done = Console(stderr=True, highlight=False), []
    try:
        with scratch.folder() as folder:
            project = scratch_clone(clone, folder / "clone", bench)
            for step in steps(project, bench, commits, function):
                console.print(f"{step.name} ...", markup=False)
                done.append(run(project, step))
                if not done[-1].is_right:
                    console.print(done[-1].output, done[-1].errors, markup=False)
    finally:  # an interrupted one too has found something
        table_console().print(table(done))
    return int(not all(one.is_right for one in done))


if __name__ == "__main__":
    run_to_exit(main)
