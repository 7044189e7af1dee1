"""Statistics of paired rounds: pure functions, no I/O.

A round measures both sides of a cell, one right after the other, in an order that alternates; each
side's samples of a round are summarised first (``summary``). If nothing changed, either side of a
round could as well have been the other: all 2^n ways to swap sides in n rounds are as likely, and
the share of those whose statistic is at least the one seen is an exact p, whatever the noise looks
like (a permutation test of paired draws, after Fisher).

The statistic is the log ratio of two ``fast_mean``: a side's mean over its fastest half of the
rounds. Noise on a shared machine comes in bursts that slow one process by half, and only ever adds
time. Simulated with n = 12, +10% and a band of 5% (``tests/test_gate_power.py``), means of log
ratios see as much under normal noise, and half as much where a tenth of the processes is slowed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Bits = NDArray[np.bool_]

MOST_EXACT: Final = 13
"""Up to 2^13 ways to swap are all tried; with more rounds as many are drawn, by a fixed seed."""

N_RESAMPLED: Final = 4000
POWER: Final = 0.95
"""With which ``smallest_change`` would be seen."""

STEPS: Final = 30
"""Of bisection: a billionth of where it starts."""


class Estimate(NamedTuple):
    """A value and its one-sided bounds at a level: each is passed by chance so often at most."""

    value: float
    low: float
    high: float


def summary(samples: Sequence[float]) -> float:
    """What a side's samples in a round stand for: the fastest, since noise only adds time."""
    return min(samples)


def fast_mean(values: Floats) -> Floats:
    """The mean of the fastest half, rounded up, along the last axis."""
    half = (values.shape[-1] + 1) // 2
    found: Floats = np.partition(values, half - 1, axis=-1)[..., :half].mean(axis=-1)
    return found


def log_ratio(base: Floats, head: Floats) -> float:
    """log(head / base) of the fast means; ``base`` and ``head`` are seconds, one a round."""
    return float(np.log(fast_mean(head) / fast_mean(base)))


def smallest_p(n_rounds: int) -> float:
    """The smallest p that so many rounds can give: one way of all to swap them."""
    return 2.0 ** -min(n_rounds, MOST_EXACT)


def p_above(base: Floats, head: Floats, bound: float) -> float:
    """Chance of a log ratio as far above ``bound`` as this one, if it were ``bound``: O(n 2^n)."""
    return _p_beyond(lambda b, h: np.log(fast_mean(h) / fast_mean(b)), base, _shift(head, bound))


def estimate(base: Floats, head: Floats, level: float) -> Estimate:
    """The log ratio, and the bounds that ``p_above`` rejects at ``level`` on either side.

    -inf and inf where so few rounds can never reject. Costs some 60 tests by ``p_above``.
    """
    value = log_ratio(base, head)
    low = _bound(lambda bound: p_above(base, head, bound) <= level, value)
    high = -_bound(lambda bound: p_above(head, base, bound) <= level, -value)
    return Estimate(value, low, high)


def smallest_change(found: Estimate, band: float, level: float) -> float:
    """The smallest relative change that such rounds would have shown, with a power of 95%.

    The lower bound lies ``half`` below the value at ``level``; a normal statistic of that spread
    has its bound above the band in ``POWER`` of all runs if the change is band + half *
    (1 + z(power) / z(level)), in logarithms. Infinite where there is no bound.
    """
    half = found.value - found.low
    if not math.isfinite(half):
        return math.inf
    reach = half * (1 + stats.norm.ppf(POWER) / stats.norm.isf(level))
    return math.expm1(math.log1p(band) + reach)


# ---------------------------------------------------------------- growth


def slope(sizes: Floats, seconds: Floats) -> Floats:
    """Log-log slope of the fast means over the sizes; ``seconds`` is (..., sizes, rounds)."""
    x = np.log(sizes) - np.log(sizes).mean()
    found: Floats = np.log(fast_mean(seconds)) @ x / (x @ x)
    return found


def slope_estimate(sizes: Floats, seconds: Floats, level: float) -> Estimate:
    """The slope, and its bounds at ``level`` by resampling whole rounds (bootstrap, percentiles).

    ``seconds`` is (sizes, rounds). Holds what rounds differ in; that the line itself may bend where
    a cache ends is left to the margin that the slope is held against.
    """
    n = seconds.shape[-1]
    drawn = np.random.default_rng(0).integers(0, n, (N_RESAMPLED, n))
    slopes = slope(sizes, np.moveaxis(seconds[:, drawn], 1, 0))
    low, high = np.quantile(slopes, [level, 1 - level])
    return Estimate(float(slope(sizes, seconds)), float(low), float(high))


def p_steeper(sizes: Floats, base: Floats, head: Floats, bound: float) -> float:
    """Chance that the head's slope lies so far above the base's, were it ``bound`` above it.

    ``base`` and ``head`` are (sizes, rounds); a round is swapped with all its sizes.
    """
    flat = head * (sizes[:, None] / sizes[0]) ** -bound
    return _p_beyond(lambda b, h: slope(sizes, h) - slope(sizes, b), base, flat)


# ---------------------------------------------------------------- swaps


def _p_beyond(statistic: Callable[[Floats, Floats], Floats], base: Floats, head: Floats) -> float:
    """Share of all swaps whose statistic is at least that of none; those lie along axis 0."""
    swapped = swaps(base.shape[-1])
    if base.ndim > 1:
        swapped = swapped[:, None, :]
    found = statistic(np.where(swapped, head, base), np.where(swapped, base, head))
    return float(np.mean(found >= found[0] - 1e-12))  # the first swaps nothing; ties count


def _shift(values: Floats, log_factor: float) -> Floats:
    return values * math.exp(-log_factor)


def _bound(rejects: Callable[[float], bool], value: float) -> float:
    """The largest bound below ``value`` that is still rejected; -inf if none within a factor e."""
    low, high = value - 1.0, value
    if not rejects(low):
        return -math.inf
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if rejects(middle) else (low, middle)
    return low


@lru_cache(maxsize=8)
def swaps(n: int) -> Bits:
    """Ways to swap n rounds, a row each, the first swapping none: all 2^n, or drawn ones."""
    if n <= MOST_EXACT:
        every: Bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1 == 1
        return every
    drawn = np.random.default_rng(0).random((2**MOST_EXACT, n)) < 0.5
    drawn[0] = False
    return drawn
