"""How often does the gate alarm falsely, and what does it catch? On this machine, beside asv.

Run it on a machine that is as quiet as it will be in use (two minutes a line of the plan)::

    tox -e gate-rates
    tox -e gate-rates -- --cycles 2 --rates other.jsonl
    tox -e gate-rates -- --cycles 20 --spinners 3 --rates reports/gate-rates-loaded.jsonl

A cycle of the plan is a commit against itself, four times, and each injected slowdown once; ten
cycles make 40 and 10 runs. Every run is the gate's own, on six cells that a minute is enough for,
and ``asv continuous`` follows on the same two commits. What was found is appended to
``reports/gate-rates.jsonl`` run by run: stopped at any time, it goes on there, on this day or
another, and the table is of all there is. Shares have exact binomial 95% intervals.

With spinners, which use a processor in bursts beside the gate, a cycle is a commit against itself,
+20% and +50%, once each, without asv: is a verdict false, and does a pass hide +50%?
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table
from scipy.stats import binomtest

from hbitmap_bench.base import scratch
from hbitmap_bench.base.children import running
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.output import check_output, write_atomic
from hbitmap_bench.base.program import run_to_exit
from hbitmap_bench.checks.injections import CHECKS, apply, commit, scratch_clone
from hbitmap_bench.commits.bench import prepare
from hbitmap_bench.commits.gate.environments import Workshop
from hbitmap_bench.commits.gate.judge import judge
from hbitmap_bench.commits.gate.measure import Request, measure
from hbitmap_bench.commits.gate.runs import load_run
from hbitmap_bench.commits.gate.sides import resolve
from hbitmap_bench.commits.gate.thresholds import DEFAULT_BAND
from hbitmap_bench.commits.gate.verdict import Judgement
from hbitmap_bench.commits.machine import machine_fields
from hbitmap_bench.commits.project import Project, find_project, git

SELF: Final = "itself"
SELF_A_CYCLE: Final = 4
INJECTED: Final = ("constant-5", "constant-10", "constant-20", "word", "old-bug")
LOADED: Final = (SELF, "constant-20", "constant-50")
"""A cycle beside spinners."""

SPINNER: Final = """
import random, time
while True:
    end = time.perf_counter() + random.expovariate(1)
    while time.perf_counter() < end:
        pass
    time.sleep(random.expovariate(1))
"""
"""Busy for a second, idle for a second, on average."""

BUDGET_S: Final = 60.0
"""For more rounds: these cells are a seventh of the quick profile's, which has five minutes."""

CELLS: Final = (
    r"^(buildup\.BuildUp\.(time|track)_queries\('access', (4|16), 64\)"
    r"|buildup\.BuildUp\.(time|track)_queries\('deny', 16, 64\)"
    r"|buildup\.Words\.track_words_examined\('(access|deny)', 16, 64\)"
    r"|access_check\.AccessCheck\.time_checks\('(access|deny)', 1, 1024, 'start', 'none'\)"
    r"|bitmap_ops\.BitmapOps\.time_merge\('deny', 4, 64, 1\))$"
)
"""Six noisy cells, which scan, skip and copy; and their counters."""

ASV_FACTOR: Final = "1.1"
ASV_SAMPLING: Final = ("-a", "repeat=(4,10,0.2)", "-a", "rounds=2", "--interleave-rounds")
"""asv at its best: its default factor, ten samples a side, interleaved."""

ASV_ROW: Final = re.compile(r"^\|\s*([+-])\s*\|")
MACHINE: Final = "rates"

TABLE_COLUMNS: Final = 140


@dataclass(frozen=True)
class Outcome:
    """One line of the plan, as it went. ``regressed`` are (cell, evidence) of the gate's verdicts.

    ``commit`` is the one that all heads are on top of, and that the gate itself is of. ``day`` is
    when it began, in UTC, and ``load`` how many processes ran or waited as it ended. ``asv_code``
    is the exit code of ``asv continuous``, ``asv_worse`` how many rows it marked; both are None
    beside ``spinners``. ``improved`` is how many cells are IMPROVED.
    """

    what: str
    commit: str
    day: str
    gate: str
    regressed: tuple[tuple[str, str], ...]
    inconclusive: int
    gate_s: float
    asv_code: int | None
    asv_worse: int | None
    asv_s: float
    load: float
    improved: int = 0
    spinners: int = 0

    @property
    def asv_failed(self) -> bool:
        """Whether asv said neither that something is worse, nor that nothing is."""
        return self.asv_code != 0 and not self.asv_worse


