"""Whether costs keep the growth exponent that the project declares, and the base's."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

import numpy as np

from hbitmap_bench.base.slopes import loglog_slope
from hbitmap_bench.commits.changes import Word
from hbitmap_bench.commits.derived import lines, product, size_of, source
from hbitmap_bench.commits.gate import paired
from hbitmap_bench.commits.gate import thresholds as limits
from hbitmap_bench.commits.gate.noisy import Levels, too_few
from hbitmap_bench.commits.gate.runs import Pair, Run
from hbitmap_bench.commits.gate.suites import Cell
from hbitmap_bench.commits.gate.thresholds import Threshold
from hbitmap_bench.commits.project_file import Allowance, Derived, Growth, ProjectFile
from hbitmap_bench.commits.series import Benchmark, Param, Params

LEAST_SIZES = 3

NOISY: Final = ("time", "timeraw", "peakmem")
"""Prefixes of benchmarks that are no counters."""


@dataclass(frozen=True)
class Group:
    """Cells that differ in size alone, over a span that an exponent needs.

    ``key`` has the values of the series and of ``growth.by``; ``needed`` are the benchmarks that
    the exponent is reckoned from.
    """

    growth: Growth
    benchmark: Benchmark
    needed: tuple[str, ...]
    key: Params
    cells: tuple[Cell, ...]

    @property
    def limit(self) -> float:
        """What the project promises of the series."""
        return self.growth.limits[str(self.key[0])]

    @property
    def margin(self) -> float:
        """What an exponent may lie above the limit by."""
        return margin(self.growth, exact=self.benchmark.is_exact).value

    @property
    def regex(self) -> str:
        """An expression that matches what this group's exponent needs, and no more."""
        names = "|".join(map(re.escape, self.needed))
        columns = zip(*(cell.params for cell in self.cells), strict=True)
        params = (list(dict.fromkeys(column)) for column in columns)
        told = (_alternatives(values) for values in params)
        return rf"^({names})\({', '.join(told)}\)$"


@dataclass(frozen=True)
class WordGroup(Group):
    """Exponents of a counter, exactly; ``risen`` are the cells that cost more than before."""

    before: float
    after: float
    risen: tuple[Cell, ...]


@dataclass(frozen=True)
class TimeGroup(Group):
    """A noisy cost, scaled as the project derives it: arrays (sizes, rounds) of either side."""

    sizes: paired.Floats
    base: paired.Floats
    head: paired.Floats

    @property
    def n_rounds(self) -> int:
        """Rounds that have all sizes on both sides."""
        return int(self.base.shape[-1])


class Judged(NamedTuple):
    """A verdict on growth in time; ``interval`` is the head's exponent's, at ``level``."""

    word: Word
    reason: str
    values: tuple[float, float]
    interval: tuple[float, float]
    level: float


def margin(growth: Growth, *, exact: bool) -> Threshold:
    """The margin of a growth as a threshold, with its reason."""
    default = limits.EXACT_MARGIN if exact else limits.GROWTH_MARGIN
    value = default.value if growth.margin is None else growth.margin
    name = f"{growth.quantity if exact else 'time'} exponent margin"
    return Threshold(name, value, default.unit, growth.reason or default.reason)


def thresholds(declared: ProjectFile) -> tuple[Threshold, ...]:
    """All thresholds that a project's verdicts depend on; those of growth where it declares any."""
    exact = {growth.of: _is_exact(declared, growth) for growth in declared.growth}
    ordered = sorted(declared.growth, key=lambda growth: not exact[growth.of])
    margins = [margin(growth, exact=exact[growth.of]) for growth in ordered]
    growth = (*dict.fromkeys(margins), limits.GROWTH_BAND, limits.GROWTH_SPAN)
    counted = (limits.INSTRUCTIONS_BAND, limits.INSTRUCTIONS_REPEAT)
    return (*limits.COMMON, *(growth if margins else ()), *counted)


