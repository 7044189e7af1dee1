"""Why does a backup job stand still? A judgement of what was seen; nothing is asked here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from hbitmap_bench.base.sizes import format_size
from hbitmap_bench.field.diagnose.facts import Facts
from hbitmap_bench.field.diagnose.job import Job, View
from hbitmap_bench.field.diagnose.remedies import remedies
from hbitmap_bench.field.diagnose.scans import SCANS, Scan, kind_of, likely_scan, seen_scan
from hbitmap_bench.field.diagnose.time_left import READS, Left, time_left
from hbitmap_bench.field.diagnose.watch import Window
from hbitmap_impl.backup import MAX_COPY_BYTES

Kind = Literal[
    "access-scan", "done-scan", "both-scans", "build-up", "deny", "no-filter", "copying",
    "throttled", "paused", "waiting", "concluded", "no-job", "unknown",
]  # fmt: skip

BUSY: Final = 0.3
"""From this share of its time on a process works, or would if it had a processor."""

SLACK_BYTES: Final = 4 * MAX_COPY_BYTES
"""A job with a speed limit copies whole chunks, a few of them ahead of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The kind of standstill, in words too, and what follows from it."""

    kind: Kind
    reason: str
    left: Left | None = None
    remedies: tuple[str, ...] = ()


def diagnose(facts: Facts) -> Diagnosis:
    """Judge. What does not fit into any known kind is called unknown."""
    if facts.view is None:
        return _without_qmp(facts)
    job, later = facts.job, facts.job_later
    if job is None:
        others = ", ".join(sorted({other.kind for other in facts.view.jobs})) or "none at all"
        return Diagnosis(kind="no-job", reason=f"there is no backup job here (jobs: {others})")
    if later is None:
        return Diagnosis(kind="concluded", reason=f"the job {job.name} ended while we looked")
    return _stopped(later) or _copying(job, later, facts) or _at_zero(facts)


def _without_qmp(facts: Facts) -> Diagnosis:
    window = facts.window
    share = window.scan_share if window else None
    if window is not None and window.busy_share < BUSY:
        found = _waiting(window)
        reason = f"{found.reason}; without QMP it is not known whether there is a backup job at all"
        return replace(found, reason=reason)
    if window is not None and share is not None and share.middle >= SCANS:
        kind = kind_of(window.done_share or 0.0)
        reason = f"likely: it scans a bitmap for a zero, as a build-up over {_OVER[kind]} does"
        if window.done_share is None:
            reason += " (or over a done bitmap: who calls the scan was not seen)"
        reason += "; without QMP neither job nor filters are known"
        return Diagnosis(kind=kind, reason=reason, remedies=tuple(remedies(facts, kind)))
    return Diagnosis(kind="unknown", reason="without QMP neither job nor filters are known")


def _stopped(job: Job) -> Diagnosis | None:
    if job.status in ("concluded", "aborting", "null", "undefined"):
        how = f"failed: {job.error}" if job.error else "has ended, and waits to be dismissed"
        return Diagnosis(kind="concluded", reason=f"the job {how}")
    if job.io_status != "ok":
        reason = f"the job met an I/O error ({job.io_status}), and waits to be resumed"
        return Diagnosis(kind="paused", reason=reason)
    if job.paused or job.status in ("paused", "standby", "created", "waiting", "pending"):
        return Diagnosis(
            kind="paused", reason=f"somebody has to let the job go on: its status is {job.status}"
        )
    return None


def _copying(job: Job, later: Job, facts: Facts) -> Diagnosis | None:
    """Its build-up is over: a job with progress copies."""
    if not later.done or facts.window is None:
        return Diagnosis(kind="copying", reason=_BUILT) if later.done else None
    copied = later.done - job.done
    if job.speed and _is_held(copied, job.speed * facts.window.seconds):
        speed = format_size(job.speed)
        reason = f"{_BUILT}; its speed limit of {speed} a second holds the copying"
        return Diagnosis(kind="throttled", reason=reason)
    if not copied:
        return Diagnosis(kind="waiting", reason=f"{_BUILT}, and nothing was copied in the window")
    rate = copied / facts.window.seconds / 1e6
    return Diagnosis(kind="copying", reason=f"{_BUILT}; {rate:.1f} MB/s are copied")


_BUILT: Final = "the build-up is over"


def _is_held(copied: float, allowed: float) -> bool:
    """Whether a job copied about what its speed limit allows."""
    return allowed - SLACK_BYTES <= copied <= allowed + SLACK_BYTES


def _at_zero(facts: Facts) -> Diagnosis:
    """Running, with nothing copied."""
    window, view = facts.window, facts.view
    if window is None or view is None:
        return Diagnosis(
            kind="unknown", reason="the job runs and has copied nothing; its process is not known"
        )
    share, moves = window.scan_share, window.moved is not None
    if not moves and window.busy_share < BUSY:
        return _waiting(window)
    left = time_left(facts)
    scan = seen_scan(view, window)
    if scan is not None:
        return _scan(scan, facts, left)
    if not moves and (window.read_speed or 0) < READS:
        return Diagnosis(kind="unknown", reason=_BUSY_ELSEWHERE)
    scan = likely_scan(view) if share is None else None
    return _other_build_up(view, window, left) if scan is None else _scan(scan, facts, left)


_BUSY_ELSEWHERE: Final = (
    "the process works, yet no build-up is seen: no bitmap is scanned, and the image's file "
    "position stands"
)


def _waiting(window: Window) -> Diagnosis:
    asleep = {"D": "waits for a disk", "T": "is stopped"}.get(window.state or "", "sleeps")
    return Diagnosis(
        kind="waiting",
        reason=f"the process {asleep} ({window.cpu_share:.0%} of a processor): it is not the scan; "
        "look at the storage under source and target, and at the target's server",
    )


_OVER: Final[dict[Scan, str]] = {
    "access-scan": "an access bitmap",
    "done-scan": "a done bitmap, of what the guest has overwritten,",
    "both-scans": "an access bitmap and a done bitmap, of what the guest has overwritten,",
}
_EACH_QUESTION: Final[dict[Scan, str]] = {
    "access-scan": "scans the access bitmap to its end",
    "done-scan": "scans the done bitmap to the end of what the guest has overwritten there",
    "both-scans": "scans the access bitmap to its end, and then the done bitmap to the end of what "
    "the guest has overwritten there",
}


_WHICH: Final = "; whether it scans the done bitmap, too, was not seen"


def _scan(kind: Scan, facts: Facts, left: Left | None) -> Diagnosis:
    reason = f"the job builds its copy bitmap, and each question {_EACH_QUESTION[kind]}"
    window, view = facts.window, facts.view
    if window is not None and window.scan_share is None:
        reason += " (likely: the scan's share was not seen)"
    elif window is not None and window.done_share is None and view and 0 < view.done_part < 1:
        reason += "" if view.detected == "deny" else _WHICH
    return Diagnosis(kind=kind, reason=reason, left=left, remedies=tuple(remedies(facts, kind)))


def _other_build_up(view: View, window: Window, left: Left | None) -> Diagnosis:
    if view.detected == "deny":
        reason = "the job builds its copy bitmap; this QEMU has the deny bitmap, so it isn't a scan"
        if view.done_part and window.scan_share is None:
            reason = (
                "the job builds its copy bitmap; this QEMU has the deny bitmap; whether the scan "
                "of its done bitmap takes the time was not seen"
            )
        return Diagnosis(kind="deny", reason=reason, left=left)
    if view.filter is None:
        reason = (
            "the job builds its copy bitmap; there is no snapshot-access filter, so no access "
            "check: one question for every slice of the L2 table"
        )
        return Diagnosis(kind="no-filter", reason=reason, left=left)
    reason = "the job builds its copy bitmap, but the access bitmap's scan is not what takes time"
    reason += f": {window.cpu_share:.0%} of a processor is used"
    if view.detected == "unknown":
        reason = "the job builds its copy bitmap; the filter's bitmap tells no algorithm"
    return Diagnosis(kind="build-up", reason=reason, left=left)
