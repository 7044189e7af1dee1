"""How often does the gate raise a false alarm, and what does it see? Whole runs of it, simulated.

Run it (half an hour on one core)::

    tox -e gate-power -- --runs 400

A simulated run has as many noisy cells as the quick profile, and the rounds that the gate takes;
only seconds are drawn, not measured. It goes the real way: the first pass is judged, its suspects
are drawn again for the second, and the whole is judged. Each kind of noise is first calibrated as
``hbitmap-bench calibrate`` does it, since the band that a machine needs decides what it can see.
All draws are seeded.

A band just below 5% does not promise that +10% is seen: normal noise of 4% calls for 4.8 to 5.4%,
and there it is seen in two cells of three. So every run states the smallest change that it could
have shown, which this script holds against what is seen.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import binomtest

from hbitmap_bench.commits.gate import LOCAL
from hbitmap_bench.commits.gate.instructions import Counts
from hbitmap_bench.commits.gate.judge import hiding, judge, suspects
from hbitmap_bench.commits.gate.measure import ROUNDS
from hbitmap_bench.commits.gate.paired import POWER, fast_mean
from hbitmap_bench.commits.gate.resolution import band_of
from hbitmap_bench.commits.gate.runs import Manifest, Pair, Run
from hbitmap_bench.commits.gate.suites import Cell
from hbitmap_bench.commits.gate.thresholds import DEFAULT_BAND
from hbitmap_bench.commits.gate.verdict import Judgement, RunFacts, SideFacts
from hbitmap_bench.commits.project_file import Derived, Growth, ProjectFile
from hbitmap_bench.commits.series import Benchmark

Floats = NDArray[np.float64]
Rng = np.random.Generator

SECONDS: Final = "buildup.BuildUp.time_queries"
QUERIES: Final = "buildup.BuildUp.track_queries"

DECLARED: Final = ProjectFile(
    derived=(
        Derived(
            "buildup.seconds", SECONDS, "", "seconds", factor=2.0**21,
            powers={"image_tib": 1, "cluster_kib": -1}, over=QUERIES,
        ),
    ),
    growth=(
        Growth(
            "buildup.seconds", "seconds", "image_tib", "implementation",
            {"plain": 1.0, "access": 2.0, "deny": 1.0}, by=("cluster_kib",),
        ),
    ),
)  # fmt: skip
"""As the project's own file has it."""

N_CALIBRATED: Final = 3
"""Passes that ``hbitmap-bench calibrate`` measures."""

SIZES_TIB: Final = (1, 2, 4, 8, 16)
IMPLEMENTATIONS: Final = ("plain", "access", "deny")

OTHER: Final = Benchmark(
    "others.time_other", "time", "seconds", "1", ("implementation", "number"),
    (("deny",), tuple(range(29))),
)  # fmt: skip
PEAK: Final = Benchmark(
    "others.peakmem_other", "peakmemory", "bytes", "1", ("implementation", "number"),
    (("deny",), tuple(range(3))),
)  # fmt: skip
BUILD_UP: Final = Benchmark(
    SECONDS, "time", "seconds", "1", ("implementation", "image_tib", "cluster_kib"),
    (IMPLEMENTATIONS, SIZES_TIB, (64,)),
)  # fmt: skip
COUNTED: Final = replace(BUILD_UP, name=QUERIES, kind="track", unit="queries")
BENCHMARKS: Final = {b.name: b for b in (BUILD_UP, OTHER, PEAK, COUNTED)}


ALONE: Final = 14
"""Of the other cells: the one that a slower function is measured by, and no other."""


def image_tib(cell: Cell) -> int:
    """The size that a cell of the build-up is of."""
    return int(str(cell.params[1]))


def blocks_s(implementation: str, image_tib: int) -> float:
    """Seconds of a timed call: blocks of queries, that only a scan makes dearer."""
    return {"plain": 1.4e-3, "access": 2e-3 * image_tib, "deny": 2e-3}[implementation]


def _cells(benchmark: Benchmark) -> tuple[Cell, ...]:
    return tuple(Cell(benchmark.name, params) for params in benchmark.cells)