def plan(cycles: int, spinners: int = 0) -> Iterator[str]:
    """What is run, in order: each kind as often, wherever it is stopped."""
    for _ in range(cycles):
        yield from LOADED if spinners else (*(SELF,) * SELF_A_CYCLE, *INJECTED)


def remaining(wanted: Sequence[str], done: Sequence[Outcome]) -> list[str]:
    """What of the plan is not done yet."""
    left = [outcome.what for outcome in done]
    rest = []
    for what in wanted:
        if what in left:
            left.remove(what)
        else:
            rest.append(what)
    return rest


def load(path: Path) -> list[Outcome]:
    """What was done so far. Raises ``UserError`` where a line is damaged."""
    if not path.exists():
        return []
    try:
        return [_outcome(**json.loads(line)) for line in path.read_text("utf-8").splitlines()]
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} has a line an outcome, and can't be read: {error}") from None


def _outcome(regressed: Sequence[Sequence[str]], **rest: Any) -> Outcome:  # noqa: ANN401 - fields
    return Outcome(regressed=tuple((cell, evidence) for cell, evidence in regressed), **rest)


def refuse_others(done: Sequence[Outcome], commit: str, spinners: int = 0) -> None:
    """Raise ``UserError`` if any was found on another commit, or under another load."""
    for outcome in done:
        if (outcome.commit, outcome.spinners) != (commit, spinners):
            raise UserError(
                f"all runs must be of one commit and load, and some are of {outcome.commit} beside "
                f"{outcome.spinners} spinners, not of {commit} beside {spinners}: give a new file "
                "to --rates"
            )


def save(path: Path, done: Sequence[Outcome]) -> None:
    """Write what was done, a line each, in the place of what was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, "".join(json.dumps(asdict(one)) + "\n" for one in done).encode())


def prepare_clone(repo: Path, folder: Path) -> Path:
    """The scratch clone with a branch an injection, and one whose change is a comment."""
    clone = folder / "clone"
    if clone.exists():
        return clone
    with scratch.folder(folder) as unfinished:
        made = scratch_clone(repo, unfinished / "clone")
        for name in dict.fromkeys((*INJECTED, *LOADED)):
            if name == SELF:
                continue
            git(made, "checkout", "--quiet", "-B", name, "main")
            apply(made, name)
        git(made, "checkout", "--quiet", "-B", SELF, "main")
        text = (made / CHECKS).read_text(encoding="utf-8")
        commit(made, "Say nothing", {CHECKS: text + "# Nothing.\n"})
        git(made, "checkout", "--quiet", "main")
        made.rename(clone)
    return clone


def one(project: Project, what: str, console: Console, spinners: int = 0) -> Outcome:
    """The gate on a line of the plan; then asv, or spinners beside the gate."""
    day = datetime.now(UTC).date().isoformat()
    started = perf_counter()
    with spinning(spinners):
        judgement = by_gate(project, "main" if what == SELF else what, console)
    gate_s = perf_counter() - started
    started = perf_counter()
    asv: tuple[int | None, int | None] = (None, None) if spinners else by_asv(project, what)
    regressed = [(f.cell, f.evidence) for f in judgement.findings if f.word == "REGRESSED"]
    return Outcome(
        what=what,
        commit=commit_of(project),
        day=day,
        gate=judgement.outcome,
        regressed=tuple(regressed),
        inconclusive=judgement.counts["INCONCLUSIVE"],
        gate_s=round(gate_s, 1),
        asv_code=asv[0],
        asv_worse=asv[1],
        asv_s=round(perf_counter() - started, 1),
        load=round(os.getloadavg()[0], 2),
        improved=judgement.counts["IMPROVED"],
        spinners=spinners,
    )


@contextmanager
def spinning(n: int) -> Iterator[None]:
    """So many processes that use a processor in bursts, killed in the end."""
    with ExitStack() as stack:
        for _ in range(n):
            command = [sys.executable, "-P", "-c", SPINNER]
            nowhere = subprocess.DEVNULL
            stack.enter_context(running(command, stdout=nowhere, stderr=nowhere))
        yield


def commit_of(project: Project) -> str:
    """What the clone's heads are on top of."""
    return git(project.root, "rev-parse", "main")[:10]


