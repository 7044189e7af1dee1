"""Panels of what follows from stored results: seconds and words of whole build-ups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from hbitmap_bench.commits import derived
from hbitmap_bench.commits.derived import Exponents
from hbitmap_bench.commits.names import Words
from hbitmap_bench.commits.pages.panel import Fits, Grid, Panel, newest_slopes, ratio_grid
from hbitmap_bench.commits.series import Benchmark, History, Measured

SIZE: Final = "image_tib"

SECONDS: Final = Words(
    "Seconds of a whole build-up",
    "Small cells are timed whole. In the others blocks of queries are, and their seconds scaled to "
    "all queries. In process: without what a query costs QEMU itself. Bars are asv's 99% interval "
    "of the median.",
)
WORDS: Final = Words(
    "Words examined by a whole build-up",
    "Words a query, times the queries of a build-up: exact, the same on every machine.",
)
_HOW: Final = {1.0: "timed whole", 0.0: "scaled from blocks of queries"}


def derived_panels(history: History, exponents: Iterable[Exponents]) -> Iterator[Panel]:
    """The panels that the suite ``buildup`` begins with; none where it was not measured."""
    exponents = tuple(exponents)
    seconds, words = derived.build_up_seconds(history), derived.build_up_words(history)
    if seconds is not None:
        benchmark = history.benchmarks[derived.SECONDS]
        yield _panel(
            "buildup.seconds", SECONDS, benchmark, seconds, "seconds", exponents, _how(history)
        )
    if words is not None:
        benchmark = history.benchmarks[derived.WORDS]
        yield _panel("buildup.words", WORDS, benchmark, words, "words", exponents)


def _panel(
    name: str,
    words: Words,
    benchmark: Benchmark,
    measured: Measured,
    unit: str,
    exponents: Iterable[Exponents],
    how: tuple[str, ...] = (),
) -> Panel:
    grid = Grid(benchmark.param_names, benchmark.param_values, measured)
    over_size = dict(_lines(benchmark, [e for e in exponents if e.quantity == unit]))
    return Panel(
        name=name,
        words=words,
        unit=unit,
        exact=benchmark.is_exact,
        grid=grid,
        grows=True,
        asv=benchmark.name,
        slopes={**newest_slopes(grid), SIZE: over_size},
        ratio=ratio_grid(benchmark, measured),
        how=how,
    )


def _lines(benchmark: Benchmark, found: Iterable[Exponents]) -> Iterator[tuple[int, Fits]]:
    """The first cell of each line over image sizes, and the slope of each commit that has one."""
    first = benchmark.param_values[benchmark.param_names.index(SIZE)][0]
    for line in found:
        ends = zip(line.value.tolist(), line.low.tolist(), line.high.tolist(), strict=True)
        fits: Fits = [
            [commit, slope, *([low, high] if low == low else [None, None])]
            for commit, (slope, low, high) in enumerate(ends)
            if slope == slope
        ]
        yield benchmark.place[line.implementation, first, line.cluster_kib], fits


def _how(history: History) -> tuple[str, ...]:
    """Whether cells are timed whole, by those commits that measured them."""
    whole = np.where(
        np.isfinite(history.measured[derived.SECONDS].value), derived.is_whole(history), np.nan
    )
    rows = ({float(v) for v in column if v == v} for column in whole.T)
    return tuple(" or ".join(_HOW[value] for value in sorted(found)) for found in rows)
