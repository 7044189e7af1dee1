"""Which rule finds the steps of a history: the project's, asv's step detection, or Apache Otava's.

Run it (five to ten minutes)::

    tox -e step-rules

Seeded histories as asv would store them: each commit a median of samples with asv's own interval.
Noise is that of shared machines: a level of its own for every session, samples with heavy tails,
bursts that slow one or two commits, a slow drift, a creep of 1% a commit. Beside them the stored
history's own noise, with steps put into it. No rule is told what was put in. Counted are

- found: steps with a reported change of their direction within ``NEAR`` commits;
- right commit: found steps of which a change names the very commit;
- false: reported changes without such a step, in 100 series;
- wrong now, missed now: series in 100 of which the rule says that a regression stands at the newest
  commit and none does, or the other way round. This is what an exit code would be;
- unsure: series in 100 of which it says that it can't judge, instead: they creep, or lie above at
  the newest commit alone.

Every rule reports changes of 10% and more alone: what is less is drift to all of them. asv's gets
the weights that asv publishes with. Otava's has its defaults but for that least change.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

import click
import numpy as np
from asv_runner import statistics
from packaging.requirements import Requirement
from rich.console import Console
from rich.progress import track
from rich.table import Column, Table

from hbitmap_bench.commits.changes import (
    FLOORS,
    LEAST_RATIO,
    Floats,
    Line,
    are_far,
    moves,
    series_of,
)
from hbitmap_bench.commits.series import Benchmark
from hbitmap_bench.commits.steps import (
    NEAR,
    Step,
    is_suspect,
    level_now,
    level_steps,
    rises_steadily,
    stands,
    steps_of,
)
from hbitmap_bench.commits.store import load_histories

SAMPLES: Final = 12
"""Of a commit: asv's default settings give 8 to 20 in the suites here."""

OTAVA_WINDOW: Final = 50
OTAVA_P: Final = 0.001
"""Otava's defaults."""

WIDTH: Final = 100
"""Columns of the table, on a pipe too."""

LEAST_REAL_COMMITS: Final = 8
REAL_FACTORS: Final = (1.2, 1.5, 2.0)
FLOOR_S: Final = FLOORS["time"]
TIMED: Final = Benchmark("", "time", "seconds", "1", (), ())

Put = tuple[int, float]
"""A step that was put in: the first commit of the new level, and by which factor."""


@dataclass(frozen=True, slots=True)
class Noise:
    """Standard deviations of logs, the chance that a commit begins a burst, growth a commit."""

    session: float
    sample: float
    drift: float = 0.0
    bursts: float = 0.0
    creep: float = 0.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """A kind of history: its noise, how many steps a series has, and their factor."""

    name: str
    n_commits: int
    noise: Noise
    n_steps: int
    factor: float = 1.0


@dataclass(frozen=True, slots=True)
class Case:
    """A series and what was put into it; ``regressed`` is whether its end lies above a past level.

    The least change that counts decides, as for the rules.
    """

    line: Line
    steps: tuple[Put, ...]
    regressed: bool


@dataclass(slots=True)
class Score:
    """What a rule did in all series of a scenario."""

    series: int = 0
    steps: int = 0
    false: int = 0
    found: int = 0
    right: int = 0
    wrong_now: int = 0
    missed_now: int = 0
    unsure: int = 0
    seconds: float = 0.0

    def add(self, case: Case, reported: Sequence[Step], unsure: bool, seconds: float) -> None:
        """Count one series."""
        self.series += 1
        self.steps += len(case.steps)
        self.seconds += seconds
        self.false += sum(not any(_tells(r, put) for put in case.steps) for r in reported)
        for put in case.steps:
            near = [r.place for r in reported if _tells(r, put)]
            self.found += bool(near)
            self.right += put[0] in near
        now = level_now(case.line.value, reported)
        says = any(r.rises and stands(r, now, FLOOR_S) for r in reported)
        self.wrong_now += says and not case.regressed
        self.unsure += unsure and not says
        self.missed_now += case.regressed and not says and not unsure

    def row(self) -> tuple[str, ...]:
        """The figures as text; shares of nothing as a dash."""
        share = f"{self.found / self.steps:.0%}" if self.steps else "-"
        right = f"{self.right / self.found:.0%}" if self.found else "-"
        counts = (self.false, self.wrong_now, self.missed_now, self.unsure)
        in_100 = (f"{100 * count / self.series:.1f}" for count in counts)
        return share, right, *in_100, f"{1e3 * self.seconds / self.series:.1f}"


def _tells(reported: Step, put: Put) -> bool:
    return abs(reported.place - put[0]) <= NEAR and reported.rises == (put[1] > 1)


# ---------------------------------------------------------------- the rules

