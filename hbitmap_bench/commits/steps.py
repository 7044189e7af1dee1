"""Steps of one series as ``trend`` sees them, by two rules, and whether they still stand.

For exact counters any difference is a step. For noisy costs two rules work side by side:

- the local one of ``changes``, which front page and pages show: two commits apart from two;
- asv's step detection (a Potts model with a penalty by an information measure, over the whole
  series) for what that can't see: levels that differ by less than single commits scatter.

What both found is settled together: levels are the medians of all commits between two steps, and a
step between levels that do not differ by what counts is none.

``tox -e step-rules`` puts them, alone and together, against Apache Otava. asv's alone misses most
steps where a series has several (8% found of six in 200 commits, 23% of two in 11). Together they
find 98% of both, Otava 93% and 51%. On the stored history's own noise they find 80% of 20% steps
and report nothing else; Otava 73%, and 9 false ones in 100 series. Otava is better at a single step
not much above noise in a short history (15% in noise of 3%: 94% against 64% in 11 commits, 98%
against 82% in 40); from 200 commits on both find all. It would bring 34 packages besides itself,
gRPC, BigQuery and Slack among them, and pins an exact old NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from asv import _stats, step_detect
from scipy import stats

from hbitmap_bench.commits.changes import (
    Evidence,
    Floats,
    Line,
    are_far,
    differences,
    moves,
)
from hbitmap_bench.commits.series import Benchmark

NEAR: Final = 2
"""Commits within which a step of both rules, in one direction, is one step: the local rule's."""

LEAST_CREEP: Final = 8
"""Commits below which no slope is told from noise."""

CREEP_CONFIDENCE: Final = 0.998
"""Two-sided; the lower end alone is used, so that 1 in 1,000 lies above it by chance."""

LEAST_COMMITS: Final = 2
"""A level of fewer is one commit alone: unconfirmed, as everywhere."""


class Step(NamedTuple):
    """A cost that changed. ``place`` is that of the first commit of the new level in its series."""

    place: int
    before: float
    after: float
    evidence: Evidence

    @property
    def is_confirmed(self) -> bool:
        """Whether more than one commit shows it."""
        return self.evidence != "single"

    @property
    def rises(self) -> bool:
        """Whether the cost grew."""
        return self.after > self.before


def steps_of(line: Line, benchmark: Benchmark) -> list[Step]:
    """All steps of a series, oldest first. Costs some 10 ms at 200 commits, asv's part."""
    if benchmark.is_exact:
        return [Step(*found) for found in differences(line.value)]
    local = [Step(*found) for found in moves(line)]
    known = [step for step in local if step.is_confirmed]
    wide = (step for step in level_steps(line) if not any(_same(step, k) for k in known))
    settled = _settled(line.value, sorted([*known, *wide]), line.floor)
    return sorted([*settled, *(step for step in local if not step.is_confirmed)])


def rises_steadily(line: Line, steps: Sequence[Step]) -> bool:
    """Whether a cost has crept up by what counts, in no step: over all commits, or since the last.

    The lower end of the Theil-Sen slope of log cost (one-sided 99.9%), times the commits it ran
    over, less what seams hide. A machine that drifts looks the same. O(n^2) at most.
    """
    confirmed = [step.place for step in steps if step.is_confirmed]
    return any(_creeps(line, first) for first in {0, *confirmed[-1:]})


def level_steps(line: Line) -> list[Step]:
    """Steps between the levels that asv's step detection sees in a whole series.

    With the weights that asv publishes with: two over the width of each interval. Levels of one
    commit are left out, and the levels around them compared.
    """
    ends = zip(line.low.tolist(), line.high.tolist(), strict=True)
    weights = [_stats.get_weight({"ci_99_a": low, "ci_99_b": high}) for low, high in ends]
    found = step_detect.detect_steps(line.value.tolist(), weights)
    levels = [
        (first, float(value), (first + end - 1) // 2)
        for first, end, value, *_ in found
        if end - first >= LEAST_COMMITS
    ]
    return [
        Step(place, before, after, "level")
        for (_, before, one), (place, after, other) in pairwise(levels)
        if _is_far(before, after, line.floor)
        and abs(math.log(after / before)) > line.hidden(one, other)  # from middle to middle
    ]


def is_suspect(step: Step, line: Line) -> bool:
    """Whether the newest commit alone lies above: the next one would confirm it, or clear it."""
    return not step.is_confirmed and step.rises and step.place == len(line.value) - 1


def level_now(value: Floats, steps: Sequence[Step]) -> float:
    """What a series costs now: its newest value if exact, else the median since its last step."""
    confirmed = [step for step in steps if step.is_confirmed]
    if any(step.evidence == "exact" for step in confirmed):
        return float(value[-1])
    return float(np.median(value[confirmed[-1].place if confirmed else 0 :]))


def stands(step: Step, now: float, floor: float) -> bool:
    """Whether a regression is still there: the cost now is above that before it by what counts."""
    if step.evidence == "exact":
        return now > step.before
    return now > step.before and _is_far(step.before, now, floor)


def undone_by(step: Step, later: Sequence[Step], floor: float) -> Step | None:
    """The first confirmed later step after which a regression does not stand; None without one."""
    return next((s for s in later if s.is_confirmed and not stands(step, s.after, floor)), None)


def _settled(value: Floats, steps: Sequence[Step], floor: float) -> list[Step]:
    """Steps with the medians of the whole levels around them, without those that these undo.

    A level of two commits that goes back to where it was is left out as a longer burst; then the
    weakest step whose levels are not apart by what counts, until all are.
    """
    kept = list(steps)
    for one, other in pairwise(steps):
        back = one.rises != other.rises and not _is_far(one.before, other.after, floor)
        if back and other.place - one.place <= LEAST_COMMITS and {one, other} <= {*kept}:
            kept = [step for step in kept if step not in (one, other)]
    while True:
        kept = _between_levels(value, kept)
        weak = [step for step in kept if not _is_far(step.before, step.after, floor)]
        if not weak:
            return kept
        kept.remove(min(weak, key=lambda step: abs(step.after - step.before) / step.before))


def _between_levels(value: Floats, steps: Sequence[Step]) -> list[Step]:
    ends = [0, *(step.place for step in steps), len(value)]
    levels = [float(np.median(value[first:end])) for first, end in pairwise(ends)]
    return [
        step._replace(before=before, after=after)
        for step, (before, after) in zip(steps, pairwise(levels), strict=True)
    ]


def _creeps(line: Line, first: int) -> bool:
    value = line.value[first:]
    if len(value) < LEAST_CREEP or not (value > 0).all():
        return False
    slope = stats.theilslopes(np.log(value), alpha=CREEP_CONFIDENCE)
    rise = slope.low_slope * (len(value) - 1) - line.hidden(first, len(line.value) - 1)
    return _is_far(float(value.min()), float(value.min()) * math.exp(max(rise, 0.0)), line.floor)


def _same(one: Step, other: Step) -> bool:
    return abs(one.place - other.place) <= NEAR and one.rises == other.rises


def _is_far(before: float, after: float, floor: float) -> bool:
    return bool(are_far(before, after, floor))
