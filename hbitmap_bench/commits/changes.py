"""Regressions and improvements in a history, each at the commit that brought it.

Every benchmark is a cost: more is worse. Three kinds of evidence, told apart everywhere:

- ``exact``: a counter differs from the measurement before. Counters repeat, so any difference is
  the commit's.
- ``step``: a noisy cost changed and stayed. This commit and the next one both lie apart from the
  two before: their intervals have nothing in common with theirs, and the medians are far enough
  from each other (``LEAST_RATIO``, ``FLOORS``).
- ``single``: one commit lies apart from the one before, and the next one does not stay there. What
  a burst of noise looks like, and what any change looks like at the newest commit: unconfirmed.
- ``level``: found by ``trend`` alone, which looks at whole series, too.

The rule is local on purpose. asv's own step detection, behind asv's pages, weighs a whole series,
and so finds smaller steps in a long one; in a short one with several steps it finds none (4 commits
at 1.0, 3 at 1.2, 3 at 1.0, 3 at 1.2: one level, at 0.3% noise). ``tox -e step-rules`` has both in
figures.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hbitmap_bench.commits.series import Benchmark, Commit, History, Params

Evidence = Literal["exact", "step", "single", "level"]
Word = Literal["REGRESSED", "IMPROVED", "UNCHANGED", "INCONCLUSIVE", "NOT_MEASURED"]

LEAST_RATIO = 1.1
"""Levels closer than this count as one. Sessions on one machine drift by 3 to 10%."""

FOLDED_SHARE = 0.01
"""Lists fold away changes of less than this share of a cost. It is less than two sessions on one
machine differ by, so no backup shows it; noisy costs count from ``LEAST_RATIO`` on anyway."""

FLOORS: Final = {"time": 50e-6, "peakmemory": 2**20, "track": 0.0, "memory": 0.0}
"""Changes below this many seconds a sample or bytes don't count. A scheduler's tick or a page fault
more or less is some tens of microseconds; a sample of many calls shares it out among them. A
process's peak moves by pages of its allocator."""


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


class _Ratio(Protocol):
    @property
    def ratio(self) -> float: ...


R = TypeVar("R", bound=_Ratio)


def weight(change: _Ratio) -> float:
    """How far a cost's ratio lies from 1 on a log scale, up or down; infinite from or to 0."""
    return abs(math.log(change.ratio)) if change.ratio else math.inf


def folded(found: Sequence[R]) -> tuple[tuple[R, ...], tuple[R, ...]]:
    """What a list shows, and what it folds away: changes of less than ``FOLDED_SHARE``."""
    least = math.log1p(FOLDED_SHARE)
    shown = tuple(one for one in found if weight(one) >= least)
    return shown, tuple(one for one in found if weight(one) < least)


def fold_words(words: Iterable[str]) -> str:
    """How many changes are folded away, by what each counts as; empty for none."""
    counts = Counter(words)
    if not counts:
        return ""
    what = "1 change" if counts.total() == 1 else f"{counts.total()} changes"
    kinds = ", ".join(f"{n} {word}" for word, n in counts.most_common())
    return f"{what} of less than {FOLDED_SHARE:.0%}: {kinds}"


def changes(history: History) -> tuple[Change, ...]:
    """All changes of a history by ``weight``, the largest first; of one weight newest first.

    Costs some 0.2 ms a cell at 1,000 commits.
    """
    found = [
        change
        for name, benchmark in history.benchmarks.items()
        for cell in np.flatnonzero(np.isfinite(history.measured[name].value).any(axis=0)).tolist()
        for change in _changes_of(history, benchmark, cell)
    ]
    place = {commit.hash: i for i, commit in enumerate(history.commits)}
    return tuple(
        sorted(
            found,
            key=lambda c: (-weight(c), -place[c.commit.hash]),
        )
    )


def _changes_of(history: History, benchmark: Benchmark, cell: int) -> Iterator[Change]:
    """Changes of one cell, over the commits that measured it."""
    for line in series_of(history, benchmark, cell).parts():
        found = differences(line.value) if benchmark.is_exact else moves(line)
        for place, before, after, evidence in found:
            commit = history.commits[line.commits[place]]
            yield Change(commit, benchmark, benchmark.cells[cell], before, after, evidence)


Floats = NDArray[np.float64]


