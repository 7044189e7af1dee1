"""What a history says of every series at its newest commit, and which commit brought what stands.

A regression *stands* while the cost at the newest commit is above that before it, by what counts.
The first bad commit is the first measured one of the new level, the last good one that measured
before it; where commits between them changed what is measured and were not measured themselves, the
real first bad one is among them (``bisect`` finds it).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from rich.console import Console
from rich.progress import Progress

from hbitmap_bench.commits.bisect import commits_between
from hbitmap_bench.commits.changes import LEAST_RATIO, Evidence, Line, series_of
from hbitmap_bench.commits.gate.thresholds import BLIND
from hbitmap_bench.commits.project_file import ProjectFile
from hbitmap_bench.commits.series import Benchmark, Commit, History, Params
from hbitmap_bench.commits.steps import (
    Step,
    is_suspect,
    level_now,
    rises_steadily,
    stands,
    steps_of,
    undone_by,
)
from hbitmap_bench.commits.store import load_histories

STANDS, CLEAR, CANNOT_JUDGE = 1, 0, 2
"""Exit codes: a regression stands; none does; some series can't be judged, and none stands."""

Advance = Callable[[int, int], object]
"""Told how many series of how many are done."""

State = Literal["stands", "undone", "improved"]


@dataclass(frozen=True)
class Found:
    """A confirmed step of a series, for better or worse.

    ``between`` are commits after ``last_good`` and before ``first_bad`` that changed what is
    measured and were not measured in this series, oldest first. ``undone`` is the commit after
    which a regression does not stand, None too where it went without a step.
    """

    benchmark: Benchmark
    params: Params
    first_bad: Commit
    last_good: Commit
    between: tuple[str, ...]
    before: float
    after: float
    now: float
    evidence: Evidence
    state: State
    undone: Commit | None

    @property
    def ratio(self) -> float:
        """After over before; infinite where there was no cost before."""
        return self.after / self.before if self.before else math.inf


@dataclass(frozen=True)
class Doubt:
    """A series that can't be judged: it is above at the newest commit alone, or creeps."""

    benchmark: Benchmark
    params: Params
    kind: Literal["newest alone", "creeps"]
    since: Commit
    before: float
    after: float


@dataclass(frozen=True)
class Trend:
    """All steps of a history, newest first, and what keeps it from being judged."""

    history: History
    found: tuple[Found, ...]
    doubts: tuple[Doubt, ...]
    n_series: int

    @property
    def standing(self) -> tuple[Found, ...]:
        """Regressions that are still there at the newest commit."""
        return tuple(found for found in self.found if found.state == "stands")

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the history can't be judged as a whole, a sentence each; empty if it can."""
        return tuple(_reasons(self))

    @property
    def exit_code(self) -> int:
        """1 where a regression stands, else 2 where there is a reason, else 0."""
        if self.standing:
            return STANDS
        return CANNOT_JUDGE if self.reasons else CLEAR


def trends(results_dir: Path, repo: Path, declared: ProjectFile | None = None) -> list[Trend]:
    """The trend of every history in a folder, that with the newest commit first.

    With a progress bar on a terminal's stderr. Raises ``UserError`` where there is no history, and
    where git can't list commits.
    """
    histories = load_histories(results_dir, repo, declared)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("series", total=None)
        return [
            trend(history, repo, lambda done, of: bar.update(task, completed=done, total=of))
            for history in histories
        ]


def trend(history: History, repo: Path, advance: Advance = lambda _done, _of: None) -> Trend:
    """Look at every series of a history.

    Costs some 10 ms a noisy series at 200 commits. Raises ``UserError`` where git can't list
    commits.
    """
    cells = [
        (benchmark, cell)
        for name, benchmark in history.benchmarks.items()
        for cell in np.flatnonzero(np.isfinite(history.measured[name].value).any(axis=0)).tolist()
    ]
    paths = history.declared.measured.paths
    between = lru_cache(maxsize=None)(lambda good, bad: commits_between(repo, good, bad, paths))
    found: list[Found] = []
    doubts: list[Doubt] = []
    for done, (benchmark, cell) in enumerate(cells, 1):
        for line in series_of(history, benchmark, cell).parts():
            steps = steps_of(line, benchmark)
            found += _found(history, benchmark, benchmark.cells[cell], line, steps, between)
        doubts += _doubts(history, benchmark, benchmark.cells[cell], line, steps)
        advance(done, len(cells))
    place = {commit: i for i, commit in enumerate(history.commits)}
    found.sort(key=lambda one: (-place[one.first_bad], -abs(_log(one.ratio))))
    return Trend(history, tuple(found), tuple(doubts), len(cells))


