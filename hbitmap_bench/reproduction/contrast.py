"""What may be said of one quantity on two sides: ratio or difference, range, finding.

Ranges are by interval arithmetic: they hold what every pair of values inside both intervals gives.
An interval holds what one session saw; what two sessions differ by without any change is ``DRIFT``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

from hbitmap_bench.reproduction.records import IntervalKind

DRIFT: Final = 0.10
"""Two sessions on one machine, with nothing changed, differ by 3 to 10%."""

SAME_EXPONENT: Final = 0.005
"""Exponents nearer than this read the same: they are written with two decimals."""

Finding = Literal["overlap", "within_drift", "lower", "higher", "no_interval"]
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value of one side; its interval where all rows it comes from have one of one kind.

    ``resolved`` is false for extra seconds that do not stand out of the noise.
    """

    value: float
    interval: Interval | None = None
    kind: IntervalKind | None = None
    resolved: bool = True


@dataclass(frozen=True, slots=True)
class Contrast:
    """One quantity of both sides; ``None`` for a side that does not have it."""

    a: Estimate | None
    b: Estimate | None

    @property
    def ratio(self) -> float | None:
        """B over A; ``None`` where A's value does not stand out of the noise, or B's is below 0."""
        if self.a is None or self.b is None or not self.a.resolved or self.b.value < 0:
            return None
        return _finite(self.b.value, self.a.value)

    @property
    def ratio_interval(self) -> tuple[float, float | None] | None:
        """Least and most of B over A; the most is ``None`` where A may be 0."""
        ends = _intervals(self.a, self.b)
        if ends is None or ends[0][1] <= 0:
            return None
        (a_low, a_high), (b_low, b_high) = ends
        low = _finite(b_low, a_high)
        return None if low is None else (low, _finite(b_high, a_low))

    @property
    def finding(self) -> Finding | None:
        """What may be said of B; ``None`` where a side has no value at all.

        Lower or higher only with intervals apart *and* the whole ratio beyond ``DRIFT``.
        """
        if self.a is None or self.b is None:
            return None
        ends = _intervals(self.a, self.b)
        if ends is None:
            return "no_interval"
        (a_low, a_high), (b_low, b_high) = ends
        if a_low <= b_high and b_low <= a_high:
            return "overlap"
        if b_high < a_low:
            return "lower" if b_high * (1 + DRIFT) < a_low else "within_drift"
        return "higher" if b_low > a_high * (1 + DRIFT) else "within_drift"


@dataclass(frozen=True, slots=True)
class Difference:
    """An exponent of both sides; ``None`` for a side that does not have it.

    No drift is allowed for: what a whole session shares leaves the slope as it is.
    """

    a: Estimate | None
    b: Estimate | None

    @property
    def value(self) -> float | None:
        """B less A."""
        return None if self.a is None or self.b is None else self.b.value - self.a.value

    @property
    def interval(self) -> Interval | None:
        """Least and most of B less A."""
        ends = _intervals(self.a, self.b)
        return None if ends is None else (ends[1][0] - ends[0][1], ends[1][1] - ends[0][0])

    @property
    def finding(self) -> Finding | None:
        """What may be said of B; ``None`` where a side has no value."""
        if self.a is None or self.b is None:
            return None
        ends = self.interval
        if ends is None:
            return "no_interval"
        if ends[0] <= SAME_EXPONENT and ends[1] >= -SAME_EXPONENT:
            return "overlap"
        return "lower" if ends[1] < 0 else "higher"


def interval_of(low: float, high: float) -> Interval | None:
    """An interval; ``None`` where numbers of a file are so extreme that an end is not finite."""
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def chance_apart(n_a: int, n_b: int) -> float:
    """How often min..max of n runs a side lie apart by chance: 2 / C(n_a + n_b, n_a).

    For runs of one distribution without ties: two of all orders have one side first.
    """
    return 2 / math.comb(n_a + n_b, n_a)


def _intervals(a: Estimate | None, b: Estimate | None) -> tuple[Interval, Interval] | None:
    """The intervals of two values, where both have one of one kind."""
    if a is None or b is None or a.interval is None or b.interval is None or a.kind != b.kind:
        return None
    return a.interval, b.interval


def _finite(over: float, under: float) -> float | None:
    value = over / under if under > 0 else math.inf
    return value if math.isfinite(value) else None
