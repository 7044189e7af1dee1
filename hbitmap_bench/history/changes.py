"""Regressions and improvements in a history, each at the commit that brought it.

Every benchmark is a cost: more is worse. Three kinds of evidence, told apart everywhere:

- ``exact``: a counter differs from the measurement before. Counters repeat, so any difference is
  the commit's.
- ``step``: the level of a noisy series changed and stayed. Levels are found by asv's step
  detection, an L1 Potts fit (``asv.step_detect``, whose documentation derives it).
- ``single``: one commit alone lies off its neighbours' level. What a burst of noise looks like,
  and what the newest commit always looks like: unconfirmed until another commit is measured.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from asv import step_detect

from hbitmap_bench.history.series import Benchmark, Commit, History, Measured, Params

Evidence = Literal["exact", "step", "single"]
Word = Literal["REGRESSED", "IMPROVED", "UNCHANGED", "INCONCLUSIVE", "NOT_MEASURED"]

LEAST_RATIO = 1.1
"""Levels closer than this count as one. Sessions on one machine drift by 3 to 10%."""

FLOORS = {"time": 50e-6, "peakmemory": 2**20, "track": 0.0}
"""Changes below this many seconds or bytes don't count. Timed calls last a millisecond or more, of
which a scheduler's tick or a page fault more or less is some tens of microseconds; a process's peak
moves by pages of its allocator."""

CONFIRMED = 2
"""Commits that a level must last to be one."""


class Step(NamedTuple):
    """A level: commits from ``left`` to before ``right``, by their place in the history."""

    left: int
    right: int
    value: float


StepsOf = Callable[[str, int], Sequence[Step]]
"""Levels of a benchmark's cell (its place in ``Benchmark.cells``)."""


@dataclass(frozen=True)
class Change:
    """A cost that rose or fell. ``commit`` is the first that measured ``after``."""

    commit: Commit
    benchmark: Benchmark
    params: Params
    before: float
    after: float
    evidence: Evidence

    @property
    def ratio(self) -> float:
        """After over before; infinite where there was no cost before."""
        return self.after / self.before if self.before else math.inf

    @property
    def word(self) -> Word:
        """What it counts as: a single commit's change is not confirmed either way."""
        if self.evidence == "single":
            return "INCONCLUSIVE"
        return "REGRESSED" if self.after > self.before else "IMPROVED"


def changes(history: History, steps_of: StepsOf | None = None) -> tuple[Change, ...]:
    """All changes of a history, newest first, the largest of a commit first.

    ``steps_of`` gives levels that were detected already: detection is nearly all of the cost, some
    10 ms a cell at 1,000 commits.
    """
    steps = steps_of or (lambda name, cell: detected(history.measured[name], cell))
    found = [
        change
        for name, benchmark in history.benchmarks.items()
        for cell in np.flatnonzero(np.isfinite(history.measured[name].value).any(axis=0)).tolist()
        for change in _changes_of(history, benchmark, cell, steps)
    ]
    place = {commit.hash: i for i, commit in enumerate(history.commits)}
    return tuple(sorted(found, key=lambda c: (-place[c.commit.hash], -abs(_log_ratio(c)))))


def detected(measured: Measured, cell: int) -> list[Step]:
    """Levels of a noisy series, weighted as asv weights them: by 2 / width of the interval."""
    values, low, high = (a[:, cell] for a in (measured.value, measured.low, measured.high))
    with np.errstate(divide="ignore"):
        weights = 2 / np.abs(high - low)
    usable = [float(w) if math.isfinite(w) else None for w in weights]
    steps = step_detect.detect_steps(values.tolist(), usable)
    return [Step(left, right, value) for left, right, value, _, _ in steps]


def _changes_of(
    history: History, benchmark: Benchmark, cell: int, steps_of: StepsOf
) -> Iterator[Change]:
    measured = history.measured[benchmark.name]
    if benchmark.is_exact:
        pairs = _differences(measured, cell)
    else:
        pairs = _level_changes(measured, cell, steps_of(benchmark.name, cell))
    for place, before, after, evidence in pairs:
        if evidence == "exact" or _is_large(benchmark, before, after):
            commit, params = history.commits[place], benchmark.cells[cell]
            yield Change(commit, benchmark, params, before, after, evidence)


def _differences(measured: Measured, cell: int) -> Iterator[tuple[int, float, float, Evidence]]:
    """Where a counter is not what it was when it was measured last."""
    values = measured.value[:, cell]
    places = np.flatnonzero(np.isfinite(values)).tolist()
    for left, right in itertools.pairwise(places):
        if values[left] != values[right]:
            yield right, float(values[left]), float(values[right]), "exact"


def _level_changes(
    measured: Measured, cell: int, steps: Sequence[Step]
) -> Iterator[tuple[int, float, float, Evidence]]:
    """From one confirmed level to the next, and single commits that lie off the one before."""
    values = measured.value[:, cell]
    level: Step | None = None
    for step in steps:
        n_measured = int(np.isfinite(values[step.left : step.right]).sum())
        if level is None:
            level = step
        elif n_measured >= CONFIRMED:
            yield step.left, level.value, step.value, "step"
            level = step
        elif _is_apart(measured, cell, step.left):
            yield step.left, level.value, step.value, "single"


def _is_apart(measured: Measured, cell: int, place: int) -> bool:
    """Whether a commit's interval has nothing in common with that of the one measured before."""
    low, high = measured.low[:, cell], measured.high[:, cell]
    before = np.flatnonzero(np.isfinite(measured.value[:place, cell]))
    if not before.size or not math.isfinite(low[place]):
        return False
    last = before[-1]
    return bool(low[place] > high[last] or high[place] < low[last])


def _is_large(benchmark: Benchmark, before: float, after: float) -> bool:
    if abs(after - before) < FLOORS[benchmark.kind]:
        return False
    return max(before, after) >= LEAST_RATIO * min(before, after)


def _log_ratio(change: Change) -> float:
    low, high = sorted((change.before, change.after))
    return math.log(high / low) if low > 0 else math.inf
