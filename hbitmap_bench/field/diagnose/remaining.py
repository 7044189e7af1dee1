"""How long will a build-up that is under way still take? Arithmetic alone: nothing is measured.

At offset X of a disk of N bytes a query takes a + b w seconds: a is QEMU's own cost, b the time of
a word, and w = (N - X) / (64 c) the words from X to the end, c the bytes of a copy cluster. An
answer moves X by r bytes. So where L = N - X is left, and the scan has the share s of the time, the
build-up moves at the speed v = r / (a + b w), with a / r = (1 - s) / v and b w / r = s / v. From
there on to where E <= L is left, words fall as what is left does; from E to the end it takes

    E / r * (a + b w E / L / 2)  =  E / v * (1 - s + s / 2 * E / L),

since the words of the queries to come fall to 0, half of them on average. Neither r nor c nor b has
to be known. With E = L that is L / v * (1 - s / 2): with s = 0 (a deny bitmap, no filter) L / v,
with s = 1 half of that.

A done bitmap is scanned like that if all of it is set. If only a part is, the run of done clusters
that X is in may end anywhere ahead: then that scan's share of the time is gone at once.

A window has a mean speed and a mean share. They are exactly those at the offset in its middle (the
mean of its two ends), since the time of a query is linear in X; E is what is left at its end. All
this holds as long as a and b do: other work on the host changes both.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

from scipy import stats

CONFIDENCE: Final = 0.95
PARTS: Final = 8
"""A window is cut into so many parts: how their speeds differ is how sure the speed is."""

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Motion:
    """Offset (bytes) in the middle of a window, speed there (bytes/s) with its 95% interval.

    ``end`` is the offset that was seen last.
    """

    offset: float
    end: float
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
    return Motion(middle, offsets[-1], speed, (max(speed - half, 0.0), speed + half))


class Rest(NamedTuple):
    """Bytes left where speed and share were seen (L above), and bytes left now (E)."""

    seen: float
    now: float


def seconds_left(rest: Rest, speed: float, scan_share: float, gone_share: float = 0.0) -> float:
    """The formula above; infinite at a standstill. ``gone_share`` is spent no more. O(1)."""
    if not rest.now:
        return 0.0
    of_scan = rest.now / rest.seen / 2
    spent = 1 - scan_share * (1 - of_scan) - gone_share
    return rest.now / speed * spent if speed > 0 else math.inf


def interval_left(
    rest: Rest, speed: Interval, scan_share: Interval, gone_share: float = 0.0
) -> Interval:
    """Its range where speed and share have ranges: from fast and scanning to slow and not. O(1).

    ``gone_share`` is what may be spent no more.
    """
    gone_share = min(gone_share, 1 - scan_share[1])
    return (
        seconds_left(rest, speed[1], scan_share[1], gone_share),
        seconds_left(rest, speed[0], scan_share[0]),
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
