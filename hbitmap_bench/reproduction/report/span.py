"""Numbers with their ranges: what a user waits, over the plain row, and over a smaller image."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from hbitmap_bench.reproduction.growth import plain_of, series_key
from hbitmap_bench.reproduction.records import CellRecord
from hbitmap_bench.reproduction.report import naming
from hbitmap_bench.reproduction.report.projection import (
    QueryCost,
    at_its_ends,
    projected_s,
    queries_of,
)


class Span(NamedTuple):
    """A number, and the least and the most that it may be; None where that is not known."""

    value: float
    ends: tuple[float, float] | None

    def over(self, other: Span) -> Span:
        """The quotient; its range is what numbers inside both ranges can give."""
        value = self.value / other.value
        if self.ends is None or other.ends is None or other.ends[0] <= 0:
            return Span(value, None)
        return Span(value, (self.ends[0] / other.ends[1], self.ends[1] / other.ends[0]))


def seconds(cell: CellRecord, cost: QueryCost) -> Span | None:
    """What a user waits: published and measured seconds as they are, the model's projected.

    None for a row without seconds, for a disturbed one, and for a model row without extra seconds.
    """
    if cell.source != "model" or cell.work_s is None:
        return measured(cell)
    projected = projected_s(cell, cost)
    ends = tuple(projected_s(end, cost) or 0.0 for end in at_its_ends(cell) or ())
    return None if projected is None else Span(projected, (ends[0], ends[1]) if ends else None)


def ratio_to_plain(cell: CellRecord, among: Iterable[CellRecord], cost: QueryCost) -> Span | None:
    """Seconds over those of its plain row (see ``base_of``); the model's projected."""
    own = seconds(cell, cost)
    if own is None:
        return None
    if cell.source == "model":
        plain_s = queries_of(cell) * cost.seconds
        return own.over(Span(plain_s, (plain_s, plain_s)))
    plain = base_of(cell, among)
    base = seconds(plain, cost) if plain is not None else None
    return own.over(base) if base is not None else None


def base_of(cell: CellRecord, among: Iterable[CellRecord]) -> CellRecord | None:
    """The plain row that a user without the slice option has: same build, size and clusters.

    Where none was measured at the default slice, the plain row of the row's own slice. A disturbed
    one was measured: another in its place would give ratios of another meaning.
    """
    among = list(among)
    return _plain_of_default_slice(cell, among) or plain_of(cell, among)


def _plain_of_default_slice(cell: CellRecord, among: Iterable[CellRecord]) -> CellRecord | None:
    wanted = series_key(cell)._replace(setup="plain", l2_slice_bytes=0)
    for row in among:
        same = series_key(row)._replace(l2_slice_bytes=0) == wanted
        same = same and row.image_bytes == cell.image_bytes and row.elapsed_s is not None
        if same and naming.has_default_slice(row):
            return row
    return None


def measured(cell: CellRecord) -> Span | None:
    """A row's own seconds, the model's too; None for a row without, and for a disturbed one."""
    return Span(cell.work_s, cell.interval_s) if cell.work_s else None


def growth(after: Span | None, before: Span | None) -> Span | None:
    """Relative change of a number from one size to another: 0.27 for +27%."""
    if after is None or before is None:
        return None
    value, ends = after.over(before)
    return Span(value - 1, ends and (ends[0] - 1, ends[1] - 1))
