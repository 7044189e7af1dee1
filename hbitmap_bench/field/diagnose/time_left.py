"""How long a build-up still takes, by what was seen of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from hbitmap_bench.field.diagnose import remaining
from hbitmap_bench.field.diagnose.facts import Facts
from hbitmap_bench.field.diagnose.job import Node
from hbitmap_bench.field.diagnose.remaining import Interval
from hbitmap_bench.field.diagnose.scans import ONE_BITMAP, SCANS, done_share_of
from hbitmap_bench.field.diagnose.watch import Share, Window
from hbitmap_bench.qemu.geometry import answer_bytes
from hbitmap_impl.image import default_l2_slice

READS: Final = 64 * 1024
"""From so many bytes a second on L2 tables are read; the event loop alone reads far less."""

SMALL: Final = 0.1
"""Scans that may lie ahead leave an estimate as it is up to this share of it."""

ASSUMED_RATES: Final = (1e9, 4e9)
"""Words a second, where the offset is not seen: 1.45 and 2.9 G were measured on two builds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """Seconds that the build-up still takes when all has been seen, with their range.

    Its lower end is with a processor for itself; else the host is taken to stay as busy as it was.
    ``offset`` is where it stood in the middle of the window, None where that is not seen;
    ``words_s`` the scan rate (words a second), None where nothing was scanned.
    """

    seconds: float | None
    interval: Interval
    offset: float | None
    speed: float
    words_s: float | None


class Course(NamedTuple):
    """How the scan's share of the time goes on.

    ``falls`` is of ``n_scans`` scans that go to the disk's end. ``may_end`` is of the scan of a
    done bitmap that is set in part: that run may end anywhere, and others may lie ahead.
    """

    falls: Share
    may_end: Share
    n_scans: int


def time_left(facts: Facts) -> Left | None:
    """From the offset where it is seen, else from the bytes read; None without either."""
    if facts.window is None or facts.image is None or not facts.image.size:
        return None
    if facts.window.moved is not None:
        left = _from_offset(facts, facts.window, facts.image)
    else:
        left = _from_reads(facts, facts.window, facts.image)
    return left and _aged(left, facts.age_s)


def _course(facts: Facts, window: Window) -> Course | None:
    """None where the scan's share was not sampled."""
    share, view = window.scan_share, facts.view
    if share is None or view is None:
        return None
    done = done_share_of(view, window)
    n_scans = (view.detected == "access" and done < ONE_BITMAP) + (view.done_part == 1)
    if view.done_part in (0, 1):
        return Course(share, Share(0.0, 0.0, 0.0), n_scans)
    access, may_end = (Share(*(end * part for end in share)) for part in (1 - done, done))
    if window.done_share is None and view.detected == "access":  # at most as much as the other
        may_end = Share(0.0, 0.0, share.high / 2)
        access = Share(share.low / 2, share.middle, share.high)
    return Course(access, may_end, n_scans)


def _aged(left: Left, age_s: float) -> Left:
    """What is left of it so many seconds later."""
    low, high = (max(end - age_s, 0.0) for end in left.interval)
    seconds = None if left.seconds is None else max(left.seconds - age_s, 0.0)
    return replace(left, seconds=seconds, interval=(low, high))


_UNSEEN: Final = Course(Share(0.0, 0.5, 1.0), Share(0.0, 0.0, 0.0), 0)


def _from_offset(facts: Facts, window: Window, image: Node) -> Left | None:
    moved = window.moved
    if moved is None or moved.end >= image.size:
        return None
    rest = remaining.Rest(image.size - moved.offset, image.size - moved.end)
    falls, may_end, n_scans = _course(facts, window) or _UNSEEN
    bit, rate = facts.bit_bytes, None
    if n_scans and falls.middle >= SCANS:
        reach = answer(_answering(facts, image), bit)
        rate = n_scans * remaining.scan_rate(rest.seen, moved, falls.middle, reach, bit)
    # It may wait for a processor no longer, as it did in the window.
    speeds = moved.interval[0], moved.interval[1] / window.served_share
    low, high = remaining.interval_left(rest, speeds, (falls.low, falls.high), may_end.high)
    ahead_s = _ahead_s(facts, rest.now)
    high = max(high, remaining.seconds_left(rest, speeds[0], falls.low, may_end.low) + ahead_s)
    likely_s = remaining.seconds_left(rest, moved.speed, falls.middle)
    is_known = may_end.middle < SCANS and ahead_s < SMALL * likely_s
    return Left(
        seconds=likely_s if is_known else None,
        interval=(low, high),
        offset=moved.offset,
        speed=moved.speed,
        words_s=rate,
    )


def _from_reads(facts: Facts, window: Window, image: Node) -> Left | None:
    """The offset is not seen: a range, from how fast L2 tables are read."""
    read = _answering(facts, image)
    if (window.read_speed or 0) < READS or window.read_speed is None or not read.cluster_bytes:
        return None
    speed = window.read_speed / read.l2_entry_bytes * read.cluster_bytes
    ends = [0.0, image.size / speed]
    course = _course(facts, window)
    if course is not None and course.n_scans:
        ends = _by_scan_rates(speed, read, facts.bit_bytes, course)
    interval = min(ends), max(ends) + _ahead_s(facts, image.size)
    return Left(seconds=None, interval=interval, offset=None, speed=speed, words_s=None)


def _by_scan_rates(speed: float, read: Node, bit: int, course: Course) -> list[float]:
    """Seconds left from the time of a question, at the slowest and at the fastest scan rate."""
    reach, ends = answer(read, bit), []
    falls, may_end, n_scans = course
    for rate, scan, gone in zip(
        ASSUMED_RATES, (falls.low, falls.high), (may_end.high, 0.0), strict=True
    ):
        left = remaining.left_by_scan_rate(
            reach / speed, scan / n_scans, rate, reach, bit, read.size
        )
        rest = remaining.Rest(left, left)
        ends.append(remaining.seconds_left(rest, speed, scan, min(gone, 1 - scan)))
    return ends


def _ahead_s(facts: Facts, left_bytes: float) -> float:
    """Seconds that scans of done clusters ahead take at most, where not all clusters are done.

    That is where they lie in one run, at the slowest scan rate: the questions about it, times half
    of its words.
    """
    part = facts.view.done_part if facts.view else 0.0
    if part in (0, 1) or facts.image is None:
        return 0.0
    run = min(part * facts.image.size, left_bytes)
    reach = answer(_answering(facts, facts.image), facts.bit_bytes)
    return run / reach * (run / facts.bit_bytes / 64 / 2) / ASSUMED_RATES[0]


def _answering(facts: Facts, image: Node) -> Node:
    """The node that answers now: the fleecing target for what the guest has overwritten."""
    view, window = facts.view, facts.window
    if view is None or window is None or facts.fleecing is None:
        return image
    is_done = view.done_part == 1 or (window.done_share or 0.0) > 1 - ONE_BITMAP
    return facts.fleecing if is_done else image


def answer(image: Node, bit: int) -> int:
    """How far one answer reaches, in bytes, with QEMU's default slice: QMP does not tell it."""
    if image.cluster_bytes is None:
        return bit
    entry = image.l2_entry_bytes
    l2_slice = default_l2_slice(image.size, image.cluster_bytes, entry)
    return answer_bytes(image.cluster_bytes, l2_slice, entry, bit)
