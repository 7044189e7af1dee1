"""Confirm what a history says by measuring: which commit made a series cost more, or less."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from math import inf
from pathlib import Path
from typing import Literal

from rich.console import Console

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.commits.bisect import Bisection, bisect
from hbitmap_bench.commits.gate import LOCAL
from hbitmap_bench.commits.gate.environments import Workshop
from hbitmap_bench.commits.gate.judge import judge
from hbitmap_bench.commits.gate.measure import Request, measure
from hbitmap_bench.commits.gate.runs import load_run
from hbitmap_bench.commits.gate.sides import resolve
from hbitmap_bench.commits.gate.suites import Cell
from hbitmap_bench.commits.gate.thresholds import LEAST_BAND
from hbitmap_bench.commits.machine import machine_fields
from hbitmap_bench.commits.project import find_project
from hbitmap_bench.commits.trend import Found, Trend

Sought = Literal["regressions", "improvements"]
"""Which steps of a history: regressions that stand, or improvements."""


@dataclass(frozen=True)
class Confirmed:
    """A range of a history, the cell that was measured for it, and what came of it."""

    found: Found
    bisection: Bisection


def confirm(
    folder: Path, trends: list[Trend], console: Console, sought: Sought = "regressions"
) -> list[Confirmed]:
    """Bisect every range that steps share, by the series that changed the most.

    Commits are measured against the last good one by the gate, with the suites of HEAD. Some
    minutes a range. Raises ``UserError`` where a commit can't be judged.
    """
    workshop = Workshop(find_project(folder))
    done = []
    for found in _clearest_of_each_range(trends, sought):
        cell = Cell(found.benchmark.name, found.params)
        console.print(f"Measuring {cell.name}", markup=False, style="dim")
        ask = partial(has_changed, workshop, console, found)
        answer = bisect(found.last_good.hash, found.between, found.first_bad.hash, ask)
        done.append(Confirmed(found, answer))
    return done


def has_changed(workshop: Workshop, console: Console, found: Found, commit: str) -> bool:
    """Whether the gate sees the step of one series between the commit before it and another."""
    if commit == found.last_good.hash:
        return False  # against itself there is nothing to measure
    project = workshop.project
    (_, head) = resolve(project, "HEAD", "HEAD", allow_dirty=False)
    request = Request(
        *resolve(project, found.last_good.hash, commit, allow_dirty=False),
        profile="full",
        bench=Cell(found.benchmark.name, found.params).regex,
        machine=machine_fields(LOCAL, project.results_dir),
        band=LEAST_BAND.value,
        band_source="the least: the history has shown a step",
        suites_of=head,
    )
    judgement = judge(load_run(measure(workshop, request, console)))
    console.print(f"{commit[:10]}: {judgement.outcome}", style="dim")
    if judgement.outcome == "NOT_JUDGED":
        raise UserError(
            f"commit {commit[:10]} can't be judged against {found.last_good.hash[:10]}: "
            f"{judgement.reasons[0]}"
        )
    # also where a commit between allows it
    return judgement.counts["IMPROVED" if found.state == "improved" else "REGRESSED"] > 0


def tell(done: list[Confirmed], console: Console, sought: Sought = "regressions") -> None:
    """Print what was found, a line a range."""
    for one in done:
        cell = Cell(one.found.benchmark.name, one.found.params).name
        console.print(f"{cell}: {_said(one)}", markup=False, soft_wrap=True)
    if not done:
        none = "No regression stands" if sought == "regressions" else "Nothing has improved"
        console.print(f"{none}: there is nothing to bisect")


def _said(one: Confirmed) -> str:
    bisection = one.bisection
    n_asked = len(bisection.asked) - 1  # the last good one was not measured against itself
    first, last, changed = ("bad", "good", "slower")
    if one.found.state == "improved":
        first, last, changed = ("better", "worse", "faster")
    if bisection.outcome == "confirmed":
        return (
            f"confirmed, {bisection.first_bad[:10]} is the first {first} commit, "
            f"{bisection.last_good[:10]} the last {last} one (measured: {n_asked})"
        )
    return (
        f"not confirmed: {bisection.first_bad[:10]} was measured again, and is not {changed} than "
        f"{bisection.last_good[:10]}"
    )


def _clearest_of_each_range(trends: list[Trend], sought: Sought) -> Iterator[Found]:
    state = "stands" if sought == "regressions" else "improved"
    ranges: dict[tuple[str, str], list[Found]] = {}
    for found in (found for trend in trends for found in trend.found if found.state == state):
        ranges.setdefault((found.last_good.hash, found.first_bad.hash), []).append(found)
    for group in ranges.values():
        yield max(group, key=lambda one: (one.evidence == "exact", max(one.ratio, _inverse(one))))


def _inverse(found: Found) -> float:
    return 1 / found.ratio if found.ratio else inf