Rule = Callable[[Line], tuple[list[Step], bool]]
"""What a rule reports of a series, and whether it says that it can't judge it."""


def local_rule(line: Line) -> tuple[list[Step], bool]:
    """That of front page and pages: two commits apart from the two before."""
    found = moves(line)
    return [step for step in map(Step._make, found) if step.is_confirmed], False


def asv_rule(line: Line) -> tuple[list[Step], bool]:
    """asv's: a Potts model over the whole series, its penalty chosen by an information measure."""
    return level_steps(line), False


def trend_rule(line: Line) -> tuple[list[Step], bool]:
    """That of ``trend``: local, and asv's for what is not seen so; levels settled, creep told."""
    found = steps_of(line, TIMED)
    unsure = rises_steadily(line, found) or any(is_suspect(s, line) for s in found)
    return [step for step in found if step.is_confirmed], unsure


def otava_rule(line: Line) -> tuple[list[Step], bool]:
    """Otava's: E-divisive over windows, t-tests between the levels; it knows no intervals."""
    from otava.analysis import compute_change_points  # in its tox environment alone

    points, _ = compute_change_points(
        line.value.tolist(),
        window_len=OTAVA_WINDOW,
        max_pvalue=OTAVA_P,
        min_magnitude=LEAST_RATIO - 1,
    )
    found = (
        Step(point.index, float(point.stats.mean_1), float(point.stats.mean_2), "level")
        for point in points
    )
    return list(found), False


RULES: Final[dict[str, Rule]] = {
    "local": local_rule,
    "asv": asv_rule,
    "trend": trend_rule,
    "Otava": otava_rule,
}


# ---------------------------------------------------------------- the histories

QUIET: Final = Noise(session=0.01, sample=0.01)
USUAL: Final = Noise(session=0.03, sample=0.03)
ROUGH: Final = Noise(session=0.05, sample=0.08)
BURSTS: Final = Noise(session=0.05, sample=0.08, bursts=0.03)
DRIFTING: Final = Noise(session=0.02, sample=0.03, drift=0.005)
CREEPING: Final = Noise(session=0.03, sample=0.03, creep=0.01)

LENGTHS: Final = {11: 2, 40: 3, 200: 6}
"""Commits of a history, and how many the several steps are in it."""


def scenarios() -> Iterator[Scenario]:
    """All kinds of histories, short ones first."""
    for n_commits, several in LENGTHS.items():
        kinds = (
            ("nothing, quiet", QUIET, 0, 1.0),
            ("nothing, usual", USUAL, 0, 1.0),
            ("nothing, rough", ROUGH, 0, 1.0),
            ("nothing, bursts", BURSTS, 0, 1.0),
            ("nothing, drifting", DRIFTING, 0, 1.0),
            ("15%, quiet", QUIET, 1, 1.15),
            ("15%, usual", USUAL, 1, 1.15),
            ("30%, rough", ROUGH, 1, 1.3),
            ("50%, bursts", BURSTS, 1, 1.5),
            ("30%, drifting", DRIFTING, 1, 1.3),
            (f"{several} x 30%, quiet", QUIET, several, 1.3),
            (f"{several} x 30%, usual", USUAL, several, 1.3),
            (f"{several} x 50%, bursts", BURSTS, several, 1.5),
            ("1% a commit", CREEPING, 0, 1.0),
        )
        for name, noise, n_steps, factor in kinds:
            yield Scenario(f"{n_commits}: {name}", n_commits, noise, n_steps, factor)


def synthetic(scenario: Scenario, rng: np.random.Generator) -> Case:
    """One series of a scenario, its level 10 ms at first."""
    n, noise = scenario.n_commits, scenario.noise
    steps = _steps(scenario, rng)
    level = 0.01 * np.exp(noise.creep * np.arange(n))
    for place, factor in steps:
        level[place:] *= factor
    regressed = bool(are_far(level.min(), level[-1], FLOOR_S))
    level *= np.exp(noise.session * rng.standard_normal(n))
    level *= np.exp(np.cumsum(noise.drift * rng.standard_normal(n)))
    level *= _bursts(n, noise.bursts, rng)
    tails = np.abs(rng.standard_t(3, (n, SAMPLES)))  # noise only ever adds time
    return Case(_stored(level[:, None] * np.exp(noise.sample * tails)), steps, regressed)


def _steps(scenario: Scenario, rng: np.random.Generator) -> tuple[Put, ...]:
    """Up or down, two commits and more from the ends and three and more from each other."""
    while True:
        inner = np.arange(2, scenario.n_commits - 2)
        places = np.sort(rng.choice(inner, scenario.n_steps, replace=False))
        if (np.diff(places) > NEAR).all():
            ways = rng.choice([-1, 1], scenario.n_steps)
            return tuple(
                (int(p), scenario.factor ** int(w)) for p, w in zip(places, ways, strict=True)
            )