def _is_exact(declared: ProjectFile, growth: Growth) -> bool:
    """Whether a growth is of a counter, by the name of its benchmark."""
    one = source(declared, growth.of)
    method = (one.of if one else growth.of).rsplit(".", 1)[-1]
    return not method.startswith(tuple(f"{prefix}_" for prefix in NOISY))


def word_groups(run: Run) -> tuple[WordGroup, ...]:
    """Groups of counters, of those that both sides have."""
    found = []
    for growth, one, benchmark in _declared(run):
        if not benchmark.is_exact:
            continue
        usable = {
            cell: pair
            for cell, pair in run.counters.items()
            if cell.benchmark == benchmark.name and all(0 < cost < math.inf for cost in pair)
        }
        for key, cells in _groups(growth, benchmark, usable).items():
            sizes = [size_of(growth, benchmark, cell.params) for cell in cells]
            costs = np.array([usable[cell] for cell in cells]) * _scale(run, one, benchmark, cells)
            before, after = (
                loglog_slope(sizes, costs[:, side].tolist()).exponent for side in (0, 1)
            )
            risen = tuple(cell for cell in cells if usable[cell][1] > usable[cell][0])
            needed = _needed(one, benchmark)
            found.append(WordGroup(growth, benchmark, needed, key, cells, before, after, risen))
    return tuple(found)


def time_groups(run: Run, measured: Mapping[Cell, Pair]) -> tuple[TimeGroup, ...]:
    """Groups of noisy costs in a pass, by the rounds that have all sizes on both sides."""
    found = []
    for growth, one, benchmark in _declared(run):
        if benchmark.is_exact:
            continue
        usable = {cell: pair for cell, pair in measured.items() if cell.benchmark == benchmark.name}
        for key, cells in _groups(growth, benchmark, usable).items():
            scale = _scale(run, one, benchmark, cells)
            if not np.isfinite(scale).all():
                continue
            base, head = (
                np.stack([usable[cell][side] for cell in cells]) * scale[:, side, None]
                for side in (0, 1)
            )
            whole = np.isfinite(base).all(axis=0) & np.isfinite(head).all(axis=0)
            sizes = np.array([size_of(growth, benchmark, cell.params) for cell in cells])
            if whole.any():
                needed = _needed(one, benchmark)
                costs = base[:, whole], head[:, whole]
                found.append(TimeGroup(growth, benchmark, needed, key, cells, sizes, *costs))
    return tuple(found)


def judge_words(group: WordGroup, allowances: Sequence[Allowance], before: str) -> tuple[Word, str]:
    """A verdict on a counter, which is exact; ``before`` is said of the base's exponent.

    Steeper is worse only if the largest size costs more: where small ones cost less, the same
    work at the large end is steeper too. A rise that is allowed may change the exponent, within
    the limit.
    """
    growth, margin = group.growth, group.margin
    says = f"{growth.quantity} grow with exponent {group.after:.3f}, {group.before:.3f} {before}"
    if group.after < group.before - margin:
        return "IMPROVED", says
    if group.cells[-1] not in group.risen:
        return "UNCHANGED", f"{says}; {growth.largest} no more"
    if group.after > group.limit + margin >= group.before:
        return "REGRESSED", f"{says}, above the {group.limit:g} of {group.key[0]}"
    if group.after <= group.before + margin:
        return "UNCHANGED", says
    if all(_is_allowed(cell, allowances) for cell in group.risen):
        return "UNCHANGED", f"{says}; all cells that cost more are allowed to"
    return "REGRESSED", says


def is_steeper(group: TimeGroup, level: float, log_band: float) -> bool:
    """Whether growth broke the limit that the base keeps, or rose over the base's, at ``level``.

    Only where the largest size takes longer, beyond the band: where small ones got faster, the
    same seconds at the large end are steeper too.
    """
    if group.n_rounds < 2 or paired.log_ratio(group.base[-1], group.head[-1]) <= log_band:
        return False
    before, after = (float(paired.slope(group.sizes, s)) for s in (group.base, group.head))
    bound, band = group.limit + group.margin, limits.GROWTH_BAND.value
    if after > bound >= before and (
        paired.slope_estimate(group.sizes, group.head, level).low > bound
    ):
        return True
    return after - before > band and (
        paired.p_steeper(group.sizes, group.base, group.head, band) <= level
    )


