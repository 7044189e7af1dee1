"""Why does a backup job stand still? A judgement of what was seen; nothing is asked here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

from hbitmap_bench.base.sizes import format_size
from hbitmap_bench.field.diagnose import remaining
from hbitmap_bench.field.diagnose.job import FILES, Job, Node, View
from hbitmap_bench.field.diagnose.remaining import Interval
from hbitmap_bench.field.diagnose.watch import Share, Window
from hbitmap_bench.qemu.geometry import answer_bytes
from hbitmap_bench.qemu.graph import COPY_CLUSTER_BYTES
from hbitmap_impl.backup import MAX_COPY_BYTES
from hbitmap_impl.image import default_l2_slice

Kind = Literal[
    "access-scan", "build-up", "deny", "no-filter", "copying", "throttled", "paused", "waiting",
    "concluded", "no-job", "unknown",
]  # fmt: skip

BUSY: Final = 0.3
"""From this share of its time on a process works, or would if it had a processor."""

SCANS: Final = 0.1
"""From this share of the window's time on the scan is what the time goes into."""

SLACK_BYTES: Final = 4 * MAX_COPY_BYTES
"""A job with a speed limit copies whole chunks, a few of them ahead of it."""

READS: Final = 64 * 1024
"""From so many bytes a second on L2 tables are read; the event loop alone reads far less."""

ASSUMED_RATES: Final = (1e9, 4e9)
"""Words a second, where the offset is not seen: 1.45 and 2.9 G were measured on two builds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that was seen. A part is None where it could not be; ``notes`` say why.

    ``age_s`` is how long the window has been closed: samples are read after it, and QEMU may take
    seconds to tell what its jobs do by then.
    """

    view: View | None
    later: tuple[Job, ...]
    window: Window | None
    notes: tuple[str, ...] = ()
    age_s: float = 0.0

    @property
    def job(self) -> Job | None:
        """The backup job when the window opened."""
        return self.view.job if self.view else None

    @property
    def job_later(self) -> Job | None:
        """The same job when the window closed; None if it is gone."""
        name = self.job.name if self.job else None
        return next((job for job in self.later if job.name == name), None)

    @property
    def image(self) -> Node | None:
        """The node whose clusters are asked about."""
        return self.view.node("qcow2", "raw", *FILES) if self.view else None


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
    if share is not None and share.middle >= SCANS:
        return Diagnosis(
            kind="access-scan",
            reason="likely: it scans a bitmap for a zero, as a build-up over an access bitmap "
            "does; without QMP neither job nor filters are known",
            remedies=tuple(remedies(facts)),
        )
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
    if view.detected == "access" and share is not None and share.middle >= SCANS:
        return _access_scan(facts, left)
    if not moves and (window.read_speed or 0) < READS:
        return Diagnosis(kind="unknown", reason=_BUSY_ELSEWHERE)
    if view.detected == "access" and share is None:
        return _access_scan(facts, left)
    return _other_build_up(view, window, left)


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


def _access_scan(facts: Facts, left: Left | None) -> Diagnosis:
    share = facts.window.scan_share if facts.window else None
    reason = "the job builds its copy bitmap, and each question scans the access bitmap to its end"
    if share is None:
        reason += " (likely: the scan's share was not seen)"
    return Diagnosis(kind="access-scan", reason=reason, left=left, remedies=tuple(remedies(facts)))


def _other_build_up(view: View, window: Window, left: Left | None) -> Diagnosis:
    if view.detected == "deny":
        reason = "the job builds its copy bitmap; this QEMU has the deny bitmap, so it isn't a scan"
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


# ---------------------------------------------------------------- how long


def time_left(facts: Facts) -> Left | None:
    """From the offset where it is seen, else from the bytes read; None without either."""
    if facts.window is None or facts.image is None or not facts.image.size:
        return None
    share = facts.window.scan_share
    if facts.window.moved is not None:
        left = _from_offset(facts.window, facts.image, _bit_bytes(facts), share)
    else:
        left = _from_reads(facts, facts.window, facts.image, share)
    return left and _aged(left, facts.age_s)


