"""Intervals of medians."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

from scipy.stats import quantile_test

CONFIDENCE: Final = 0.95

LEAST: Final = 6
"""Fewer values have no interval: the median lies beyond all five in one case of sixteen."""


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95% interval of the median, from order statistics: no shape is assumed.

    None of fewer than ``LEAST`` values. Source: any text on the sign test; here SciPy's
    ``quantile_test``.
    """
    if len(values) < LEAST:
        return None
    # Its stubs take the pair for a number.
    low, high = cast(
        tuple[float, float], quantile_test(values, p=0.5).confidence_interval(CONFIDENCE)
    )
    return float(low), float(high)
