"""The growth exponent: how build-up seconds grow with the image size, within one slice regime.

t = c * n^e is a straight line in logarithms, and e its slope. It is fitted by ordinary least
squares on log t over log n, so that every size weighs the same in relative terms, whatever its
seconds. Its interval comes from both kinds of error, and errs to the wide side by adding them:
- the t interval of the slope with (sizes - 2) degrees of freedom, from the scatter *between sizes*,
  which holds what the runs of one size share: the state of the machine, any bend of the line. What
  it covers is measured in its tests. Two sizes have none: they lie on their line;
- the least and the most slope that values inside the rows' own intervals can give.
A row without an interval of its own (a single run) leaves the series without an exponent, and so
does an interval wider than +-0.5: of two sizes 10% apart the growth in percent can be told.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.slopes import Slope, loglog_slope
from hbitmap_bench.reproduction.records import CellRecord, GrowthRecord

WIDEST_HALF: Final = 0.5
"""An exponent that may be off by more tells linear from quadratic no longer."""

RESOLVED_SHARE: Final = 0.2
"""Without intervals, extra seconds count as resolved above this share of the plain row's.

Sessions on one machine drift by 3 to 10%; two rows 10% off in opposite ways differ by 20%.
"""


class SeriesKey(NamedTuple):
    """What rows must share before one line is drawn through them: all but the image size."""

    source: str
    build: str | None
    mode: str
    setup: str
    cluster_bytes: int
    copy_cluster_bytes: int
    l2_slice_bytes: int
    l2_entry_bytes: int


def series_key(cell: CellRecord) -> SeriesKey:
    """The series that a row belongs to."""
    return SeriesKey(*(getattr(cell, name) for name in SeriesKey._fields))


def series(
    cells: Iterable[CellRecord], quantity: str = "work_s"
) -> dict[SeriesKey, list[CellRecord]]:
    """Rows by series, each in ascending image size; a size that comes twice counts once.

    Rows without the quantity are left out: disturbed ones have no ``work_s``, and all their words.
    Order of the series is that of their first rows.
    """
    found: dict[SeriesKey, dict[int, CellRecord]] = {}
    for cell in cells:
        if getattr(cell, quantity) is not None:
            found.setdefault(series_key(cell), {}).setdefault(cell.image_bytes, cell)
    return {key: [rows[size] for size in sorted(rows)] for key, rows in found.items()}


def growth_records(cells: Sequence[CellRecord]) -> tuple[GrowthRecord, ...]:
    """One record for every series of two sizes or more.

    A series never crosses a break of the slice rule, a build or a source. An exponent that can't
    be told is None (see above). ``extra_exponent`` is the slope of the extra seconds, and ``None``
    unless they are resolved from noise at *every* size (see ``extra_is_resolved``): leaving out
    the sizes where they are not would keep those that noise has raised.
    """
    found = series(cells).values()
    return tuple(growth_of(rows, cells) for rows in found if len(rows) >= 2)


def growth_of(rows: Sequence[CellRecord], among: Sequence[CellRecord] = ()) -> GrowthRecord:
    """The growth record of one series, two sizes or more; ``among`` holds its plain rows.

    Raises ``UserError`` where the rows are not one series.
    """
    keys = {series_key(row) for row in rows}
    if len(keys) != 1:
        raise UserError(_mixed(keys))
    (key,) = keys
    sizes = [row.image_bytes for row in rows]
    slope = _told_slope(sizes, [_seconds(row) for row in rows], [row.interval_s for row in rows])
    extra = None
    if all(extra_is_resolved(row, plain_of(row, among)) for row in rows):
        ends = [extra_interval(row, plain_of(row, among)) for row in rows]
        extra = _told_slope(sizes, [row.extra_s or 0.0 for row in rows], ends)
    return GrowthRecord(
        source=rows[0].source,
        build=key.build,
        setup=rows[0].setup,
        cluster_bytes=key.cluster_bytes,
        l2_slice_bytes=key.l2_slice_bytes,
        exponent=slope.exponent if slope else None,
        interval=slope.interval if slope else None,
        extra_exponent=extra.exponent if extra else None,
        extra_interval=extra.interval if extra else None,
        sizes=tuple(sizes),
    )


def _told_slope(
    sizes: Sequence[int],
    values: Sequence[float],
    intervals: Sequence[tuple[float, float] | None],
) -> Slope | None:
    """The slope with the interval that both errors give; None where that may not be told."""
    ends = [interval for interval in intervals if interval is not None and interval[0] > 0]
    if len(ends) < len(sizes):
        return None
    exponent, scatter = loglog_slope(sizes, values)
    low, high = _slopes_inside(sizes, ends)
    half = (scatter[1] - scatter[0]) / 2 if scatter else 0.0
    if max(exponent - low, high - exponent) + half > WIDEST_HALF:
        return None
    return Slope(exponent, (low - half, high + half))


def _slopes_inside(
    sizes: Sequence[int], ends: Sequence[tuple[float, float]]
) -> tuple[float, float]:
    """Least and most slope over values inside the intervals: it is linear in each logarithm."""
    x, y = np.log(np.asarray(sizes, float)), np.log(np.asarray(ends))
    weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    falls, rises = np.minimum(weights, 0), np.maximum(weights, 0)
    low, high = y.T
    return float(rises @ low + falls @ high), float(rises @ high + falls @ low)


def extra_interval(cell: CellRecord, plain: CellRecord | None) -> tuple[float, float] | None:
    """Extra seconds that values inside both rows' intervals can give, not below 0.

    None without an interval of one kind on both rows.
    """
    if plain is None or cell.interval_s is None or plain.interval_s is None:
        return None
    if cell.interval_kind != plain.interval_kind:
        return None
    low, high = cell.interval_s[0] - plain.interval_s[1], cell.interval_s[1] - plain.interval_s[0]
    return max(low, 0.0), max(high, 0.0)


def plain_of(cell: CellRecord, among: Iterable[CellRecord]) -> CellRecord | None:
    """The plain row that a row is compared with: same source, build, mode, size and clusters."""
    wanted = series_key(cell)._replace(setup="plain")
    rows = (row for row in among if row.image_bytes == cell.image_bytes)
    return next((r for r in rows if series_key(r) == wanted and r.work_s is not None), None)


def extra_is_resolved(cell: CellRecord, plain: CellRecord | None) -> bool:
    """Whether a row's extra seconds stand out of the noise.

    With intervals on both rows: they do not overlap, so that no pair of values inside them gives an
    extra of 0. Without: the extra is above ``RESOLVED_SHARE`` of the plain row.
    """
    if plain is None or plain.work_s is None or cell.extra_s is None or cell.extra_s <= 0:
        return False
    if cell.interval_s is not None and plain.interval_s is not None:
        return cell.interval_s[0] > plain.interval_s[1]
    return cell.extra_s > RESOLVED_SHARE * plain.work_s


def over_plain(cell: CellRecord, among: Iterable[CellRecord]) -> CellRecord:
    """The row with its extra seconds, and its scan rate where these stand out of the noise.

    A plain row has neither. A deny row has no scan rate: it reads seven words a query, and its
    extra seconds are the filters' own work.
    """
    plain = plain_of(cell, among)
    if cell.setup == "plain" or cell.work_s is None or plain is None:
        return cell
    assert plain.work_s is not None  # plain_of gives no other
    extra_s = cell.work_s - plain.work_s
    cell = replace(cell, extra_s=extra_s)
    if cell.setup == "deny" or cell.words_examined is None or not extra_is_resolved(cell, plain):
        return cell
    return replace(cell, scan_rate_words_s=cell.words_examined / extra_s)


def _seconds(cell: CellRecord) -> float:
    if cell.work_s is None:
        raise UserError(
            f"a growth exponent needs undisturbed seconds at every size, not {cell}: leave it out"
        )
    return cell.work_s


def _mixed(keys: set[SeriesKey]) -> str:
    columns = dict(zip(SeriesKey._fields, zip(*keys, strict=True), strict=True))
    name, values = next((n, set(v)) for n, v in columns.items() if len(set(v)) > 1)
    found = ", ".join(sorted(str(value) for value in values))
    return f"one line needs rows of one {name}, not of {found}: fit them one at a time"