def judge_time(group: TimeGroup, again: TimeGroup | None, levels: Levels, before: str) -> Judged:
    """A verdict on seconds: suspected in the first pass and confirmed in the second, or neither."""
    judged = partial(_judged, group, levels.screen, before)
    if reason := too_few(group.n_rounds, levels.screen):
        return judged("NOT_MEASURED", reason)
    if not is_steeper(group, levels.screen, levels.log_band):
        return judged("UNCHANGED", "no steeper than its limit, or the base")
    if again is None or too_few(again.n_rounds, levels.confirm):
        return judged("NOT_MEASURED", "suspected, and not measured again")
    confirmed = partial(_judged, again, levels.confirm, before)
    if is_steeper(again, levels.confirm, levels.log_band):
        return confirmed("REGRESSED", "steeper, in two passes")
    return confirmed("INCONCLUSIVE", "steeper in the first pass, not in the second")


def _judged(group: TimeGroup, level: float, before: str, word: Word, what: str) -> Judged:
    base = float(paired.slope(group.sizes, group.base))
    head = paired.slope_estimate(group.sizes, group.head, level)
    reason = f"{what}: {head.value:.2f}, {base:.2f} {before}, limit {group.limit:g}"
    return Judged(word, reason, (base, head.value), (head.low, head.high), level)


def _is_allowed(cell: Cell, allowances: Sequence[Allowance]) -> bool:
    return any(entry.allows(cell.benchmark, cell.params) for entry in allowances)


def _declared(run: Run) -> Iterator[tuple[Growth, Derived | None, Benchmark]]:
    """Each growth with the derived quantity that it is of, if any, and the benchmark behind it."""
    declared = run.manifest.declared
    for growth in declared.growth:
        one = source(declared, growth.of)
        if benchmark := run.manifest.benchmarks.get(one.of if one else growth.of):
            yield growth, one, benchmark


def _needed(one: Derived | None, benchmark: Benchmark) -> tuple[str, ...]:
    return (benchmark.name, one.over) if one and one.over else (benchmark.name,)


def _scale(
    run: Run, one: Derived | None, benchmark: Benchmark, cells: Sequence[Cell]
) -> paired.Floats:
    """What a cell's cost is multiplied by, on either side: (cells, 2); NaN where it is unknown."""
    if one is None:
        return np.ones((len(cells), 2))
    factors = np.array([[product(one, benchmark, cell.params)] for cell in cells])
    if one.over is None:
        return np.repeat(factors, 2, axis=1)
    nothing = math.nan, math.nan
    over = [run.counters.get(Cell(one.over, cell.params), nothing) for cell in cells]
    return np.asarray(factors / np.array(over))


def _groups(
    growth: Growth, benchmark: Benchmark, usable: Mapping[Cell, object]
) -> dict[Params, tuple[Cell, ...]]:
    """Cells by series and group, ascending in size, where there is a limit and enough span."""
    found: dict[Params, tuple[Cell, ...]] = {}
    for (series, group), params in lines(growth, benchmark).items():
        cells = [cell for p in params if (cell := Cell(benchmark.name, p)) in usable]
        cells.sort(key=lambda cell: size_of(growth, benchmark, cell.params))
        sizes = [size_of(growth, benchmark, cell.params) for cell in cells]
        if series in growth.limits and _spans(sizes):
            found[series, *group] = tuple(cells)
    return found


def _spans(sizes: Sequence[float]) -> bool:
    return len(sizes) >= LEAST_SIZES and sizes[-1] / sizes[0] >= limits.GROWTH_SPAN.value


def _alternatives(values: Sequence[Param]) -> str:
    """Values of a parameter as an expression, without quotes, for a shell's sake."""
    told = [re.escape(repr(value)).replace("'", ".") for value in values]
    return told[0] if len(told) == 1 else f"({'|'.join(told)})"