CELLS: Final = (*_cells(BUILD_UP), *_cells(OTHER), *_cells(PEAK))
"""As many noisy cells, 47, as the quick profile has; fifteen of them give three exponents."""

VALUES: Final = np.array([
    *(blocks_s(str(cell.params[0]), image_tib(cell)) for cell in _cells(BUILD_UP)),
    *np.geomspace(1e-3, 0.3, len(OTHER.cells)),
    *np.full(len(PEAK.cells), 60e6),
])  # fmt: skip
"""Seconds, or bytes, without noise. All are above the floor: +10% is 100 us or more."""


# ---------------------------------------------------------------- noise


Draw = Callable[[Rng, tuple[int, ...]], Floats]
"""Log factors, in an array of any shape."""


@dataclass(frozen=True)
class Noise:
    """A kind of noise: ``draw`` is what processes differ by.

    Both sides of a cell share what ``drift`` gives: a walk, by so much a round, and a step between
    passes of five times that. ``copies`` differ by cell, and as long as they are installed; the
    second environment is slower than the first by ``place``, a log factor.
    """

    what: str
    draw: Draw
    drift: float = 0.01
    copies: Draw = lambda _, shape: np.zeros(shape)
    place: float = 0.0


def _normal(sd: float) -> Draw:
    return lambda rng, shape: rng.normal(0, sd, shape)


def _bursts(share: float, widest: float = 1.7, least: float = 1.3) -> Draw:
    """A share of all processes is slowed, by ``least`` to ``widest``."""

    def draw(rng: Rng, shape: tuple[int, ...]) -> Floats:
        slowed = rng.random(shape) < share
        factors = np.where(slowed, rng.uniform(least, widest, shape), 1)
        found: Floats = np.log(factors) + rng.normal(0, 0.015, shape)
        return found

    return draw


NOISES: Final[Mapping[str, Noise]] = {
    "normal-2": Noise("normal, 2%", _normal(0.02)),
    "normal-4": Noise("normal, 4%", _normal(0.04)),
    "tails": Noise("heavy tails: t of 3 degrees, 1.5%", lambda r, s: 0.015 * r.standard_t(3, s)),
    "one-sided": Noise("only slower: exponential, 4%", lambda r, s: r.exponential(0.04, s)),
    "drift": Noise("normal, 1.5%, over a drift of 3% a round", _normal(0.015), drift=0.03),
    "bursts-3": Noise("3% of processes 1.3 to 1.7 times slower", _bursts(0.03)),
    "bursts-10": Noise("10% of processes 1.3 to 1.7 times slower", _bursts(0.10)),
    "bursts-25": Noise("25% of processes 1.3 to 1.7 times slower", _bursts(0.25)),
    "busy": Noise("35% of processes 1.3 to 2.5 times slower", _bursts(0.35, 2.5)),
    "bimodal": Noise(
        "half of the processes 10% slower",
        lambda r, s: 0.1 * (r.random(s) < 0.5) + r.normal(0, 0.015, s),
    ),
    "copies": Noise(
        "normal, 2%, and of installed copies 2% are 12% slower", _normal(0.02),
        copies=lambda r, s: np.where(r.random(s) < 0.02, 0.12, 0),
    ),
    "place": Noise("normal, 2%, and one environment is 10% slower", _normal(0.02), place=0.1),
}  # fmt: skip

SPINNERS: Final = Noise("60% of processes 1.2 to 3 times slower", _bursts(0.6, 3.0, 1.2))
LOUD: Final = (NOISES["bursts-25"], NOISES["busy"], SPINNERS)
"""Kinds of noise in which a pass may hide much."""


def draw_pass(rng: Rng, noise: Noise, values: Floats, n_rounds: int) -> tuple[Floats, Floats]:
    """Base and head of all cells, (cells, rounds) each, of which ``values`` are the base's."""
    shape = (len(values), n_rounds)
    steps = rng.normal(0, noise.drift, n_rounds)
    drift = 5 * rng.normal(0, noise.drift) + np.cumsum(steps)
    base, head = (
        values[:, None] * np.exp(drift + noise.draw(rng, shape) + installed)
        for installed in draw_installed(rng, noise, shape)
    )
    return base, head