def _aged(left: Left, age_s: float) -> Left:
    """What is left of it so many seconds later."""
    low, high = (max(end - age_s, 0.0) for end in left.interval)
    seconds = None if left.seconds is None else max(left.seconds - age_s, 0.0)
    return replace(left, seconds=seconds, interval=(low, high))


def _from_offset(window: Window, image: Node, bit: int, share: Share | None) -> Left | None:
    moved = window.moved
    if moved is None or moved.end >= image.size:
        return None
    rest = remaining.Rest(image.size - moved.offset, image.size - moved.end)
    known = share or Share(0.0, 0.5, 1.0)
    rate = None
    if share is not None and share.middle >= SCANS:
        rate = remaining.scan_rate(rest.seen, moved, known.middle, answer(image, bit), bit)
    # It may wait for a processor no longer, as it did in the window.
    speeds = moved.interval[0], moved.interval[1] / window.served_share
    return Left(
        seconds=remaining.seconds_left(rest, moved.speed, known.middle),
        interval=remaining.interval_left(rest, speeds, (known.low, known.high)),
        offset=moved.offset,
        speed=moved.speed,
        words_s=rate,
    )


def _from_reads(facts: Facts, window: Window, image: Node, share: Share | None) -> Left | None:
    """The offset is not seen: a range, from how fast L2 tables are read."""
    if (window.read_speed or 0) < READS or window.read_speed is None or not image.cluster_bytes:
        return None
    speed = window.read_speed / image.l2_entry_bytes * image.cluster_bytes
    ends = [0.0, image.size / speed]
    if facts.view is not None and facts.view.detected == "access" and share is not None:
        ends = _by_scan_rates(speed, image, _bit_bytes(facts), share)
    return Left(
        seconds=None, interval=(min(ends), max(ends)), offset=None, speed=speed, words_s=None
    )


def _by_scan_rates(speed: float, image: Node, bit: int, share: Share) -> list[float]:
    """Seconds left from the time of a question, at the slowest and at the fastest scan rate."""
    reach, ends = answer(image, bit), []
    for rate, scan in zip(ASSUMED_RATES, (share.low, share.high), strict=True):
        left = remaining.left_by_scan_rate(reach / speed, scan, rate, reach, bit, image.size)
        ends.append(remaining.seconds_left(remaining.Rest(left, left), speed, scan))
    return ends


def answer(image: Node, bit: int) -> int:
    """How far one answer reaches, in bytes, with QEMU's default slice: QMP does not tell it."""
    if image.cluster_bytes is None:
        return bit
    entry = image.l2_entry_bytes
    l2_slice = default_l2_slice(image.size, image.cluster_bytes, entry)
    return answer_bytes(image.cluster_bytes, l2_slice, entry, bit)


def _bit_bytes(facts: Facts) -> int:
    found = facts.view.filter if facts.view else None
    return found.bit_bytes if found else COPY_CLUSTER_BYTES


# ---------------------------------------------------------------- next time


def remedies(facts: Facts) -> Iterator[str]:
    """What would have kept the job from it, the cheapest first."""
    image, bit = facts.image, _bit_bytes(facts)
    if image is not None and image.driver == "qcow2" and image.cluster_bytes:
        fewer = _fewer_queries(image)
        if fewer > 1:
            yield (
                f"l2-cache-entry-size={format_size(image.cluster_bytes)} on the qcow2 node "
                f"{image.name}: {fewer} times fewer questions (if it has the default now)"
            )
        if image.cluster_bytes < _LARGE_CLUSTER:
            yield (
                "larger image clusters (qemu-img convert -o cluster_size=2M): an answer reaches "
                "further"
            )
    yield (
        f"larger copy clusters than {format_size(bit)}: min-cluster-size on the copy-before-write "
        "filter (QEMU 9.2 and later), or a fleecing target with larger clusters: as many times "
        "fewer words in a scan"
    )
    yield "a QEMU whose copy-before-write filter keeps a deny bitmap: no scan at all"


_LARGE_CLUSTER: Final = 2 * 2**20


def _fewer_queries(image: Node) -> int:
    cluster = image.cluster_bytes or 1
    return cluster // default_l2_slice(image.size, cluster, image.l2_entry_bytes)
