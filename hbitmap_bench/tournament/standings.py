"""Who wins at each workload and size, and by how much."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from hbitmap_bench.base.medians import median_interval
from hbitmap_bench.base.slopes import loglog_slope
from hbitmap_bench.tournament.play import Cell, Place


@dataclass(frozen=True, slots=True)
class Ratio:
    """CPU seconds of a cell over those of the fastest at its place, round by round.

    ``median`` is over rounds; ``interval`` is of the median, 95%, None of too few rounds.
    """

    cell: Cell
    median: float
    interval: tuple[float, float] | None

    @property
    def is_told_apart(self) -> bool:
        """Whether the fastest one is really faster."""
        return self.interval is not None and self.interval[0] > 1


@dataclass(frozen=True, slots=True)
class Standing:
    """All contenders at one workload and size, the fastest first."""

    place: Place
    ratios: tuple[Ratio, ...]

    @property
    def best(self) -> tuple[Ratio, ...]:
        """The fastest, and those that these rounds don't tell apart from it."""
        return tuple(ratio for ratio in self.ratios if not ratio.is_told_apart)

    @property
    def next(self) -> Ratio | None:
        """The fastest of those that are told apart from the best."""
        return next((ratio for ratio in self.ratios if ratio.is_told_apart), None)

    def of(self, contender: str) -> Ratio | None:
        """That contender's ratio, None if it did not play."""
        return next((ratio for ratio in self.ratios if ratio.cell.contender == contender), None)


def standings(cells: Sequence[Cell]) -> list[Standing]:
    """One for each workload and size, in the order of the cells."""
    places = dict.fromkeys(cell.place for cell in cells)
    return [_standing(place, [cell for cell in cells if cell.place == place]) for place in places]


def _standing(place: Place, cells: Sequence[Cell]) -> Standing:
    best = min(cells, key=lambda cell: cell.seconds)
    found = sorted((_ratio(cell, best) for cell in cells), key=lambda ratio: ratio.median)
    return Standing(place, tuple(found))


def _ratio(cell: Cell, best: Cell) -> Ratio:
    rounds = [one / other for one, other in zip(cell.play_s, best.play_s, strict=True)]
    return Ratio(cell, statistics.median(rounds), median_interval(rounds))


def words_growth(cells: Sequence[Cell], contender: str, workload: str) -> float | None:
    """The exponent of words over image sizes, which repeats; None where they are not counted."""
    found = [cell for cell in cells if (cell.contender, cell.workload) == (contender, workload)]
    words = [cell.words for cell in found if cell.words]
    if len(found) < 2 or len(words) < len(found):
        return None
    return loglog_slope([cell.image_bytes for cell in found], words).exponent
