"""What changes from one QEMU release to the next: the plain path, and what the filter adds.

Every round measures all builds, one after the other, and the next round goes the other way. So two
neighbouring releases have a difference of CPU seconds in each round, and a drift of the machine
meets both sides of it. The median difference has an interval by order statistics; a release is
called slower or faster where the whole interval lies on one side of nothing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from hbitmap_bench.base.medians import median_interval
from hbitmap_bench.reproduction.records import CellRecord

Part = Literal["plain path", "check"]
Verdict = Literal["slower", "faster", "not told apart", "not judged"]


@dataclass(frozen=True, slots=True)
class Change:
    """From a release to the next, of a part of the build-up of one image size.

    ``whole_s`` are the old release's CPU seconds of the row that the part is in, a median.
    ``differences_s`` are the new release's CPU seconds less the old one's, one for each round that
    has undisturbed runs of both.
    """

    part: Part
    old: CellRecord
    new: CellRecord
    whole_s: float
    differences_s: tuple[float, ...]

    @property
    def share(self) -> float:
        """The median difference over ``whole_s``; NaN without a round."""
        return median(self.differences_s) / self.whole_s if self.differences_s else math.nan

    @property
    def interval(self) -> tuple[float, float] | None:
        """Of ``share``, 95%; None of too few rounds."""
        found = median_interval(self.differences_s)
        return None if found is None else (found[0] / self.whole_s, found[1] / self.whole_s)

    @property
    def verdict(self) -> Verdict:
        """Whether the new release is told apart from the old one."""
        if self.interval is None:
            return "not judged"
        low, high = self.interval
        return "slower" if low > 0 else "faster" if high < 0 else "not told apart"


def changes(cells: Sequence[CellRecord]) -> list[Change]:
    """Of each release to the next, in the order in which they were measured.

    Run N of each row is taken to be of round N. A row whose build lacks a part, or has failed, is
    in no change.
    """
    labels = dict.fromkeys(cell.build for cell in cells)
    found: list[Change] = []
    for old, new in itertools.pairwise(labels):
        for size in dict.fromkeys(cell.image_bytes for cell in cells):
            of_old, of_new = _rows(cells, old, size), _rows(cells, new, size)
            if of_old and of_new:  # a build may be limited to a size
                found += _changes(of_old, of_new)
    return found


def _rows(cells: Sequence[CellRecord], build: str | None, size: int) -> list[CellRecord]:
    """The plain row of a build and size, and that with the filter."""
    found = [cell for cell in cells if cell.build == build and cell.image_bytes == size]
    return sorted(found, key=lambda cell: cell.setup != "plain")


def _changes(old: Sequence[CellRecord], new: Sequence[CellRecord]) -> Iterator[Change]:
    if _measured(old[0], new[0]):
        plain = zip(_seconds(old[0]), _seconds(new[0]), strict=False)
        yield Change("plain path", old[0], new[0], _whole(old[0]), _differences(plain))
    if _measured(*old, *new):
        added = zip(_added(old), _added(new), strict=False)
        yield Change("check", old[1], new[1], _whole(old[1]), _differences(added))


def _measured(*cells: CellRecord) -> bool:
    return all(cell.runs and cell.failed is None for cell in cells)


def _seconds(cell: CellRecord) -> list[float]:
    """CPU seconds of each round; NaN of a disturbed one."""
    return [
        math.nan if run.disturbed is not None or run.cpu_s is None else run.cpu_s
        for run in cell.runs
    ]


def _added(rows: Sequence[CellRecord]) -> list[float]:
    """What the filter adds to the plain row of its round."""
    plain, filtered = map(_seconds, rows)
    return [more - less for less, more in zip(plain, filtered, strict=False)]


def _differences(pairs: Iterator[tuple[float, float]]) -> tuple[float, ...]:
    found = (new - old for old, new in pairs)
    return tuple(one for one in found if math.isfinite(one))


def _whole(cell: CellRecord) -> float:
    return math.nan if cell.cpu_s is None else cell.cpu_s
