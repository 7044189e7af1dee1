"""Do the suites see what they exist for? Injected slowdowns, measured in a scratch clone.

Run it where npm is, for the pages (half an hour on two idle cores)::

    tox -e regressions
    tox -e regressions -- --injection constant-20 --out /tmp/seen

For each injection the clone has two commits without it, the one that brings it, and one that
changes nothing more, so that a step is confirmed by the rule of every history
(``hbitmap_bench.commits.changes``). All are measured by ``hbitmap-bench bench``, in some cells of
the suites only (``CELLS``) and in more rounds than a profile takes, interleaved among all commits:
what disturbs the machine for minutes then disturbs all of them. The exit code is 1 when an
injection was caught by no benchmark that it makes dearer. What else changed, and so should not have
been seen, is listed. Figures, pages and all caught cells as JSON are kept in the folder of
``--out``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
import numpy as np
from rich.console import Console

from hbitmap_bench.base import scratch
from hbitmap_bench.base.consoles import table_console
from hbitmap_bench.base.drawing import Table, to_rich
from hbitmap_bench.base.output import check_folder, write_atomic
from hbitmap_bench.base.program import run_to_exit
from hbitmap_bench.base.wording import before_after, times
from hbitmap_bench.checks.injections import (
    INJECTIONS,
    Injection,
    apply,
    commit,
    lend_parts,
    scratch_clone,
)
from hbitmap_bench.checks.over_commits import cell_picture
from hbitmap_bench.commits.bench import bench
from hbitmap_bench.commits.changes import Change, changes
from hbitmap_bench.commits.derived import Exponents, exponents
from hbitmap_bench.commits.front_text import EVIDENCE, cell_words
from hbitmap_bench.commits.pages.site import publish
from hbitmap_bench.commits.project import find_project, git
from hbitmap_bench.commits.project_file import Parameters
from hbitmap_bench.commits.series import Benchmark, History, Params
from hbitmap_bench.commits.store import load_histories

CELLS: Final = (
    # Three sizes, for the exponent; the shortest calls and the longest.
    r"^buildup\..*\('\w+', (1|4|16), 64\)",
    r"^access_check\.AccessCheck\.time_checks\('\w+', 1, 1024, '(start|end)', 'none'\)",
    r"^access_check\.AccessCheck\.track_words_a_check\('\w+', 1, 1024, ",
    # What no injection of an access check should change.
    r"^bitmap_ops\.BitmapOps\.time_(status|merge)\('\w+', 4, 64, 1\)",
)
ROUNDS: Final = 6
REPEAT: Final = "(4,40,0.2)"
"""Of each cell in a round, as in ``benchmarks.common.Suite``: 200 samples of the short ones."""

MEANT: Final = Parameters(suffixes={"image_tib": "T", "cluster_kib": "K", "copy_cluster_kib": "K"})
SECONDS: Final = "buildup.BuildUp.time_queries"
MACHINE: Final = "scratch"
NEUTRAL: Final = "hbitmap_impl/__init__.py"
"""Gets a comment where a commit is to be measured and to change nothing."""


@dataclass(frozen=True, slots=True)
class Step:
    """A commit of the clone. ``touches`` is the injection that it brings or takes out, if any."""

    hash: str
    label: str
    touches: Injection | None = None
    brings: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """What the history says of one injection.

    ``caught`` are confirmed rises at its commit, of cells that it makes dearer; ``exposed`` is how
    many such cells there are, measured on both sides, by benchmark.
    """

    injection: Injection
    place: int
    caught: tuple[Change, ...]
    exposed: dict[str, int]


# ---------------------------------------------------------------- the commits


def make_commits(clone: Path, names: Sequence[str]) -> list[Step]:
    """Commit each injection behind two commits that do not have it, and one like it behind it.

    Whatever was injected last is not taken out: nothing is measured after it.
    """
    steps: list[Step] = []
    for before, name in zip([None, *names], names, strict=False):
        steps.append(_taken_out(clone, INJECTIONS[before]) if before else _nothing(clone))
        steps.append(_nothing(clone))
        steps.append(Step(apply(clone, name), name, INJECTIONS[name], brings=True))
        steps.append(_nothing(clone))
    return steps


def _nothing(clone: Path) -> Step:
    """Commit a comment: what is compiled is the same."""
    text = (clone / NEUTRAL).read_text(encoding="utf-8")
    made = commit(clone, "Change nothing that runs", {NEUTRAL: f"{text}# nothing\n"})
    return Step(made, "nothing")


def _taken_out(clone: Path, injection: Injection) -> Step:
    """Commit the files of the injection, which is the commit before the newest, as they were."""
    paths = [edit.path for edit in injection.edits]
    git(clone, "checkout", "HEAD~2", "--", *paths)
    texts = {path: (clone / path).read_text(encoding="utf-8") for path in paths}
    made = commit(clone, f"Take {injection.name} out", texts)
    return Step(made, f"{injection.name} out", injection)


def asv_arguments() -> list[str]:
    """Which cells are measured, and how often."""
    cells = [word for cell in CELLS for word in ("--bench", cell)]
    return [*cells, "-a", f"rounds={ROUNDS}", "-a", f"repeat={REPEAT}"]


# ---------------------------------------------------------------- what was seen


def is_exposed(injection: Injection, benchmark: Benchmark, params: Params) -> bool:
    """Whether a cell does what the injection makes dearer, a great deal or hardly."""
    return any(
        benchmark.name.startswith(begin) and params[0] in implementations
        for begin, implementations in injection.dearer.items()
    )


def find(history: History, steps: Sequence[Step]) -> Iterator[Finding]:
    """A finding for each injection whose commit was measured."""
    brought = {step.hash: step.touches for step in steps if step.brings}
    found = confirmed(history)
    for row, measured in enumerate(history.commits):
        injection = brought.get(measured.hash)
        if injection is not None:
            caught = [
                change
                for change in found
                if change.commit == measured
                and change.word == "REGRESSED"
                and is_exposed(injection, change.benchmark, change.params)
            ]
            yield Finding(injection, row, tuple(caught), _exposed(history, injection, row))


def confirmed(history: History) -> list[Change]:
    """Changes that count: counters, and steps that stayed."""
    return [change for change in changes(history) if change.evidence != "single"]


def _exposed(history: History, injection: Injection, row: int) -> dict[str, int]:
    """Cells by benchmark that could see an injection, measured at its commit and the one before."""
    counts = {}
    for name, benchmark in history.benchmarks.items():
        both = np.isfinite(history.measured[name].value[max(row - 1, 0) : row + 1]).all(axis=0)
        cells = np.array([is_exposed(injection, benchmark, params) for params in benchmark.cells])
        if (both & cells).any():
            counts[name] = int((both & cells).sum())
    return counts


def uncalled_for(history: History, steps: Sequence[Step]) -> list[Change]:
    """Confirmed changes of cells that the commit in question has not touched, or the wrong way."""
    by_hash = {step.hash: step for step in steps}

    def explained(change: Change) -> bool:
        step = by_hash[change.commit.hash]
        if step.touches is None or change.word != ("REGRESSED" if step.brings else "IMPROVED"):
            return False
        return is_exposed(step.touches, change.benchmark, change.params)

    return [change for change in confirmed(history) if not explained(change)]


# ---------------------------------------------------------------- tables, figures


def caught_table(findings: Sequence[Finding]) -> Table:
    """A row for each benchmark that an injection makes dearer, the clearest of its cells."""
    rows = []
    for finding in findings:
        for benchmark, cells in sorted(finding.exposed.items()):
            caught = [change for change in finding.caught if change.benchmark.name == benchmark]
            row = (finding.injection.name, benchmark, f"{len(caught)} of {cells}")
            rows.append(row + (_change_words(_clearest(caught)) if caught else ("not seen",) * 5))
    return Table(
        title="What caught each injection: of every benchmark the cell that changed most",
        columns=(
            "injection", "benchmark", "cells", "parameters", "evidence", "before", "after", "ratio",
        ),
        rows=tuple(rows),
        notes=(
            "Cells measured: " + ", ".join(CELLS),
            f"{ROUNDS} interleaved rounds, repeat={REPEAT}. Shown are benchmarks that do what the "
            "injection makes dearer, some of them hardly. A step is told from noise by the rule of "
            "every history: two commits on either side, apart by 10% and by their intervals.",
        ),
        n_labels=5,
    )  # fmt: skip


def _clearest(caught: Sequence[Change]) -> Change:
    return max(caught, key=lambda change: change.ratio)


def _change_words(change: Change) -> tuple[str, ...]:
    return (
        cell_words(change.benchmark, change.params, MEANT),
        EVIDENCE[change.evidence],
        *before_after(change.before, change.after, change.benchmark.unit),
        times(change.ratio),
    )


def uncalled_table(found: Sequence[Change], steps: Sequence[Step]) -> Table:
    """Changes that no injection explains."""
    labels = {step.hash: step.label for step in steps}
    return Table(
        title="What changed and should not have: confirmed changes of cells not touched",
        columns=(
            "commit", "verdict", "benchmark", "parameters", "evidence", "before", "after", "ratio",
        ),
        rows=tuple(
            (labels[c.commit.hash], c.word, c.benchmark.name, *_change_words(c)) for c in found
        ),
        n_labels=5,
        grouped=False,
    )  # fmt: skip


def exponent_table(lines: Sequence[Exponents], findings: Sequence[Finding]) -> Table:
    """Growth exponents just before and with each injection, of the implementations it touches."""
    rows = []
    for finding in findings:
        dearer = finding.injection.dearer.get(SECONDS, frozenset())
        for line in lines:
            if line.series in dearer:
                before, after = line.value[finding.place - 1 : finding.place + 1].tolist()
                name = f"{line.series} {line.quantity}"
                row = (f"{before:.3f}", f"{after:.3f}", f"{line.limit:g}")
                rows.append((finding.injection.name, name, *row))
    return Table(
        title="Growth exponent of the build-up over image size",
        columns=("injection", "line", "before", "after", "limit"),
        rows=tuple(rows),
    )


def picture(history: History, steps: Sequence[Step], finding: Finding) -> bytes:
    """The clearest timed cell that caught it, the clearest counter below it."""
    kinds = [
        [c for c in finding.caught if c.benchmark.is_exact is exact] for exact in (False, True)
    ]
    clearest = [_clearest(caught) for caught in kinds if caught]
    labels = {step.hash: step.label for step in steps}
    return cell_picture(
        history,
        [(change.benchmark, change.params) for change in clearest],
        [labels[commit.hash] for commit in history.commits],
        range(finding.place, finding.place + 2),
        f"{finding.injection.name}: {finding.injection.what}",
    )


def as_json(findings: Sequence[Finding], uncalled: Sequence[Change]) -> bytes:
    """All cells, not only the clearest."""

    def cell(change: Change) -> dict[str, object]:
        return {
            "commit": change.commit.subject,
            "benchmark": change.benchmark.name,
            "params": dict(zip(change.benchmark.param_names, change.params, strict=True)),
            "evidence": change.evidence,
            "unit": change.benchmark.unit,
            "before": change.before,
            "after": change.after,
        }

    found = {
        "cells": CELLS,
        "rounds": ROUNDS,
        "repeat": REPEAT,
        "injections": [
            {
                "name": finding.injection.name,
                "what": finding.injection.what,
                "exposed_cells": finding.exposed,
                "caught": [cell(change) for change in finding.caught],
            }
            for finding in findings
        ],
        "uncalled_for": [cell(change) for change in uncalled],
    }
    return (json.dumps(found, indent=1) + "\n").encode()


# ---------------------------------------------------------------- the whole


def check(repo: Path, names: Sequence[str], out_dir: Path, console: Console) -> int:
    """Measure, print, and write; 1 if an injection was caught by nothing."""
    root = find_project(repo).root
    out_dir.mkdir(parents=True, exist_ok=True)
    with scratch.folder() as folder:
        clone = scratch_clone(root, folder / "clone")
        lend_parts(root, clone)
        # What this repository has measured before is of another machine, or of other days.
        shutil.rmtree(clone / "results")
        steps = make_commits(clone, names)
        commits = [f"{steps[0].hash}^..{steps[-1].hash}"]
        bench(clone, profile="full", machine=MACHINE, commits=commits, more=asv_arguments())
        history = load_histories(clone / "results", clone)[0]
        publish(find_project(clone), clone / "results", out_dir / "pages", console)
    return _report(history, steps, out_dir, console)


def _report(history: History, steps: Sequence[Step], out_dir: Path, console: Console) -> int:
    findings = list(find(history, steps))
    uncalled = uncalled_for(history, steps)
    tables = (
        caught_table(findings),
        exponent_table(exponents(history), findings),
        uncalled_table(uncalled, steps),
    )
    for table in tables:
        console.print(to_rich(table, width=console.width, encoding=console.encoding))
        for note in table.notes if table.rows else ("None.",):
            console.print(note, markup=False)
    for finding in findings:
        path = out_dir / f"{finding.injection.name}.png"
        path.unlink(missing_ok=True)  # of an earlier run
        if finding.caught:
            write_atomic(path, picture(history, steps, finding))
            console.print(f"Figure: {path}", markup=False)
    write_atomic(out_dir / "regressions.json", as_json(findings, uncalled))
    console.print(f"Pages: {out_dir / 'pages' / 'index.html'}", markup=False)
    caught = {finding.injection.name for finding in findings if finding.caught}
    missed = [step.label for step in steps if step.brings and step.label not in caught]
    for name in missed:
        console.print(f"MISSED: {name} was caught by no benchmark that it makes dearer")
    return 1 if missed else 0


@click.command()
@click.option(
    "--injection", "names", multiple=True, type=click.Choice(list(INJECTIONS)),
    default=("old-bug", "rescan", "constant-20"), show_default=True,
    help="What is injected; repeatable.",
)  # fmt: skip
@click.option(
    "--out", "out_dir", type=click.Path(file_okay=False, path_type=Path),
    default="reports/regressions", show_default=True, help="Folder of figures, pages and JSON.",
)  # fmt: skip
def main(names: tuple[str, ...], out_dir: Path) -> int:
    """Inject slowdowns into a scratch clone of this repository, and show which benchmarks see them.

    What is not committed stays out of the clone. Exit code: 0 if each was caught, 1 if not.
    """
    check_folder(out_dir)
    console = table_console()
    return check(Path.cwd(), names, out_dir.resolve(), console)


if __name__ == "__main__":
    run_to_exit(main)
