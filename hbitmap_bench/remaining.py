"""How long will a build-up that is under way still take? Arithmetic alone: nothing is measured.

At offset X of a disk of N bytes a query takes a + b w seconds: a is QEMU's own cost, b the time of
a word, and w = (N - X) / (64 c) the words from X to the end, c the bytes of a copy cluster. An
answer moves X by r bytes. So if the scan has the share s of the time at X, where the build-up moves
at the speed v = r / (a + b w), then what is left takes

    (N - X) / r * (a + b w / 2)  =  (N - X) / v * (1 - s / 2),

since the words of the queries to come fall from w to 0, w / 2 on average. Neither r nor c nor b has
to be known. With s = 0 (a deny bitmap, no filter) it is (N - X) / v; with s = 1 half of that.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from scipy import stats

CONFIDENCE: Final = 0.95
PARTS: Final = 8
"""A window is cut into so many parts: how their speeds differ is how sure the speed is."""

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Motion:
    """Offset (bytes) in the middle of a window, speed there (bytes/s) with its 95% interval."""

    offset: float
    speed: float
    interval: Interval


def motion(times_s: Sequence[float], offsets: Sequence[float]) -> Motion | None:
    """The motion in a window of samples; None where it does not go forwards all the time.

    The speed is that from end to end; its interval is a t interval over ``PARTS`` parts of the
    window. Needs two samples a part.
    """
    n = len(times_s)
    backwards = any(b < a for a, b in pairwise(offsets))
    if n < 2 * PARTS or backwards or offsets[-1] == offsets[0]:
        return None
    ends = [round(i * (n - 1) / PARTS) for i in range(PARTS + 1)]
    speeds = [(offsets[j] - offsets[i]) / (times_s[j] - times_s[i]) for i, j in pairwise(ends)]
    speed = (offsets[-1] - offsets[0]) / (times_s[-1] - times_s[0])
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, PARTS - 1))
    half *= statistics.stdev(speeds) / math.sqrt(PARTS)
    middle = (offsets[0] + offsets[-1]) / 2
    return Motion(middle, speed, (max(speed - half, 0.0), speed + half))


def seconds_left(left_bytes: float, speed: float, scan_share: float) -> float:
    """The formula above; infinite at a standstill. O(1)."""
    return left_bytes / speed * (1 - scan_share / 2) if speed > 0 else math.inf


def interval_left(left_bytes: float, speed: Interval, scan_share: Interval) -> Interval:
    """Its range where speed and share have ranges: from fast and scanning to slow and not. O(1)."""
    return (
        seconds_left(left_bytes, speed[1], scan_share[1]),
        seconds_left(left_bytes, speed[0], scan_share[0]),
    )


def scan_rate(left_bytes: float, moved: Motion, share: float, answer: int, bit: int) -> float:
    """Words a second of scanning: words a query, times queries a second, over the scan's share.

    ``answer`` is how far one answer reaches, ``bit`` the copy cluster, in bytes. O(1).
    """
    words = left_bytes / bit / 64
    return words * (moved.speed / answer) / share


def left_by_scan_rate(
    query_s: float, scan_share: float, words_s: float, answer: int, bit: int, most_bytes: int
) -> float:
    """Bytes left where no offset is seen, from the words that a query must be reading. O(1).

    w = s * (seconds a query) * (words a second); at most the whole disk.
    """
    return min(query_s * scan_share * words_s * 64 * bit, float(most_bytes))
