"""What follows from stored results: declared quantities, ratios of variants, growth exponents.

asv stores raw measurements; a project declares what is derived of them, and how that may grow. This
is the one place where they are scaled. Arrays are float64 over commits (rows), NaN where something
was not measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.slopes import loglog_slopes
from hbitmap_bench.commits.project_file import FILE, Derived, Growth, ProjectFile
from hbitmap_bench.commits.series import Benchmark, History, Measured, Param, Params

TWO_SIZES = 2


@dataclass(frozen=True)
class Exponents:
    """The growth exponent of one series, such as an implementation, commit after commit.

    ``group`` has the values of ``growth.by``. ``value``, ``low`` and ``high`` have a number a
    commit; the interval is the 95% t interval of the slope, NaN below three sizes. ``n_sizes`` is
    how many sizes each commit was fitted over.
    """

    growth: Growth
    exact: bool
    series: str
    group: Params
    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    n_sizes: NDArray[np.int64]

    @property
    def quantity(self) -> str:
        """What grows, as people read it."""
        return self.growth.quantity

    @property
    def limit(self) -> float:
        """What the project promises of this series; NaN where it promises nothing."""
        return self.growth.limits.get(self.series, np.nan)

    @property
    def at(self) -> str:
        """`` at 64K clusters``; empty where the project has no words for its groups."""
        named = dict(zip(self.growth.by, self.group, strict=True))
        return f" at {self.growth.at.format(**named)}" if self.growth.at else ""


def derive(history: History, one: Derived) -> Measured | None:
    """A derived quantity, commits x cells of the benchmark that it is of; None without that.

    The benchmark's costs times the declared product of parameters, over the other benchmark's.
    """
    needed = [name for name in (one.of, one.over) if name]
    if not all(name in history.measured for name in needed):
        return None
    factor = products(one, history.benchmarks[one.of])
    if one.over:
        factor = factor / history.measured[one.over].value
    return Measured(*(ends * factor for ends in history.measured[one.of]))


def is_whole(history: History, one: Derived) -> NDArray[np.bool_]:
    """Whether a cell was measured whole, so that nothing is scaled: commits x cells of ``of``."""
    products_ = products(one, history.benchmarks[one.of])
    return np.equal(history.measured[one.over or one.of].value, products_)


def products(one: Derived, benchmark: Benchmark) -> NDArray[np.float64]:
    """The declared product of parameters, of each cell of a benchmark."""
    return np.array([product(one, benchmark, params) for params in benchmark.cells], float)


def product(one: Derived, benchmark: Benchmark, params: Params) -> float:
    """The declared product of one cell's parameters.

    Raises ``UserError`` where one is missing, no number, or zero and divided by.
    """
    named = dict(zip(benchmark.param_names, params, strict=True))
    found = one.factor
    try:
        for name, power in one.powers.items():
            part = number(named[name]) ** abs(power)
            found = found * part if power > 0 else found / part
    except (LookupError, ValueError, TypeError, ArithmeticError) as error:
        raise UserError(
            f"powers of {one.name} in hbitmap-bench.toml are of parameters that are numbers, and "
            f"{benchmark.name} has {named} ({error!r}): mend one of the two"
        ) from None
    return found


def ratio(over: Measured, under: Measured) -> Measured:
    """One quantity over another, element by element.

    The interval takes both intervals at their worst ends, so it holds with at least the confidence
    that both hold together (98% for two of 99%).
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return Measured(over.value / under.value, over.low / under.high, over.high / under.low)


def ratio_of(
    benchmark: Benchmark, measured: Measured, variant: str | None, over: str, under: str
) -> tuple[tuple[Params, ...], Measured] | None:
    """The ratio of two values of the parameter ``variant``, the first one, where cells have both.

    Returns those cells without that parameter, and arrays of commits x such cells. None if there
    are none.
    """
    if benchmark.param_names[:1] != (variant,):
        return None
    place = benchmark.place
    rest = [p[1:] for p in benchmark.cells if p[0] == over and (under, *p[1:]) in place]
    if not rest:
        return None
    places = ([place[(i, *p)] for p in rest] for i in (over, under))
    above, below = (Measured(*(ends[:, chosen] for ends in measured)) for chosen in places)
    return tuple(rest), ratio(above, below)


def exponents(history: History) -> tuple[Exponents, ...]:
    """Growth exponents of every declared series and group that has two sizes anywhere."""
    found: list[Exponents] = []
    for growth in history.declared.growth:
        benchmark, measured = _quantity(history, growth.of)
        if benchmark and measured:
            found += _exponents_of(benchmark, measured, growth)
    return tuple(found)


def source(declared: ProjectFile, name: str) -> Derived | None:
    """The derived quantity of a name; None for a benchmark."""
    return next((one for one in declared.derived if one.name == name), None)


def _quantity(history: History, name: str) -> tuple[Benchmark | None, Measured | None]:
    """A benchmark or a derived quantity, with the benchmark whose cells it has."""
    if one := source(history.declared, name):
        return history.benchmarks.get(one.of), derive(history, one)
    return history.benchmarks.get(name), history.measured.get(name)


def lines(growth: Growth, benchmark: Benchmark) -> dict[tuple[str, Params], list[Params]]:
    """Cells that differ in size alone, by series and group; none where parameters are missing."""
    names = (growth.size, growth.series, *growth.by)
    if not set(names) <= {*benchmark.param_names}:
        return {}
    series, *by = (benchmark.param_names.index(name) for name in names[1:])
    found: dict[tuple[str, Params], list[Params]] = {}
    for params in benchmark.cells:
        found.setdefault((str(params[series]), tuple(params[i] for i in by)), []).append(params)
    return found


def size_of(growth: Growth, benchmark: Benchmark, params: Params) -> float:
    """A cell's size."""
    return number(params[benchmark.param_names.index(growth.size)])


def number(value: Param) -> float:
    """A parameter that is computed with. Raises ``UserError`` for one that is no number."""
    if not isinstance(value, int | float):
        raise UserError(
            f"what {FILE} computes with is a number, and a parameter has the value {value!r}: "
            "name another parameter"
        )
    return float(value)


def _exponents_of(benchmark: Benchmark, measured: Measured, growth: Growth) -> list[Exponents]:
    found = []
    for (series, group), cells in lines(growth, benchmark).items():
        sizes = np.array([size_of(growth, benchmark, params) for params in cells])
        values = measured.value[:, [benchmark.place[params] for params in cells]]
        fits = loglog_slopes(sizes, values)
        if fits.n_sizes.max(initial=0) >= TWO_SIZES:
            found.append(Exponents(growth, benchmark.is_exact, series, group, *fits))
    return found
