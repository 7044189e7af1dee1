"""The growth exponent: how build-up seconds grow with the image size, within one slice regime.

t = c * n^e is a straight line in logarithms, and e its slope. It is fitted by ordinary least
squares on log t over log n, so that every size weighs the same in relative terms, whatever its
seconds. Its interval comes from both kinds of error, and errs to the wide side by adding them:
- the t interval of the slope with (sizes - 2) degrees of freedom, from the scatter *between sizes*,
  which holds what the runs of one size share: the state of the machine, any bend of the line. What
  it covers is measured in tests/test_growth.py. Two sizes have none: they lie on their line;
- the least and the most slope that values inside the rows' own intervals can give.
A row without an interval of its own (a single run) leaves the series without an exponent, and so
does an interval wider than +-0.5: of two sizes 10% apart the growth in percent can be told.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from hbitmap_bench.errors import UserError
from hbitmap_bench.records import CellRecord, GrowthRecord

CONFIDENCE: Final = 0.95

WIDEST_HALF: Final = 0.5
"""An exponent that may be off by more tells linear from quadratic no longer."""

MIN_SIZES_FOR_INTERVAL: Final = 3
"""Two points lie on their line exactly: they give a slope and no sign of its error."""

RESOLVED_SHARE: Final = 0.2
"""Without intervals, extra seconds count as resolved above this share of the plain row's.

Sessions on one machine drift by 3 to 10%; two rows 10% off in opposite ways differ by 20%.
"""


class Slope(NamedTuple):
    """A log-log slope; its interval is ``None`` below three sizes."""

    exponent: float
    interval: tuple[float, float] | None


class Slopes(NamedTuple):
    """Log-log slopes of many rows of values: float64 arrays, one number a row.

    ``value`` is NaN below two sizes. ``low`` and ``high``, the interval, are NaN below three, and
    for a constant, which has no scatter to make one of. ``n_sizes`` counts what was fitted over.
    """

    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    n_sizes: NDArray[np.int64]


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


def series(cells: Iterable[CellRecord]) -> dict[SeriesKey, list[CellRecord]]:
    """Rows by series, each in ascending image size; a size that comes twice counts once.

    Rows without seconds are left out, and disturbed ones. Order of the series is that of their
    first rows.
    """
    found: dict[SeriesKey, dict[int, CellRecord]] = {}
    for cell in cells:
        if cell.work_s is not None:
            found.setdefault(series_key(cell), {}).setdefault(cell.image_bytes, cell)
    return {key: [rows[size] for size in sorted(rows)] for key, rows in found.items()}


def loglog_slope(sizes: Sequence[float], values: Sequence[float]) -> Slope:
    """Least-squares slope of log(values) over log(sizes), with its 95% t interval.

    ``sizes`` and ``values`` are positive, of one length n >= 2, sizes not all equal. O(n). Raises
    ``ValueError`` otherwise.
    """
    x, y = np.asarray(sizes, float), np.asarray(values, float)
    if x.shape != y.shape or x.ndim != 1 or len(np.unique(x)) < 2:
        raise ValueError(f"a slope needs two sizes or more, a value each, not {x.size}, {y.size}")
    if not (np.all(x > 0) and np.all(y > 0)):
        raise ValueError(f"a log-log slope needs positive numbers, not {min(x.min(), y.min())}")
    fits = loglog_slopes(x, y[None, :])
    exponent, low, high = (float(ends[0]) for ends in fits[:3])
    return Slope(exponent, (low, high) if len(x) >= MIN_SIZES_FOR_INTERVAL else None)


def loglog_slopes(sizes: NDArray[np.float64], values: NDArray[np.float64]) -> Slopes:
    """Slopes as ``loglog_slope``, of each row of ``values`` over those sizes where it has one.

    ``sizes`` has shape (n,), positive and distinct; ``values`` (rows, n), and what is not finite
    and positive in it is left out. Some 10 us a call and 0.1 us a number: SciPy's ``linregress``
    takes 0.5 ms a row, and pages need a row for every commit and line.
    """
    usable = np.isfinite(values) & (values > 0)
    n_sizes = usable.sum(axis=1)
    x = np.where(usable, np.log(sizes), 0)
    y = np.log(np.where(usable, values, 1))
    # Over the least value, so that a constant's deviations are 0 and not a rounding.
    y -= np.where(usable, y, np.inf).min(axis=1, initial=np.inf)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        dx = np.where(usable, x - (x.sum(axis=1) / n_sizes)[:, None], 0)
        dy = np.where(usable, y - (y.sum(axis=1, where=usable) / n_sizes)[:, None], 0)
        sxx, sxy, syy = (dx * dx).sum(axis=1), (dx * dy).sum(axis=1), (dy * dy).sum(axis=1)
        slope = sxy / sxx
        r = np.clip(sxy / np.sqrt(sxx * syy), -1, 1)  # rounding goes beyond, on an exact line
        stderr = np.sqrt((1 - r * r) * syy / sxx / (n_sizes - 2))
        half = special.stdtrit(n_sizes - 2, (1 + CONFIDENCE) / 2) * stderr
    half[n_sizes < MIN_SIZES_FOR_INTERVAL] = np.nan
    return Slopes(slope, slope - half, slope + half, n_sizes)


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
