"""What do our pages cost over asv's own? ``publish`` against ``asv publish``, on the same data.

Run it where npm is, for the pages (half an hour with the default sizes)::

    tox -e publishing
    tox -e publishing -- --commits 100

Both are run as a user runs them, in turn, on a synthetic history of the full parameter grid. Ours
contains asv's: it runs it, and writes its own pages. The exit code is 1 when a limit is missed: the
median ratio of time, and of peak memory, at every size. Memory is the proportional set size of all
processes together (what they share counts once), read from ``/proc`` many times a second.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Final, NamedTuple

import click
from rich.console import Console

from hbitmap_bench.base import scratch
from hbitmap_bench.base.children import running
from hbitmap_bench.base.drawing import Table, to_rich
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.program import run_to_exit
from hbitmap_bench.checks.injections import lend_parts
from hbitmap_bench.checks.synthetic import make_history
from hbitmap_bench.commits.project import Project, find_project

MAX_RATIO: Final = 1.5
"""Ours over asv's alone, in time and in memory."""

TIMED_ROUNDS: Final = 4
"""An even number: each is as often the first of a round as the other."""

WATCHED_ROUNDS: Final = 2
"""In rounds of their own: looking takes time too. Memory hardly varies."""

SAMPLE_S: Final = 0.02
PROC: Final = Path("/proc")

OURS: Final = (
    sys.executable, "-P", "-c", "from hbitmap_bench.cli import main; main()", "publish",
)  # fmt: skip


class Round(NamedTuple):
    """What both cost, one run after the other."""

    asv: float
    ours: float


class Commands(NamedTuple):
    """How both are started."""

    asv: Sequence[str]
    ours: Sequence[str]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What both cost, round by round: seconds, and bytes of all processes at the worst moment."""

    n_commits: int
    elapsed_s: Sequence[Round]
    peak_bytes: Sequence[Round]

    @property
    def kept(self) -> bool:
        """Whether both medians keep the limit."""
        return all(ratio(rounds) <= MAX_RATIO for rounds in (self.elapsed_s, self.peak_bytes))


def ratio(rounds: Sequence[Round]) -> float:
    """Ours over asv's, the median of the rounds."""
    return statistics.median(r.ours / r.asv for r in rounds)


def compare(root: Path, n_commits: int) -> Comparison:
    """Make a history, and publish it by both in turn."""
    with scratch.folder() as folder:
        repo = folder / "repo"
        make_history(root, repo, n_commits)
        lend_parts(root, repo)
        commands = Commands(asv_command(find_project(repo), folder), OURS)
        return Comparison(
            n_commits,
            [one_round(commands, repo, number, seconds) for number in range(TIMED_ROUNDS)],
            [one_round(commands, repo, number, peak_bytes) for number in range(WATCHED_ROUNDS)],
        )


def one_round(
    commands: Commands, repo: Path, number: int, measure: Callable[[Popen[bytes]], float]
) -> Round:
    """Run both, the other one first in every second round."""
    costs = {}
    for place in (0, 1) if number % 2 == 0 else (1, 0):
        costs[place] = run(commands[place], repo, measure)
        shutil.rmtree(repo / "reports" / "html")
    return Round(costs[0], costs[1])


def asv_command(project: Project, folder: Path) -> list[str]:
    """``asv publish`` alone: the same results, to where ours go."""
    conf = {
        **project.conf,
        "repo": str(project.root),
        "results_dir": str(project.results_dir),
        "html_dir": str(project.root / "reports" / "html"),
        "env_dir": str(project.env_dir),
        "benchmark_dir": str(project.root / "benchmarks"),
    }
    path = folder / "asv.conf.json"
    path.write_text(json.dumps(conf))
    return [sys.executable, "-m", "asv", "publish", "--no-pull", "--config", str(path)]


def run(command: Sequence[str], folder: Path, measure: Callable[[Popen[bytes]], float]) -> float:
    """Run to the end, measured. Raises ``UserError`` where it fails."""
    log = folder / ".asv" / "publishing.log"
    with (
        log.open("wb") as output,
        running(command, cwd=folder, stdout=output, stderr=output) as process,
    ):
        cost = measure(process)
    if process.returncode != 0:
        last = (log.read_text().strip().splitlines() or ["no message"])[-1]
        raise UserError(f"{' '.join(command[:4])} failed ({last}): run it by itself to see more")
    return cost


def seconds(process: Popen[bytes]) -> float:
    """Until it ends; its start takes a thousandth of that."""
    begin_s = time.perf_counter()
    process.wait()
    return time.perf_counter() - begin_s


def peak_bytes(process: Popen[bytes]) -> float:
    """The most that all its processes had, looked at until it ends."""
    most = 0
    while process.poll() is None:
        most = max(most, sum(map(pss_bytes, tree(process.pid))))
        time.sleep(SAMPLE_S)
    return most


def tree(pid: int) -> Iterator[int]:
    """A process and all that come from it, but for those that have ended meanwhile."""
    yield pid
    try:
        lists = [path.read_text() for path in PROC.glob(f"{pid}/task/*/children")]
    except OSError:
        return
    for child in " ".join(lists).split():
        yield from tree(int(child))


def pss_bytes(pid: int) -> int:
    """Memory of a process, its share of what others have too; 0 if it has ended."""
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def table(comparisons: Sequence[Comparison]) -> Table:
    """A row a size and quantity."""
    rows = []
    for found in comparisons:
        name = f"{found.n_commits} commits"
        megabytes = [Round(r.asv / 1e6, r.ours / 1e6) for r in found.peak_bytes]
        rows.append((name, "time", *_figures(found.elapsed_s, "s")))
        rows.append((name, "peak memory", *_figures(megabytes, "MB")))
    return Table(
        title="Publishing synthetic histories over the full parameter grid",
        columns=("history", "cost", "asv publish", "ours", "ratio", "min..max", "limit", ""),
        rows=tuple(rows),
        notes=(
            f"Medians of {TIMED_ROUNDS} rounds for time, {WATCHED_ROUNDS} for memory; in each both "
            "ran one after the other.",
        ),
    )


def _figures(rounds: Sequence[Round], unit: str) -> list[str]:
    ratios = [r.ours / r.asv for r in rounds]
    return [
        *(f"{statistics.median(column):.1f} {unit}" for column in zip(*rounds, strict=True)),
        f"{ratio(rounds):.2f}x",
        f"{min(ratios):.2f}..{max(ratios):.2f}",
        f"{MAX_RATIO}x",
        "kept" if ratio(rounds) <= MAX_RATIO else "MISSED",
    ]


@click.command()
@click.option(
    "--commits", "sizes", multiple=True, type=click.IntRange(2), default=(250, 500, 1000),
    show_default=True, help="Length of the history; repeatable.",
)  # fmt: skip
def main(sizes: tuple[int, ...]) -> int:
    """Compare publishing with asv's own, in time and memory. Exit code 1 when a limit is missed."""
    if not (PROC / "self" / "smaps_rollup").exists():
        raise UserError("memory is read from /proc/PID/smaps_rollup, and there is none: use Linux")
    console = Console(highlight=False)
    root = find_project(Path.cwd()).root
    found = []
    for n_commits in sizes:
        console.print(f"{n_commits} commits", markup=False)
        found.append(compare(root, n_commits))
        shown = table(found)  # of all so far: the larger sizes take long
        console.print(to_rich(shown, width=console.width, encoding=console.encoding))
    console.print(*shown.notes, markup=False)
    return 0 if all(comparison.kept for comparison in found) else 1


if __name__ == "__main__":
    run_to_exit(main)
