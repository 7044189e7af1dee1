"""Which bitmap a build-up scans for a zero bit: the access bitmap, the done bitmap, or both.

Both are searched by one function. Who called it tells them apart, where perf can unwind the stack;
else what QMP tells of the bitmaps: the first unnamed one of the filter is the access or the deny
bitmap, the second one the done bitmap.
"""

from __future__ import annotations

from typing import Final, Literal

from hbitmap_bench.field.diagnose.job import View
from hbitmap_bench.field.diagnose.watch import Window

SCANS: Final = 0.1
"""From this share of the window's time on the scan is what the time goes into."""

ONE_BITMAP: Final = 0.9
"""From this share of the scan's samples on, one bitmap's scan is all that counts."""

Scan = Literal["access-scan", "done-scan", "both-scans"]


def kind_of(done: float) -> Scan:
    """Of a scan, by the done bitmap's share of it."""
    if done >= ONE_BITMAP:
        return "done-scan"
    return "both-scans" if done > 1 - ONE_BITMAP else "access-scan"


def done_share_of(view: View, window: Window) -> float:
    """The done bitmap's share of the scan, by who called it, else by how much of it is set.

    A deny bitmap is never scanned for a zero. An access bitmap is scanned to the disk's end, and a
    done bitmap as far only if all of it is set: its share is a half then, and less otherwise,
    whatever a few samples say. Where nobody saw the callers, a part is taken as not scanned at all.
    """
    if view.detected == "deny":
        return 1.0
    if view.done_part in (0, 1):
        return view.done_part / 2
    share = window.done_share or 0.0
    return min(share, 0.5) if view.detected == "access" else share


def seen_scan(view: View, window: Window) -> Scan | None:
    """The scan that takes the time, where that was sampled."""
    share = window.scan_share
    if share is None or share.middle < SCANS or view.filter is None:
        return None
    if view.detected == "deny" and not view.done_part:
        return None
    kind = kind_of(done_share_of(view, window))
    return None if kind == "access-scan" and view.detected != "access" else kind


def likely_scan(view: View) -> Scan | None:
    """The scan that is likely to take the time, by the bitmaps alone."""
    if view.detected == "access":
        return "both-scans" if view.done_part == 1 else "access-scan"
    return "done-scan" if view.detected == "deny" and view.done_part == 1 else None