def by_gate(project: Project, head: str, console: Console) -> Judgement:
    """The gate's judgement of a branch of the clone over main; main itself is measured too."""
    request = Request(
        *resolve(project, "main", head, allow_dirty=False),
        profile="quick",
        bench=CELLS,
        machine=machine_fields(MACHINE, project.results_dir),
        band=DEFAULT_BAND.value,
        band_source="default",
        budget_s=BUDGET_S,
        same_code_too=True,
    )
    return judge(load_run(measure(Workshop(project), request, console)))


def by_asv(project: Project, head: str) -> tuple[int, int]:
    """``asv continuous`` over the same cells: its exit code, and how many rows are worse.

    Of a commit against itself it can say nothing, so there it is given one that adds a comment.
    """
    with scratch.folder() as folder:
        fresh = replace(project, conf={**project.conf, "results_dir": "none"})
        prepare(fresh, folder, machine_fields(MACHINE, project.results_dir))
        command = [sys.executable, "-m", "asv", "continuous", "--machine", MACHINE]
        command += ["--config", str(folder / "asv.conf.json"), "--factor", ASV_FACTOR]
        command += [*ASV_SAMPLING, "--bench", CELLS, "main", head]
        ran = subprocess.run(
            command, cwd=project.root, env={**os.environ, "HOME": str(folder / "home")},
            capture_output=True, text=True,
        )  # fmt: skip
    rows = [match[1] for line in ran.stdout.splitlines() if (match := ASV_ROW.match(line))]
    return ran.returncode, rows.count("+")


def table(done: Sequence[Outcome]) -> Table:
    """Alarms and catches of both, with exact intervals."""
    shown = Table("head", "runs", "gate: regressed", "by", "gate: not judged", "gate: improved",
                  "asv: worse", "asv: failed", "gate, s", "asv, s")  # fmt: skip
    for what in dict.fromkeys(outcome.what for outcome in done):
        runs = [outcome for outcome in done if outcome.what == what]
        by_asv = [run for run in runs if run.asv_code is not None]
        kinds = sorted({evidence for run in runs for _, evidence in run.regressed})
        by = [
            f"{kind} {sum(any(k == kind for _, k in r.regressed) for r in runs)}" for kind in kinds
        ]
        shown.add_row(
            what,
            str(len(runs)),
            _share(runs, lambda run: run.gate == "REGRESSED"),
            ", ".join(by),
            _share(runs, lambda run: run.gate == "NOT_JUDGED"),
            _share(runs, lambda run: run.improved > 0),
            _share([run for run in by_asv if not run.asv_failed], lambda run: run.asv_worse != 0),
            str(sum(run.asv_failed for run in by_asv)),
            f"{sum(run.gate_s for run in runs) / len(runs):.0f}",
            f"{sum(run.asv_s for run in runs) / len(runs):.0f}",
        )
    return shown


def _share(runs: Sequence[Outcome], is_hit: Callable[[Outcome], bool]) -> str:
    if not runs:
        return "-"
    hits = sum(map(is_hit, runs))
    low, high = binomtest(hits, len(runs)).proportion_ci(0.95, "exact")
    return f"{hits} ({low:.0%}..{high:.0%})"


@click.command()
@click.option("--cycles", type=click.IntRange(1), default=10, show_default=True)
@click.option("--spinners", type=click.IntRange(0), default=0, show_default=True,
              help="Processes beside the gate that use a processor in bursts.")  # fmt: skip
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path(".asv/gate-rates"),
    show_default=True, help="Clone and environments.",
)  # fmt: skip
@click.option(
    "--rates", type=click.Path(dir_okay=False, path_type=Path),
    default=Path("reports/gate-rates.jsonl"), show_default=True, help="What was found so far.",
)  # fmt: skip
def main(cycles: int, spinners: int, out: Path, rates: Path) -> None:
    """Go on with the plan, and print the table."""
    check_output(rates)
    console = Console(soft_wrap=True, highlight=False)
    repo = find_project(Path.cwd()).root
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    project = find_project(prepare_clone(repo, out))
    done = load(rates)
    refuse_others(done, commit_of(project), spinners)
    left = remaining(list(plan(cycles, spinners)), done)
    for number, what in enumerate(left, 1):
        console.print(f"{number} of {len(left)}: {what}")
        outcome = one(project, what, Console(stderr=True), spinners)
        done.append(outcome)
        save(rates, done)
    if not done:
        raise UserError("there is nothing to show: let it run")
    Console(width=TABLE_COLUMNS).print(table(done))


if __name__ == "__main__":
    run_to_exit(main)