def draw_installed(rng: Rng, noise: Noise, shape: tuple[int, int]) -> Floats:
    """Log factors of what is installed, (sides, cells, rounds): exchanged and anew halfway."""
    n_cells, n_rounds = shape
    halves = noise.copies(rng, (2, n_cells, 2))
    halves[[1, 0], :, [0, 1]] += noise.place  # the head begins in the second environment
    n_first = n_rounds // 2
    return np.repeat(halves, [n_first, n_rounds - n_first], axis=2)


def calibrated(rng: Rng, noise: Noise) -> float:
    """The band that the noise calls for."""
    passes = [draw_pass(rng, noise, VALUES, ROUNDS[0]) for _ in range(N_CALIBRATED)]
    ratios = [np.log(fast_mean(head) / fast_mean(base)) for base, head in passes]
    return band_of(list(np.concatenate(ratios)))


# ---------------------------------------------------------------- a run


SIDE: Final = SideFacts("HEAD", "0" * 40, "simulated", dirty=False)
FACTS: Final = RunFacts(SIDE, SIDE, "quick", None, {"machine": LOCAL}, "", (), 0.0)
N_QUERIES: Final = 1024
COUNTERS: Final = {cell: (float(N_QUERIES),) * 2 for cell in _cells(COUNTED)}


def gate_run(
    rng: Rng, noise: Noise, band: float, slower: Floats | float = 1.0,
    rounds: tuple[int, int] = ROUNDS, most_more: int = 0,
) -> Run:  # fmt: skip
    """A run in which ``slower`` multiplies the head's values, measured again where suspected.

    ``most_more`` is how often the budget has room for more rounds of cells in which much may hide.
    """
    first: dict[Cell, Pair] = _drawn(rng, noise, slower, rounds[0])
    run = Run(_manifest(band, rounds[:1]), COUNTERS, (first,))
    for _ in range(most_more):
        cells = hiding(run)
        if not cells:
            break
        more = _drawn(rng, noise, slower, rounds[0])
        first = {cell: _with_more(first[cell], more[cell], cell in cells) for cell in first}
        run = replace(run, passes=(first,))
    again = suspects(run)
    if not again:
        return run
    second = _drawn(rng, noise, slower, rounds[1])
    return Run(_manifest(band, rounds), COUNTERS, (first, {cell: second[cell] for cell in again}))


def _with_more(pair: Pair, more: Pair, takes_part: bool) -> Pair:
    """A cell's rounds and more, which are NaN where it takes no part in them, as when loaded."""
    base, head = (side if takes_part else np.full_like(side, np.nan) for side in more)
    return np.concatenate([pair[0], base]), np.concatenate([pair[1], head])


def _drawn(rng: Rng, noise: Noise, slower: Floats | float, n_rounds: int) -> dict[Cell, Pair]:
    base, head = draw_pass(rng, noise, VALUES, n_rounds)
    pairs = zip(base, head * np.broadcast_to(slower, len(CELLS))[:, None], strict=True)
    return dict(zip(CELLS, pairs, strict=True))


def _manifest(band: float, rounds: tuple[int, ...]) -> Manifest:
    cells = (*CELLS, *COUNTERS)
    return Manifest(
        facts=replace(FACTS, rounds=rounds), band=band, band_source="simulated",
        benchmarks=BENCHMARKS, cells=cells, required=cells,
        versions={name: b.version for name, b in BENCHMARKS.items()}, failures=(), allowances=(),
        instructions=Counts({}, {}), same_code=False, same_package=False, declared=DECLARED,
    )  # fmt: skip


# ---------------------------------------------------------------- what is counted