def _bursts(n_commits: int, share: float, rng: np.random.Generator) -> Floats:
    """A factor for each commit: a burst slows one, or three times in ten two, by 20 to 80%."""
    slowed = np.ones(n_commits)
    for place in np.flatnonzero(rng.random(n_commits) < share):
        slowed[place : place + rng.choice([1, 2], p=[0.7, 0.3])] *= rng.uniform(1.2, 1.8)
    return slowed


def _stored(samples: Floats) -> Line:
    """Median and its 99% interval of each row, by asv's own code."""
    ends = [statistics.quantile_ci(row.tolist(), 0.5, 0.01)[1] for row in samples]
    low, high = np.array(ends).T
    value = np.median(samples, axis=1)
    return Line(np.arange(len(samples)), value, low, high, FLOORS["time"])


def stored_lines(results: Path, repo: Path) -> list[Line]:
    """Timed series of the stored history that have ``LEAST_REAL_COMMITS`` and more."""
    lines = [
        series_of(history, benchmark, cell)
        for history in load_histories(results, repo)
        for benchmark in history.benchmarks.values()
        if benchmark.kind == "time"
        for cell in range(len(benchmark.cells))
    ]
    return [line for line in lines if len(line.value) >= LEAST_REAL_COMMITS]


def with_step(line: Line, factor: float, rng: np.random.Generator) -> Case:
    """A stored series with one step put in, up or down."""
    place = int(rng.integers(2, len(line.value) - 1))
    factor **= int(rng.choice([-1, 1]))
    scale = np.where(np.arange(len(line.value)) < place, 1.0, factor)
    value, low, high = (end * scale for end in (line.value, line.low, line.high))
    stepped = line._replace(value=value, low=low, high=high)
    return Case(stepped, ((place, factor),), factor > 1)


# ---------------------------------------------------------------- the table


def judged(cases: Iterable[Case]) -> dict[str, Score]:
    """A score for each rule, all on the same series."""
    scores = {name: Score() for name in RULES}
    for case in cases:
        for name, rule in RULES.items():
            begun = time.perf_counter()
            reported, unsure = rule(case.line)
            scores[name].add(case, reported, unsure, time.perf_counter() - begun)
    return scores


def add_rows(table: Table, name: str, scores: dict[str, Score]) -> None:
    """A row for each rule."""
    for rule, score in scores.items():
        table.add_row(name, rule, *score.row())
        name = ""
    table.add_section()


def requirements_of(name: str) -> set[str]:
    """The distributions that installing one brings, itself included, as installed here."""
    found: set[str] = set()
    open_names = [name]
    while open_names:
        current = open_names.pop().lower().replace("_", "-")
        if current not in found:
            found.add(current)
            wanted = map(Requirement, metadata.requires(current) or ())
            extra = {"extra": ""}
            open_names += [w.name for w in wanted if not w.marker or w.marker.evaluate(extra)]
    return found


@click.command()
@click.option("--series", "n_series", default=200, show_default=True, type=click.IntRange(1))
@click.option("--seed", default=1, show_default=True)
@click.option("--results", default="results", show_default=True, type=click.Path(path_type=Path))
@click.option("--repo", default=".", show_default=True, type=click.Path(path_type=Path))
def main(n_series: int, seed: int, results: Path, repo: Path) -> None:
    """Print what each rule finds and claims, on synthetic histories and on the stored one."""
    figures = ("found", "right\ncommit", "false", "wrong\nnow", "missed\nnow", "unsure", "ms")
    table = Table(Column("commits: steps, noise", no_wrap=True), "rule", *figures)
    for scenario in track(list(scenarios()), description="histories", console=Console(stderr=True)):
        rng = np.random.default_rng([seed, scenario.n_commits])
        add_rows(table, scenario.name, judged(synthetic(scenario, rng) for _ in range(n_series)))
    lines = stored_lines(results, repo)
    add_rows(table, "stored, as it is", judged(Case(line, (), False) for line in lines))
    for factor in REAL_FACTORS:
        rng = np.random.default_rng([seed, math.ceil(100 * factor)])
        cases = (with_step(line, factor, rng) for line in lines)
        add_rows(table, f"stored, x {factor:g}", judged(cases))
    brought = requirements_of("apache-otava") - {"apache-otava"}
    console = Console(width=WIDTH)
    console.print(table)
    console.print(
        f"{n_series} series of each kind, seed {seed}; {len(lines)} stored ones. false, wrong "
        "now, missed now, unsure: in 100 series. ms: a series.\n"
        f"Otava brings {len(brought)} distributions besides itself, of them "
        f"{len(brought - requirements_of('hbitmap-bench'))} that hbitmap-bench does not have."
    )


if __name__ == "__main__":
    main()