def worst(codes: Sequence[int]) -> int:
    """The exit code of several histories: 1 before 2 before 0."""
    return next((code for code in (STANDS, CANNOT_JUDGE) if code in codes), CLEAR)


def _found(
    history: History,
    benchmark: Benchmark,
    params: Params,
    line: Line,
    steps: Sequence[Step],
    between: Callable[[str, str], tuple[str, ...]],
) -> Iterator[Found]:
    """The confirmed steps of a series."""
    floor = line.floor
    now = level_now(line.value, steps)
    commits = [history.commits[i] for i in line.commits]
    for i, step in enumerate(steps):
        if not step.is_confirmed:
            continue
        state: State = "improved"
        undone = None
        if step.rises:
            state = "stands" if stands(step, now, floor) else "undone"
            undone = undone_by(step, steps[i + 1 :], floor) if state == "undone" else None
        bad, good = commits[step.place], commits[step.place - 1]
        yield Found(
            benchmark=benchmark,
            params=params,
            first_bad=bad,
            last_good=good,
            between=between(good.hash, bad.hash),
            before=step.before,
            after=step.after,
            now=now,
            evidence=step.evidence,
            state=state,
            undone=commits[undone.place] if undone else None,
        )


def _doubts(
    history: History, benchmark: Benchmark, params: Params, line: Line, steps: Sequence[Step]
) -> Iterator[Doubt]:
    """What can't be judged of a series. A regression that stands is no doubt."""
    if benchmark.is_exact:
        return
    floor = line.floor
    now = level_now(line.value, steps)
    commits = [history.commits[i] for i in line.commits]
    for step in steps:
        if is_suspect(step, line):
            newest = commits[step.place]
            yield Doubt(benchmark, params, "newest alone", newest, step.before, step.after)
    standing = any(s.is_confirmed and s.rises and stands(s, now, floor) for s in steps)
    if not standing and rises_steadily(line, steps):
        lowest = int(line.value.argmin())
        before, after = float(line.value[lowest]), float(line.value[-1])
        yield Doubt(benchmark, params, "creeps", commits[lowest], before, after)


def _reasons(found: Trend) -> Iterator[str]:
    history = found.history
    if len(history.commits) < 2:
        yield "One commit is measured: there is nothing to compare it with."
    if not found.n_series:
        yield "No series has a single measurement."
    if lost := history.lost():
        names = ", ".join(dict.fromkeys(benchmark.name for benchmark, _ in lost))
        yield (
            f"{len(lost)} series are not measured at the newest commit, and are at the one before: "
            f"{names}."
        )
    newest = history.seams[-1].place if history.seams else 0
    if hidden := history.hidden(newest, BLIND.value):
        yield (
            f"{len(hidden)} series may have risen by {BLIND.value:.0%} unseen at the newest seam: "
            "no anchor links the sessions, or one was disturbed. Measure another commit on a "
            "quiet machine."
        )
    if history.refused:
        yield f"{len(history.refused)} stored results are refused: {'; '.join(history.refused)}."
    alone = sum(doubt.kind == "newest alone" for doubt in found.doubts)
    if alone:
        yield (
            f"{alone} series lie above their level at their newest commit alone: another commit "
            "measured, or hbitmap-bench gate, tells a regression from noise."
        )
    if creeping := len(found.doubts) - alone:
        yield (
            f"{creeping} series creep up by {LEAST_RATIO - 1:.0%} and more without a step: many "
            "small changes of the code, or the machine."
        )


def _log(ratio: float) -> float:
    return math.log(ratio) if 0 < ratio < math.inf else math.inf
