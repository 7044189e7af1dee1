"""Statistics of paired rounds: pure functions, no I/O.

A round measures both sides of a cell, one right after the other, in an order that alternates; each
side's samples of a round are summarised first (``summary``). If nothing changed, either side of a
round could as well have been the other: all 2^n ways to swap sides in n rounds are as likely, and
the share of those whose statistic is at least the one seen is an exact p, whatever the noise looks
like (a permutation test of paired draws, after Fisher). So it is where only a subgroup of the ways
is tried, which is what ``swaps`` does beyond ``MOST_EXACT`` rounds.

What stays with a side through all rounds is no noise to such a test. One thing does that is not the
change's: where the installed copies of the files lie in memory, which has made one side 10% slower.
So sides exchange environments halfway, and the statistic looks at the faster half of either.

The statistic is the log ratio of two ``fast_mean``: a side's mean over its faster half of the
rounds, without the fastest tenth. Noise on a shared machine comes in bursts that slow one process
by half, and mostly adds time: the slower half says how busy the machine was. The very fastest are
left out since a lucky round or two, in which a core ran above its usual speed, would decide alone.
Simulated at +10% and a band of 5%, means of log ratios see as much under normal noise, and half as
much where a tenth of the processes is slowed (``checks/gate_power.py``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bits = NDArray[np.bool_]

MOST_EXACT: Final = 13
"""Up to 2^13 ways to swap are all tried; with more rounds, a subgroup of as many."""

TIE: Final = 1e-12
"""Log ratios closer than this are one: what the order of a sum makes of it."""

N_RESAMPLED: Final = 4000
POWER: Final = 0.95
"""With which ``smallest_change`` would be seen."""

RARE: Final = (1 - math.sqrt(POWER)) / 7
"""Less than the chance that one of two passes may fail, since both distances are known from the
same few rounds, which are as often too quiet as too loud. Simulated with 12 and 28 rounds, the
change that a cell names is seen in 94 to 98 of a hundred runs; in 89 where a quarter of all
processes is slowed, which a lucky run can't know."""

NEAREST: Final = 2.0**-6
FARTHEST: Final = 1.0
"""Distances of a bound from its value, as log ratios, where the search begins and where it ends."""

STEPS: Final = 16
"""Of the search; seven at most double the distance, and 2^-9 of that remains of it, or less."""


class Estimate(NamedTuple):
    """A value and its one-sided bounds at a level: each is passed by chance so often at most."""

    value: float
    low: float
    high: float


def summary(samples: Sequence[float]) -> float:
    """What a side's samples in a round stand for: the fastest, since noise only adds time."""
    return min(samples)