class Line(NamedTuple):
    """One cell's series: the places of the commits that measured it, and what they measured.

    ``floor`` is the least difference that counts, in the series' unit; ``spread`` is that of
    ``History.spreads``, None in one session.
    """

    commits: NDArray[np.intp]
    value: Floats
    low: Floats
    high: Floats
    floor: float = 0.0
    spread: Floats | None = None

    def parts(self) -> list[Line]:
        """The series, cut where no anchor links what was measured on both sides."""
        if self.spread is None:
            return [self]
        ends = [0, *np.flatnonzero(np.isinf(self.spread)).tolist(), len(self.value)]
        cuts = [slice(i, j) for i, j in pairwise(ends)]
        return [
            self._replace(
                commits=self.commits[c],
                value=self.value[c],
                low=self.low[c],
                high=self.high[c],
                spread=self.spread[c],
            )
            for c in cuts
        ]

    def hidden(self, first: int, last: int) -> float:
        """The logarithm of the ratio that seams after ``first``, up to ``last``, hide."""
        return 0.0 if self.spread is None else math.sqrt(self.spread[first + 1 : last + 1].sum())


def series_of(history: History, benchmark: Benchmark, cell: int) -> Line:
    """The series of a cell, over the commits that measured it.

    asv stores a peak as one number, without an interval: it is taken as it is, and the least change
    that counts stands for its noise.
    """
    measured = history.measured[benchmark.name]
    commits = np.flatnonzero(np.isfinite(measured.value[:, cell]))
    value, low, high = (ends[commits, cell] for ends in measured)
    if benchmark.kind != "time":
        low = high = value
    floor = FLOORS[benchmark.kind] / history.calls_of(benchmark, cell)
    spread = history.spreads.get(benchmark.name)
    return Line(commits, value, low, high, floor, None if spread is None else spread[commits, cell])


Found = Iterator[tuple[int, float, float, Evidence]]
"""Place in the series, before, after, evidence."""


def differences(value: Floats) -> Found:
    """Where a counter is not what it was when it was measured last."""
    for place in np.flatnonzero(value[1:] != value[:-1]).tolist():
        yield place + 1, float(value[place]), float(value[place + 1]), "exact"


def moves(line: Line) -> Found:
    """Steps and single commits of a noisy series, by the sign of ``_apart``."""
    value, n = line.value, len(line.value)
    by_1, by_2, by_3 = (_apart(line, lag) for lag in (1, 2, 3))
    single = np.zeros(n, bool)
    for i in range(1, n):
        single[i] = by_1[i] != 0 and (i == n - 1 or by_1[i + 1] == -by_1[i])
    for i in np.flatnonzero(by_1).tolist():
        if single[i]:
            yield i, float(value[i - 1]), float(value[i]), "single"
        elif i + 1 < n and by_2[i + 1] == by_1[i]:
            second = i < 2 or single[i - 2] or by_2[i] == by_3[i + 1] == by_1[i]
            if second:
                before = value[i - 1 if i < 2 or single[i - 2] else i - 2 : i]
                yield i, float(before.mean()), float(value[i : i + 2].mean()), "step"


def _apart(line: Line, lag: int) -> NDArray[np.int8]:
    """Whether each commit is above (1), below (-1) or not apart (0) from that ``lag`` before it.

    An interval that asv could not give, from too few samples, is apart from none. Seams between
    the two widen their intervals.
    """
    value, low, high = line.value, line.low[lag:], line.high[lag:]
    if line.spread is not None:
        hidden = np.exp([line.hidden(i - lag, i) for i in range(lag, len(value))])
        low, high = low / hidden, high * hidden
    found = np.zeros(len(value), np.int8)
    far = are_far(value[:-lag], value[lag:], line.floor)
    found[lag:] = np.where(far & (low > line.high[:-lag]), 1, 0)
    found[lag:] -= np.where(far & (high < line.low[:-lag]), 1, 0).astype(np.int8)
    return found


def are_far(before: ArrayLike, after: ArrayLike, floor: float) -> NDArray[np.bool_]:
    """Whether costs differ by what counts: ``LEAST_RATIO``, and ``floor`` in their unit."""
    smaller, larger = np.minimum(before, after), np.maximum(before, after)
    return np.asarray((larger >= LEAST_RATIO * smaller) & (larger - smaller >= floor))
