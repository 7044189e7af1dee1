"""Whether the build-up's growth exponent keeps what its algorithm promises, and the base's."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hbitmap_bench.base.slopes import loglog_slope
from hbitmap_bench.commits.changes import Word
from hbitmap_bench.commits.derived import LIMITS, QUERIES, SECONDS, WORDS, queries_of
from hbitmap_bench.commits.gate import paired
from hbitmap_bench.commits.gate import thresholds as limits
from hbitmap_bench.commits.gate.allowances import Allowance
from hbitmap_bench.commits.gate.noisy import Levels, too_few
from hbitmap_bench.commits.gate.runs import Pair, Run
from hbitmap_bench.commits.gate.suites import Cell

Key = tuple[str, int]
"""Implementation and cluster size in KiB."""

LEAST_SIZES = 3


@dataclass(frozen=True)
class Group:
    """Cells that differ in image size alone, over a span that an exponent needs."""

    benchmark: str
    key: Key
    cells: tuple[Cell, ...]

    @property
    def limit(self) -> float:
        """What the implementation's algorithm promises."""
        return LIMITS[self.key[0]]

    @property
    def regex(self) -> str:
        """An expression that matches what this group's exponent needs, and no more."""
        names = (self.benchmark, QUERIES) if self.benchmark == SECONDS else (self.benchmark,)
        sizes = "|".join(str(cell.params[1]) for cell in self.cells)
        implementation, cluster_kib = self.key
        benchmarks = "|".join(map(re.escape, names))
        return rf"^({benchmarks})\(.{implementation}., ({sizes}), {cluster_kib}\)$"


@dataclass(frozen=True)
class WordGroup(Group):
    """Exponents of words examined, exactly; ``risen`` are the cells that read more than before."""

    before: float
    after: float
    risen: tuple[Cell, ...]


@dataclass(frozen=True)
class TimeGroup(Group):
    """Seconds of whole build-ups: arrays (sizes, rounds) of either side."""

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


def word_groups(run: Run) -> tuple[WordGroup, ...]:
    """Groups of words, from the counters that both sides have."""
    usable = {
        cell: pair
        for cell, pair in run.counters.items()
        if cell.benchmark == WORDS and all(0 < words < math.inf for words in pair)
    }
    found = []
    for key, cells in _groups(usable).items():
        sizes = [int(cell.params[1]) for cell in cells]
        before, after = (
            loglog_slope(sizes, [usable[c][side] * queries_of(c.params) for c in cells]).exponent
            for side in (0, 1)
        )
        risen = tuple(cell for cell in cells if usable[cell][1] > usable[cell][0])
        found.append(WordGroup(WORDS, key, cells, before, after, risen))
    return tuple(found)


def time_groups(run: Run, measured: Mapping[Cell, Pair]) -> tuple[TimeGroup, ...]:
    """Groups of seconds in a pass, by the rounds that have all sizes on both sides."""
    usable = {cell: pair for cell, pair in measured.items() if cell.benchmark == SECONDS}
    found = []
    for key, cells in _groups(usable).items():
        timed = np.array(
            [run.counters.get(Cell(QUERIES, c.params), (math.nan, math.nan)) for c in cells]
        )
        if not np.isfinite(timed).all():
            continue
        scale = np.array([[queries_of(cell.params)] for cell in cells]) / timed
        base, head = (
            np.stack([usable[cell][side] for cell in cells]) * scale[:, side, None]
            for side in (0, 1)
        )
        whole = np.isfinite(base).all(axis=0) & np.isfinite(head).all(axis=0)
        sizes = np.array([float(cell.params[1]) for cell in cells])
        if whole.any():
            found.append(TimeGroup(SECONDS, key, cells, sizes, base[:, whole], head[:, whole]))
    return tuple(found)


def judge_words(group: WordGroup, allowances: Sequence[Allowance]) -> tuple[Word, str]:
    """A verdict on words, which are exact.

    Steeper is worse only if the largest image reads more: where small ones read less, the same
    work at the large end is steeper too. A rise that is allowed may change the exponent, within
    the limit.
    """
    margin = limits.WORDS_MARGIN.value
    says = f"words grow with exponent {group.after:.3f}, {group.before:.3f} before"
    if group.after < group.before - margin:
        return "IMPROVED", says
    if group.cells[-1] not in group.risen:
        return "UNCHANGED", f"{says}; the largest image reads no more"
    if group.after > group.limit + margin >= group.before:
        return "REGRESSED", f"{says}, above the {group.limit:g} of {group.key[0]}"
    if group.after <= group.before + margin:
        return "UNCHANGED", says
    if all(any(entry.allows(cell) for entry in allowances) for cell in group.risen):
        return "UNCHANGED", f"{says}; all cells that read more are allowed to"
    return "REGRESSED", says


def is_steeper(group: TimeGroup, level: float, log_band: float) -> bool:
    """Whether growth broke the limit that the base keeps, or rose over the base's, at ``level``.

    Only where the largest image takes longer, beyond the band: where small ones got faster, the
    same seconds at the large end are steeper too.
    """
    if group.n_rounds < 2 or paired.log_ratio(group.base[-1], group.head[-1]) <= log_band:
        return False
    before, after = (float(paired.slope(group.sizes, s)) for s in (group.base, group.head))
    bound, band = group.limit + limits.GROWTH_MARGIN.value, limits.GROWTH_BAND.value
    if after > bound >= before and (
        paired.slope_estimate(group.sizes, group.head, level).low > bound
    ):
        return True
    return after - before > band and (
        paired.p_steeper(group.sizes, group.base, group.head, band) <= level
    )


def judge_time(group: TimeGroup, again: TimeGroup | None, levels: Levels) -> Judged:
    """A verdict on seconds: suspected in the first pass and confirmed in the second, or neither."""
    if reason := too_few(group.n_rounds, levels.screen):
        return _judged(group, levels.screen, "NOT_MEASURED", reason)
    if not is_steeper(group, levels.screen, levels.log_band):
        return _judged(group, levels.screen, "UNCHANGED", "no steeper than its limit, or the base")
    if again is None or too_few(again.n_rounds, levels.confirm):
        return _judged(group, levels.screen, "NOT_MEASURED", "suspected, and not measured again")
    if is_steeper(again, levels.confirm, levels.log_band):
        return _judged(again, levels.confirm, "REGRESSED", "steeper, in two passes")
    what = "steeper in the first pass, not in the second"
    return _judged(again, levels.confirm, "INCONCLUSIVE", what)


def _judged(group: TimeGroup, level: float, word: Word, what: str) -> Judged:
    before = float(paired.slope(group.sizes, group.base))
    after = paired.slope_estimate(group.sizes, group.head, level)
    reason = f"{what}: {after.value:.2f}, {before:.2f} before, limit {group.limit:g}"
    return Judged(word, reason, (before, after.value), (after.low, after.high), level)


def _groups(cells: Mapping[Cell, object]) -> dict[Key, tuple[Cell, ...]]:
    """Cells by implementation and cluster size, ascending in size, where their span is enough."""
    found: dict[Key, list[Cell]] = {}
    for cell in cells:
        found.setdefault((str(cell.params[0]), int(cell.params[2])), []).append(cell)
    ordered = {key: tuple(sorted(g, key=lambda c: int(c.params[1]))) for key, g in found.items()}
    return {key: group for key, group in ordered.items() if key[0] in LIMITS and _spans(group)}


def _spans(group: tuple[Cell, ...]) -> bool:
    span = int(group[-1].params[1]) / int(group[0].params[1])
    return len(group) >= LEAST_SIZES and span >= limits.GROWTH_SPAN.value