def fast_mean(values: Floats) -> Floats:
    """The mean of the faster half, rounded up, less the fastest tenth, along the last axis."""
    n = values.shape[-1]
    found: Floats = np.sort(values, axis=-1)[..., n // 10 : (n + 1) // 2].mean(axis=-1)
    return found


def log_ratio(base: Floats, head: Floats) -> float:
    """log(head / base) of the fast means; ``base`` and ``head`` are seconds, one a round."""
    return float(np.log(fast_mean(head) / fast_mean(base)))


def smallest_p(n_rounds: int) -> float:
    """The smallest p that so many rounds can give: one way of all to swap them.

    Where rounds are all alike, as peaks may be, swaps of no more than the fastest tenth change
    nothing: 12 rounds then give 13 of 4096 at best.
    """
    return 2.0 ** -min(n_rounds, MOST_EXACT)


def p_above(base: Floats, head: Floats, bound: float) -> float:
    """Chance of a log ratio as far above ``bound`` as this one, if it were ``bound``: O(n 2^n)."""
    ways, value = swaps(len(base)), log_ratio(base, head)
    return float(_is_beyond(base, head, bound, ways, value).mean())


def estimate(base: Floats, head: Floats, level: float) -> Estimate:
    """The log ratio, and the bounds that ``p_above`` rejects at ``level`` on either side.

    -inf and inf where so few rounds can never reject. Costs some 6 tests by ``p_above``.
    """
    low, high = _bound(base, head, level), -_bound(head, base, level)
    return Estimate(log_ratio(base, head), low, high)


def smallest_change(base: Floats, head: Floats, found: Estimate, band: float) -> float:
    """The smallest relative change that such rounds would have shown, with a power of ``POWER``.

    ``found`` is their estimate. A change is shown if its lower bound lies above the band, in two
    passes: so it must exceed the band by what lies between value and bound, and by what the value
    may fall short of it in one pass of forty. The latter is the distance of a bound too, at
    ``RARE``. The second pass has the rounds to see at its own level what the first one sees.
    Infinite where there is no bound.
    """
    reach = 2 * found.value - found.low - _bound(base, head, RARE)
    return math.expm1(math.log1p(band) + reach) if math.isfinite(reach) else math.inf


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
    ways = swaps(base.shape[-1]).T[:, None, :]
    first, second = np.where(ways, flat, base), np.where(ways, base, flat)
    found = slope(sizes, second) - slope(sizes, first)
    return float((found >= found[0] - TIE).mean())  # the first swaps nothing


# ---------------------------------------------------------------- swaps


@lru_cache(maxsize=8)
def swaps(n: int) -> Bits:
    """Ways to swap n rounds, (n, ways), the first swapping none: all 2^n, or 2^MOST_EXACT.

    Those are a subgroup: all combinations of ``MOST_EXACT`` patterns, in which every round is
    swapped in half of the ways, and every two rounds are together in half of them.
    """
    free = min(n, MOST_EXACT)
    every = (np.arange(2**free) >> np.arange(free)[:, None]) & 1
    patterns = np.random.default_rng(0).integers(0, 2, (free, n - free))
    found: Bits = np.concatenate([every, patterns.T @ every % 2]) == 1
    return found


def _is_beyond(base: Floats, head: Floats, bound: float, ways: Bits, value: float) -> Bits:
    """Of each way: whether it is as far above ``bound`` as that of no swap, at ``value``."""
    of_base, of_head = _fast_sums(base, head * math.exp(-bound), ways)
    beyond: Bits = np.log(of_head / of_base) >= value - bound - TIE
    return beyond


def _fast_sums(base: Floats, head: Floats, ways: Bits) -> tuple[Floats, Floats]:
    """Of each way and side, the sum of what ``fast_mean`` takes the mean of.

    All values are sorted once, and dealt in that order to the side that a way puts them on: 2n
    steps over all ways, an eighth of the time of sorting each way's sides at 12 rounds, and a
    third at 28.
    """
    n = len(base)
    both = np.concatenate([base, head])
    order = np.argsort(both)
    to_base = np.concatenate([~ways, ways])[order]
    n_base = _running_sums(to_base)
    n_head = np.arange(1, 2 * n + 1, dtype=n_base.dtype)[:, None] - n_base
    lucky, half = n // 10, (n + 1) // 2
    return (
        both[order] @ (to_base & (n_base > lucky) & (n_base <= half)),
        both[order] @ (~to_base & (n_head > lucky) & (n_head <= half)),
    )


def _running_sums(rows: Bits) -> NDArray[np.unsignedinteger[Any]]:
    """Sums of each column down to each row; row by row, since ``cumsum`` goes column by column."""
    found = np.empty(rows.shape, np.min_scalar_type(len(rows)))
    found[0] = rows[0]
    for above, row, below in zip(found, rows[1:], found[1:], strict=False):
        np.add(above, row, out=below)
    return found


def _bound(base: Floats, head: Floats, level: float) -> float:
    """The largest bound below the value that ``p_above`` rejects; -inf if none within a factor e.

    By doubling the distance, then bisection. As the bound falls by d, the log ratio of no swap
    rises by d, and that of no way rises by more: a way that is not beyond is not beyond for any
    lower bound. So each step need only look at the ways that the steps before have not decided.
    """
    ways = swaps(len(base))
    n_ways, n_beyond = ways.shape[1], 0
    value = log_ratio(base, head)
    low, high, distance = -math.inf, value, NEAREST
    for _ in range(STEPS):
        bound = value - distance if low == -math.inf else (low + high) / 2
        beyond = _is_beyond(base, head, bound, ways, value)
        if (n_beyond + int(beyond.sum())) / n_ways <= level:
            low, ways, n_beyond = bound, ways[:, ~beyond], n_beyond + int(beyond.sum())
        else:
            high, ways, distance = bound, ways[:, beyond], distance * 2
        if low == -math.inf and distance > FARTHEST:
            break
    return low
