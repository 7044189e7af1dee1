"""Panels of what follows from stored results: the derived quantities that a project declares."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from hbitmap_bench.commits import derived
from hbitmap_bench.commits.derived import Exponents
from hbitmap_bench.commits.pages.panel import Fits, Grid, Panel, newest_slopes, ratio_grid
from hbitmap_bench.commits.project_file import Derived, Words
from hbitmap_bench.commits.series import Benchmark, History, Measured


def derived_panels(history: History, exponents: Iterable[Exponents]) -> Iterator[Panel]:
    """The panels that suites begin with; none of what was not measured."""
    exponents = tuple(exponents)
    for one in history.declared.derived:
        measured = derived.derive(history, one)
        if measured is not None:
            found = [line for line in exponents if line.growth.of == one.name]
            yield _panel(history, one, measured, found)


def _panel(
    history: History, one: Derived, measured: Measured, exponents: Iterable[Exponents]
) -> Panel:
    benchmark = history.benchmarks[one.of]
    grid = Grid(benchmark.param_names, benchmark.param_values, measured)
    slopes = newest_slopes(grid)
    for line in exponents:
        slopes[line.growth.size] = {}
    for line in exponents:
        place, fits = _line(benchmark, line)
        slopes[line.growth.size][place] = fits
    return Panel(
        name=one.name,
        words=Words(one.title, one.about),
        unit=one.unit,
        exact=benchmark.is_exact,
        grid=grid,
        grows=True,
        asv=benchmark.name,
        slopes=slopes,
        ratio=ratio_grid(benchmark, measured, history.declared.parameters),
        how=_how(history, one) if one.over else (),
    )


def _line(benchmark: Benchmark, line: Exponents) -> tuple[int, Fits]:
    """The first cell of a line over sizes, and the slope of each commit that has one."""
    ends = zip(line.value.tolist(), line.low.tolist(), line.high.tolist(), strict=True)
    fits: Fits = [
        [commit, slope, *([low, high] if low == low else [None, None])]
        for commit, (slope, low, high) in enumerate(ends)
        if slope == slope
    ]
    first = derived.lines(line.growth, benchmark)[line.series, line.group][0]
    return benchmark.place[first], fits


def _how(history: History, one: Derived) -> tuple[str, ...]:
    """Whether cells are measured whole, by those commits that measured them."""
    whole = np.where(
        np.isfinite(history.measured[one.of].value), derived.is_whole(history, one), np.nan
    )
    rows = ({float(v) for v in column if v == v} for column in whole.T)
    words = {1.0: one.whole, 0.0: one.scaled}
    return tuple(" or ".join(words[value] for value in sorted(found)) for found in rows)
