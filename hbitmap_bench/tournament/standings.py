"""Who wins at each workload and size, and by how much."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from hbitmap_bench.base.medians import LEAST, median_interval
from hbitmap_bench.base.slopes import loglog_slope
from hbitmap_bench.tournament.cell import Cell, Place


@dataclass(frozen=True, slots=True)
class Ratio:
    """CPU seconds of a cell over those of the fastest at its place, round by round.

    ``rounds`` are those in which neither of both games was disturbed; the others do not count.
    ``median`` is over them; ``interval`` is of the median, 95%, None of too few rounds.
    ``disturbed`` says why there is neither, or is None.
    """

    cell: Cell
    rounds: int
    median: float | None = None
    interval: tuple[float, float] | None = None
    disturbed: str | None = None

    @property
    def is_told_apart(self) -> bool:
        """Whether the fastest one is really faster."""
        return self.interval is not None and self.interval[0] > 1


@dataclass(frozen=True, slots=True)
class Standing:
    """All contenders at one workload and size, the fastest first, the disturbed ones last.

    ``fastest`` is what all ratios are over; None where all are disturbed.
    """

    place: Place
    ratios: tuple[Ratio, ...]
    fastest: Cell | None

    @property
    def best(self) -> tuple[Ratio, ...]:
        """The fastest, and those that these rounds don't tell apart from it."""
        judged = (ratio for ratio in self.ratios if ratio.disturbed is None)
        return tuple(ratio for ratio in judged if not ratio.is_told_apart)

    @property
    def next(self) -> Ratio | None:
        """The fastest of those that are told apart from the best."""
        return next((ratio for ratio in self.ratios if ratio.is_told_apart), None)

    @property
    def disturbed(self) -> tuple[Ratio, ...]:
        """Those of which nothing is said."""
        return tuple(ratio for ratio in self.ratios if ratio.disturbed is not None)

    def of(self, contender: str) -> Ratio | None:
        """That contender's ratio, None if it did not play."""
        return next((ratio for ratio in self.ratios if ratio.cell.contender == contender), None)


def standings(cells: Sequence[Cell]) -> list[Standing]:
    """One for each workload and size, in the order of the cells."""
    places = dict.fromkeys(cell.place for cell in cells)
    return [standing([cell for cell in cells if cell.place == place]) for place in places]


def standing(cells: Sequence[Cell]) -> Standing:
    """That of the cells of one place.

    A cell needs undisturbed games in as many rounds as an interval takes, or in half of its rounds
    if these are fewer; one with less is disturbed.
    """
    judged = [cell for cell in cells if _undisturbed(cell, cell) >= _needed(cell)]
    best = min(judged, key=lambda cell: cell.cpu_s, default=None)
    found = sorted((_ratio(cell, best) for cell in cells), key=_order)
    return Standing(cells[0].place, tuple(found), best)


def _needed(cell: Cell) -> int:
    """Since disturbed games are played again, twice as many rounds were played as asked for."""
    return min(LEAST, max(len(cell.runs) // 2, 1))


def _undisturbed(cell: Cell, other: Cell) -> int:
    """Rounds in which neither game was disturbed."""
    return len(_quotients(cell, other))


def _quotients(cell: Cell, other: Cell) -> list[float]:
    return [
        (one.cpu_s or 0.0) / (another.cpu_s or 1.0)
        for one, another in zip(cell.runs, other.runs, strict=True)
        if one.disturbed is None and another.disturbed is None
    ]


def _ratio(cell: Cell, best: Cell | None) -> Ratio:
    quotients = _quotients(cell, best or cell)
    if best is None or len(quotients) < _needed(cell):
        reason = f"{len(cell.reasons)} of {len(cell.runs)} games; the last: {cell.reasons[-1]}"
        return Ratio(cell, len(quotients), disturbed=reason)
    return Ratio(cell, len(quotients), statistics.median(quotients), median_interval(quotients))


def _order(ratio: Ratio) -> float:
    return float("inf") if ratio.median is None else ratio.median


def words_growth(cells: Sequence[Cell], contender: str, workload: str) -> float | None:
    """The exponent of words over image sizes, which repeats; None where they are not counted."""
    found = [cell for cell in cells if (cell.contender, cell.workload) == (contender, workload)]
    words = [cell.words for cell in found if cell.words]
    if len(found) < 2 or len(words) < len(found):
        return None
    return loglog_slope([cell.image_bytes for cell in found], words).exponent
