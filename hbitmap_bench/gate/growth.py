"""Whether the build-up's growth exponent keeps what its algorithm promises, and the base's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hbitmap_bench.cells import layout
from hbitmap_bench.gate import paired
from hbitmap_bench.gate import thresholds as limits
from hbitmap_bench.gate.runs import Pair, Run
from hbitmap_bench.gate.suites import Cell
from hbitmap_bench.growth import loglog_slope
from hbitmap_bench.history.changes import Word
from hbitmap_bench.history.derived import KIB, L2_SLICE_BYTES, LIMITS, SECONDS, TIB, WORDS

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
        """An expression that matches these cells alone."""
        sizes = "|".join(str(cell.params[1]) for cell in self.cells)
        implementation, cluster_kib = self.key
        return rf"^{re.escape(self.benchmark)}\(.{implementation}., ({sizes}), {cluster_kib}\)$"


@dataclass(frozen=True)
class WordGroup(Group):
    """Exponents of words examined, exactly."""

    before: float
    after: float


@dataclass(frozen=True)
class TimeGroup(Group):
    """Seconds of whole build-ups: arrays (sizes, rounds) of either side."""

    sizes: paired.Floats
    base: paired.Floats
    head: paired.Floats


class Judged(NamedTuple):
    """A verdict on growth in time; ``interval`` is the head's exponent's."""

    word: Word
    reason: str
    values: tuple[float, float]
    interval: tuple[float, float]


def word_groups(run: Run) -> tuple[WordGroup, ...]:
    """Groups of words, from the counters that both sides have."""
    usable = {c: v for c, v in run.counters.items() if c.benchmark == WORDS and min(v) > 0}
    found = []
    for key, cells in _groups(usable).items():
        sizes = [int(cell.params[1]) for cell in cells]
        exponents = [
            loglog_slope(sizes, [usable[c][side] * _queries(c) for c in cells]).exponent
            for side in (0, 1)
        ]
        found.append(WordGroup(WORDS, key, cells, *exponents))
    return tuple(found)


def time_groups(run: Run, measured: Mapping[Cell, Pair]) -> tuple[TimeGroup, ...]:
    """Groups of seconds in a pass, by the rounds that have all sizes on both sides."""
    usable = {cell: pair for cell, pair in measured.items() if cell.benchmark == SECONDS}
    found = []
    for key, cells in _groups(usable).items():
        timed = [_timed_queries(run, cell) for cell in cells]
        if not all(np.isfinite(timed)):
            continue
        scale = np.array([_queries(c) for c in cells]) / np.array(timed)
        base, head = (np.stack([usable[c][side] for c in cells]) for side in (0, 1))
        whole = np.isfinite(base).all(axis=0) & np.isfinite(head).all(axis=0)
        sizes = np.array([float(cell.params[1]) for cell in cells])
        base, head = (values[:, whole] * scale[:, None] for values in (base, head))
        if whole.any():
            found.append(TimeGroup(SECONDS, key, cells, sizes, base, head))
    return tuple(found)


def judge_words(group: WordGroup) -> tuple[Word, str]:
    """A verdict on words, which are exact."""
    margin = limits.WORDS_MARGIN.value
    says = f"words grow with exponent {group.after:.3f}, {group.before:.3f} before"
    if group.after > group.limit + margin >= group.before:
        return "REGRESSED", f"{says}, above the {group.limit:g} of {group.key[0]}"
    if abs(group.after - group.before) <= margin:
        return "UNCHANGED", says
    return ("REGRESSED" if group.after > group.before else "IMPROVED"), says


def is_steeper(group: TimeGroup, level: float) -> bool:
    """Whether growth broke the limit that the base keeps, or rose over the base's, at ``level``."""
    if group.base.shape[-1] < 2:
        return False
    bound = group.limit + limits.GROWTH_MARGIN.value
    before, after = (paired.slope_estimate(group.sizes, s, level) for s in (group.base, group.head))
    broke = after.low > bound >= before.value
    band = limits.GROWTH_BAND.value
    rose = after.value - before.value > band and (
        paired.p_steeper(group.sizes, group.base, group.head, band) <= level
    )
    return broke or rose


def judge_time(group: TimeGroup, again: TimeGroup | None, confirm: float) -> Judged:
    """A verdict on seconds: suspected in the first pass and confirmed in the second, or neither."""
    screen = limits.SCREEN_LEVEL.value
    if not is_steeper(group, screen):
        return _judged(group, screen, "UNCHANGED", "no steeper than its limit, or the base")
    if again is None:
        return _judged(group, screen, "NOT_MEASURED", "suspected, and not measured again")
    if is_steeper(again, confirm):
        return _judged(again, confirm, "REGRESSED", "steeper, in two passes")
    return _judged(again, confirm, "INCONCLUSIVE", "steeper in the first pass, not in the second")


def _judged(group: TimeGroup, level: float, word: Word, what: str) -> Judged:
    before = float(paired.slope(group.sizes, group.base))
    after = paired.slope_estimate(group.sizes, group.head, level)
    reason = f"{what}: {after.value:.2f}, {before:.2f} before, limit {group.limit:g}"
    return Judged(word, reason, (before, after.value), (after.low, after.high))


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


def _queries(cell: Cell) -> int:
    """Queries of the whole build-up."""
    _, tib, kib = cell.params
    return layout(int(tib) * TIB, int(kib) * KIB, l2_slice_bytes=L2_SLICE_BYTES).queries


def _timed_queries(run: Run, cell: Cell) -> float:
    """Queries of the timed call, as counted on the head; NaN where they were not."""
    from hbitmap_bench.history.derived import QUERIES

    return run.counters.get(Cell(QUERIES, cell.params), (np.nan, np.nan))[1]