@dataclass
class Count:
    """So many of so many."""

    some: int = 0
    of_all: int = 0

    def add(self, some: int, of_all: int) -> None:
        """Count more."""
        self.some, self.of_all = self.some + some, self.of_all + of_all

    @property
    def at_least(self) -> float:
        """The exact 95% lower bound of the share, one-sided."""
        return float(self._interval("greater").low)

    @property
    def at_most(self) -> float:
        """The exact 95% upper bound of the share, one-sided."""
        return float(self._interval("less").high)

    def _interval(self, alternative: Literal["greater", "less"]) -> Any:  # noqa: ANN401
        return binomtest(self.some, self.of_all, alternative=alternative).proportion_ci(0.95)


def false_alarms(rng: Rng, noise: Noise, band: float | None, n_runs: int) -> Count:
    """Runs of a commit against itself that a gate would have failed; each calibrated if no band.

    A run without suspects can't regress, and is not judged further.
    """
    found = Count()
    for _ in range(n_runs):
        run = gate_run(rng, noise, calibrated(rng, noise) if band is None else band)
        found.add(len(run.passes) > 1 and judge(run).outcome == "REGRESSED", 1)
    return found


def seen(judgement: Judgement) -> Count:
    """Timed cells that are REGRESSED."""
    words = [f.word for f in judgement.findings if f.evidence == "time"]
    return Count(words.count("REGRESSED"), len(words))


def power(
    rng: Rng, noise: Noise, band: float, change: float, n_runs: int,
    rounds: tuple[int, int] = ROUNDS,
) -> Count:  # fmt: skip
    """Timed cells that are seen to regress, where all of them got slower by ``change``."""
    found = Count()
    for _ in range(n_runs):
        one = seen(judge(gate_run(rng, noise, band, 1 + change, rounds)))
        found.add(one.some, one.of_all)
    return found


def resolvable(rng: Rng, noise: Noise, band: float) -> float:
    """The smallest change that the gate says a cell would have shown: the median of its cells."""
    judgement = judge(gate_run(rng, noise, band))
    return float(np.median([f.resolvable for f in judgement.findings if f.resolvable]))


CHANGES: Final = (
    0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 1.0, 1.5,
)  # fmt: skip


def smallest_seen(rng: Rng, noise: Noise, band: float, n_runs: int) -> float:
    """The smallest of ``CHANGES`` that is seen with the power promised, found by bisection."""
    low, high = 0, len(CHANGES) - 1
    while low < high:
        middle = (low + high) // 2
        found = power(rng, noise, band, CHANGES[middle], n_runs)
        low, high = (low, middle) if found.some >= POWER * found.of_all else (middle + 1, high)
    return CHANGES[low]


# ---------------------------------------------------------------- growth


def quadratic(share: float) -> Floats:
    """Factors by which cells get slower if the deny check scans ``share`` of what access scans."""
    factors = np.ones(len(CELLS))
    for place, cell in enumerate(CELLS):
        if cell.benchmark == SECONDS and cell.params[0] == "deny":
            scan_s = blocks_s("access", image_tib(cell)) * share
            factors[place] = 1 + scan_s / VALUES[place]
    return factors


def steeper(judgement: Judgement) -> bool:
    """Whether the deny check's growth is REGRESSED."""
    return any(
        f.evidence == "growth" and f.params[0] == "deny" and f.word == "REGRESSED"
        for f in judgement.findings
    )


def growth_power(rng: Rng, noise: Noise, band: float, share: float, n_runs: int) -> Count:
    """Runs in which the growth rule sees a deny check that scans."""
    runs = (judge(gate_run(rng, noise, band, quadratic(share))) for _ in range(n_runs))
    return Count(sum(map(steeper, runs)), n_runs)


# ---------------------------------------------------------------- beside busy neighbours


def outcomes(
    rng: Rng, noise: Noise, band: float, change: float, n_runs: int, most_more: int = 1
) -> tuple[Counter[str], int]:
    """Outcomes of runs in which one cell is slower, and how many call any cell improved.

    ``most_more`` is how often the budget has room for more rounds.
    """
    slower = np.ones(len(CELLS))
    slower[CELLS.index(_cells(OTHER)[ALONE])] += change
    found: Counter[str] = Counter()
    n_improved = 0
    for _ in range(n_runs):
        judgement = judge(gate_run(rng, noise, band, slower, most_more=most_more))
        found[judgement.outcome] += 1
        n_improved += judgement.counts["IMPROVED"] > 0
    return found, n_improved


