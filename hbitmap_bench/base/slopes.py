"""Log-log slopes, by ordinary least squares, with t intervals of their scatter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

CONFIDENCE: Final = 0.95

MIN_SIZES_FOR_INTERVAL: Final = 3
"""Two points lie on their line exactly: they give a slope and no sign of its error."""


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
    from scipy import special  # half a second, which a command without growth need not wait for

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
