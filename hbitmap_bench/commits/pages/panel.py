"""A panel: one measured or derived quantity of a suite over cells and commits, ready for a page."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hbitmap_bench.base.slopes import loglog_slope
from hbitmap_bench.commits import derived
from hbitmap_bench.commits.pages import data
from hbitmap_bench.commits.project_file import Parameters, ProjectFile, Words
from hbitmap_bench.commits.series import Benchmark, Measured, Param, Params

Fits = list[list[float | int | None]]
"""[commit, slope, low, high] of the commits where a line has a slope."""

Slopes = dict[str, dict[int, Fits]]
"""Axis to the first cell of a line along it, to that line's fits."""

RATIO_ABOUT: Final = (
    "Both are measured on the same commit. The interval takes both 99% intervals at their worst "
    "ends."
)

FEWEST: Final = 2
"""Sizes that a slope needs."""


@dataclass(frozen=True)
class Grid:
    """Arrays over commits x cells, with what the cells' parameters are called."""

    param_names: tuple[str, ...]
    param_values: tuple[tuple[Param, ...], ...]
    measured: Measured

    @cached_property
    def cells(self) -> tuple[Params, ...]:
        """All cells, the last parameter varying fastest."""
        return tuple(itertools.product(*self.param_values))

    def content(self) -> dict[str, object]:
        """What a page's script needs of it; intervals only where there are any."""
        names = zip(self.param_names, self.param_values, strict=True)
        found = self.measured
        same = np.array_equal(found.low, found.high, equal_nan=True)
        return {
            "parameters": [{"name": name, "values": list(values)} for name, values in names],
            "value": data.Rows(found.value),
            "low": None if same else data.Rows(found.low),
            "high": None if same else data.Rows(found.high),
        }


@dataclass(frozen=True)
class Panel:
    """A quantity with its words. ``asv`` is the benchmark on asv's page behind it, if there is one.

    ``slopes`` are given where each commit has its own; else those of the newest are fitted here.
    """

    name: str
    words: Words
    unit: str
    exact: bool
    grid: Grid
    grows: bool
    asv: str | None = None
    slopes: Slopes | None = None
    ratio: Grid | None = None
    how: tuple[str, ...] = ()
    """For each cell, how its numbers came about, where that differs between cells."""

    @property
    def variant(self) -> str:
        """The parameter whose values the ratio compares: the first one."""
        return self.grid.param_names[0]

    @property
    def suite(self) -> str:
        """The suite that it belongs to."""
        return self.name.split(".", 1)[0]

    @property
    def lines(self) -> Slopes:
        """The slopes, those of the newest commit where none are given."""
        if self.slopes is not None:
            return self.slopes
        return newest_slopes(self.grid) if self.grows else {}

    def content(self) -> dict[str, object]:
        """What its script holds."""
        return {
            "name": self.name,
            "title": self.words.title,
            "about": self.words.about,
            "unit": self.unit,
            "asv": self.asv,
            "exact": self.exact,
            "grows": self.grows,
            "slopes": self.lines,
            "how": list(self.how),
            **self.grid.content(),
            "ratio": self._ratio(),
        }

    def _ratio(self) -> dict[str, object] | None:
        if self.ratio is None:
            return None
        title = f"{self.words.title}: one {self.variant} over another"
        about = "" if self.exact else RATIO_ABOUT
        return {"title": title, "about": about, "unit": "x", **self.ratio.content()}


def panel_of(benchmark: Benchmark, measured: Measured, declared: ProjectFile) -> Panel:
    """The panel of a benchmark, as it was measured."""
    words = declared.benchmark_words(benchmark.name)
    return Panel(
        name=benchmark.name,
        words=words,
        unit=benchmark.unit,
        exact=benchmark.is_exact,
        grid=Grid(benchmark.param_names, benchmark.param_values, measured),
        grows=not words.unlike,
        asv=benchmark.name,
        ratio=None if words.unlike else ratio_grid(benchmark, measured, declared.parameters),
    )


def ratio_grid(benchmark: Benchmark, measured: Measured, declared: Parameters) -> Grid | None:
    """Ratios of variants, such as implementations, a first parameter ``pair`` in their place."""
    variant = declared.variant
    found = {
        (over, under): derived.ratio_of(benchmark, measured, variant, over, under)
        for over, under in declared.pairs
    }
    ratios = {f"{a} / {b}": ratio[1] for (a, b), ratio in found.items() if ratio is not None}
    if not ratios:
        return None
    arrays = ([getattr(r, end) for r in ratios.values()] for end in ("value", "low", "high"))
    return Grid(
        ("pair", *benchmark.param_names[1:]),
        (tuple(ratios), *benchmark.param_values[1:]),
        Measured(*(np.concatenate(columns, axis=1) for columns in arrays)),
    )


def newest_slopes(grid: Grid) -> Slopes:
    """Log-log slopes of the newest commit that has measured any cell, along each numeric axis."""
    rows = np.flatnonzero(np.isfinite(grid.measured.value).any(axis=1))
    if not rows.size:
        return {}
    commit = int(rows[-1])
    found = grid.measured.value[commit].reshape([len(v) for v in grid.param_values])
    return {
        grid.param_names[axis]: lines
        for axis, values in enumerate(grid.param_values)
        if is_axis(values) and (lines := _slopes_along(found, axis, values, commit))
    }


def is_axis(values: Sequence[Param]) -> bool:
    """Whether a logarithmic axis can be made of a parameter: numbers above 0, two or more."""
    return len(values) > 1 and all(isinstance(value, int) and value > 0 for value in values)


def _slopes_along(
    found: NDArray[np.float64], axis: int, values: Sequence[Param], commit: int
) -> dict[int, Fits]:
    places = np.moveaxis(np.arange(found.size).reshape(found.shape), axis, -1)
    lines: dict[int, Fits] = {}
    for line in places.reshape(-1, len(values)):
        y = found.flat[line]
        usable = np.isfinite(y) & (y > 0)
        if usable.sum() >= FEWEST:
            x = np.asarray(values, float)[usable]
            fit = loglog_slope(x.tolist(), y[usable].tolist())
            ends = fit.interval or (None, None)
            known = ends[0] == ends[0]  # a constant has no scatter to make an interval of
            lines[int(line[0])] = [[commit, fit.exponent, *(ends if known else (None, None))]]
    return lines