# ---------------------------------------------------------------- the tables


def outcome_table(runs: int, seed: int) -> Table:
    """Outcomes of runs at the default band under the loudest noise: the same code, +20%, +50%."""
    words = ("PASSED", "NOT_JUDGED", "REGRESSED")
    shown = Table("noise", "one cell slower by", *words, "says IMPROVED",
                  title=f"Outcomes of {runs} runs each")  # fmt: skip
    for noise, most_more in itertools.product(LOUD, (0, 1)):
        for change in (0.0, 0.2, 0.5):
            rng = np.random.default_rng(seed)
            found, improved = outcomes(rng, noise, DEFAULT_BAND.value, change, runs, most_more)
            what = f"{noise.what}{', and as many rounds again' if most_more else ''}"
            shown.add_row(what, f"{change:.0%}", *(str(found[w]) for w in words), str(improved))
    return shown


@click.command()
@click.option("--runs", default=400, show_default=True, type=click.IntRange(1))
@click.option("--slowed", default=10, show_default=True, type=click.IntRange(1),
              help="Runs in which all timed cells are slower.")  # fmt: skip
@click.option("--loud", default=20, show_default=True, type=click.IntRange(1),
              help="Runs of each kind beside busy neighbours.")  # fmt: skip
@click.option("--seed", default=1, show_default=True)
def main(runs: int, slowed: int, loud: int, seed: int) -> None:
    """Print how often the gate is wrong, by kind of noise, and what it can see."""
    console = Console(width=160)
    default = f"band {DEFAULT_BAND.value:.0%}"
    alarms = Table("noise", "band", "calibrated", default, title="A commit against itself fails")
    seen = Table(
        "noise", "band", "calibrated", default, "95% from", "a run says", "it is seen",
        "growth", title="+10% time is seen; the smallest change that is; a deny check that scans",
    )  # fmt: skip
    for name in track(NOISES, "simulating", console=console, transient=True):
        noise, rng = NOISES[name], np.random.default_rng(seed)
        band = float(np.median([calibrated(rng, noise) for _ in range(20)]))
        alarms.add_row(noise.what, f"{band:.1%}", *alarms_row(rng, noise, runs))
        seen.add_row(noise.what, f"{band:.1%}", *power_row(rng, noise, band, slowed))
    n_timed = len(CELLS) - len(PEAK.cells)
    console.print(
        f"{len(CELLS)} noisy cells and 3 exponents a run, {ROUNDS[0]} and {ROUNDS[1]} rounds; "
        f"{slowed} runs in which {n_timed} cells are slower. Bounds are exact, one-sided, 95%."
    )
    console.print(alarms, seen, outcome_table(loud, seed))


def alarms_row(rng: Rng, noise: Noise, runs: int) -> list[str]:
    """How often a commit against itself fails, each run calibrated anew, and at the default."""
    found = [false_alarms(rng, noise, band, runs) for band in (None, DEFAULT_BAND.value)]
    return [f"{count.some} of {count.of_all} (<= {count.at_most:.1%})" for count in found]


def power_row(rng: Rng, noise: Noise, band: float, slowed: int) -> list[str]:
    """What is seen at the band that the noise calls for, and +10% at the default one too."""
    says = float(np.median([resolvable(rng, noise, band) for _ in range(3)]))
    return [
        _often(power(rng, noise, band, 0.10, slowed)),
        _often(power(rng, noise, DEFAULT_BAND.value, 0.10, slowed)),
        f"+{smallest_seen(rng, noise, band, slowed):.0%}",
        f"+{says:.0%}",
        _often(power(rng, noise, band, says, slowed)),
        _often(growth_power(rng, noise, band, 0.25, slowed)),
    ]


def _often(count: Count) -> str:
    return f"{count.some / count.of_all:.1%} (>= {count.at_least:.1%})"


if __name__ == "__main__":
    main()
