"""Do the sampler's intervals hold the exact time, and how wide are they? Both are run, and counted.

Run it (about 15 s a trial with the default sizes)::

    tox -e calibration -- --trials 40

In every trial each cell is sampled as ``reproduce`` does it, and run as a whole, the whole runs
strewn among the passes. A nominal 95% interval should hold the exact time of 95 in 100; the share
achieved is printed with its own 95% interval (exact binomial), and the width beside it, since a
wide interval holds everything.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

import click
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import binomtest

from hbitmap_bench.base.sizes import format_size, parse_size
from hbitmap_bench.qemu.filters import SETUPS, Setup
from hbitmap_bench.qemu.geometry import Layout, layout
from hbitmap_bench.reproduction.timing import (
    PASSES,
    SamplePass,
    measure_exact,
    sample_cells,
    summarize,
)

Cell = tuple[Layout, Setup]


@dataclass(slots=True)
class Score:
    """What the trials of one cell have shown."""

    held: int = 0
    half_widths: list[float] = field(default_factory=list)
    biases: list[float] = field(default_factory=list)

    def add(self, interval: tuple[float, float], sampled_s: float, exact_s: float) -> None:
        """Count one trial."""
        self.held += interval[0] <= exact_s <= interval[1]
        self.half_widths.append((interval[1] - interval[0]) / 2 / sampled_s)
        self.biases.append(sampled_s / exact_s - 1)


def trial(cells: Sequence[Cell], seed: int, scores: Sequence[Score]) -> None:
    """Sample all cells; after each pass over them, run some of them as a whole."""
    whole_runs = list(range(len(cells)))
    random.Random(seed).shuffle(whole_runs)
    passes: list[list[SamplePass]] = [[] for _ in cells]
    exact_s: dict[int, float] = {}
    # The budget is for impatient users; here the whole runs are the larger part of the time.
    sampled = sample_cells(cells, seed=seed, budget_s=math.inf)
    for done, (index, sample) in enumerate(sampled, start=1):
        passes[index].append(sample)
        while len(exact_s) < done // PASSES:
            cell = whole_runs[len(exact_s)]
            exact_s[cell] = measure_exact(*cells[cell]).seconds.cpu_s
    for index, score in enumerate(scores):
        timing = summarize(passes[index])
        assert timing.interval_s is not None
        score.add(timing.interval_s, timing.seconds.cpu_s, exact_s[index])


def report(cells: Sequence[Cell], scores: Sequence[Score], trials: int, console: Console) -> None:
    """Print coverage and width by cell, and over all."""
    table = Table("cell", "intervals that held", "half width", "sampled / exact - 1 (quartiles)")
    for (one, setup), score in zip(cells, scores, strict=True):
        quartiles = statistics.quantiles(score.biases, n=4)
        table.add_row(
            f"{format_size(one.image_bytes)} {setup}",
            f"{score.held} of {trials}",
            f"{statistics.median(score.half_widths):.1%}",
            " ".join(f"{bias:+.1%}" for bias in quartiles),
        )
    console.print(table)
    held, n = sum(score.held for score in scores), trials * len(cells)
    low, high = binomtest(held, n).proportion_ci(method="exact")
    width = statistics.median(w for score in scores for w in score.half_widths)
    console.print(
        f"coverage {held / n:.1%} ({held} of {n}; {low:.1%}..{high:.1%} at 95%), nominal 95%; "
        f"median half width {width:.1%}; {PASSES} passes"
    )


@click.command()
@click.option("--trials", default=20, show_default=True, type=click.IntRange(2))
@click.option("--size", "sizes", multiple=True, default=("512G", "1T", "2T"), show_default=True)
@click.option("--seed", default=1, show_default=True)
def main(trials: int, sizes: tuple[str, ...], seed: int) -> None:
    """Print how often a sampled interval holds the exact time, and how wide it is."""
    cells = [(layout(parse_size(size)), setup) for size in sizes for setup in SETUPS]
    scores = [Score() for _ in cells]
    console = Console()
    for number in track(range(trials), "calibrating", console=console, transient=True):
        trial(cells, seed + number, scores)
    report(cells, scores, trials, console)


if __name__ == "__main__":
    main()
