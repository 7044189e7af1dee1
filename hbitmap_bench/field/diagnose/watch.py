"""A window of seconds over a running QEMU: processor, file position, functions. Nothing is changed.

QEMU asks the file system, by seeks, where an image with preallocated metadata has data. Each seek
leaves the file's position at the place that the build-up has just asked about, and ``/proc`` shows
that. Other images are not asked about so; of them, the bytes read tell how fast L2 tables are gone
through, if nothing else is read.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.field.diagnose import process
from hbitmap_bench.field.diagnose.remaining import Motion, motion
from hbitmap_bench.qemu.perf import Recording, Samples, recording

SCAN: Final = "hbitmap_next_zero"
ASKS_DONE: Final = "hbitmap_status"
"""Who calls the scan for the done bitmap; QEMU 7.2 to 11.1 ask no other bitmap for a status."""

FREQUENCY_HZ: Final = 199
"""Samples a second. In a virtual machine each was seen to cost 0.16 ms of the process's own time:
at a profile's rate a build-up is a sixth slower while it is watched, at this one, by that, 3%."""

_STEP_S: Final = 0.05


class Share(NamedTuple):
    """A share of time: its range, and what is likely."""

    low: float
    middle: float
    high: float


@dataclass(frozen=True, slots=True)
class Window:
    """What was seen in so many seconds; None where it can't be seen.

    ``cpu_share`` is of one processor. ``moved`` is the file position of the image, in host bytes.
    ``read_speed`` is in bytes/s; not of a virtual machine, whose guest reads too. ``samples`` are
    perf's, or ``no_samples`` says why there are none. ``waited_s`` is how long each thread stood
    ready without a processor. ``closed_s`` is when it closed, by ``perf_counter``.
    """

    seconds: float
    state: str | None
    cpu_share: float
    waited_s: Mapping[int, float]
    moved: Motion | None
    read_speed: float | None
    samples: Samples | None
    no_samples: str = ""
    closed_s: float = 0.0

    @property
    def busy_share(self) -> float:
        """Share of the time in which it ran, or one of its threads was ready to."""
        return self.cpu_share + max(self.waited_s.values(), default=0.0) / self.seconds

    @property
    def served_share(self) -> float:
        """Share of the time in which it could have run that it ran; 1 with processors to spare."""
        return self.cpu_share / self.busy_share if self.cpu_share else 1.0

    @property
    def scanning(self) -> tuple[int, int] | None:
        """The scanning thread's samples in ``hbitmap_next_zero``, and all of that thread's."""
        if self.samples is None:
            return None
        threads = [(_scans(counts), sum(counts.values())) for counts in self._threads.values()]
        return max(threads, default=(0, 0))

    @property
    def done_share(self) -> float | None:
        """Which share of the scan's samples is of the done bitmap; None where callers are unseen.

        The rest is of the access bitmap: its check calls the scan itself.
        """
        callers = self.samples.callers if self.samples else {}
        called = Counter[str]()
        for counts in callers.values():
            for (name, caller), n in counts.items():
                if name == SCAN:
                    called[caller] += n
        total = called.total()
        return called[ASKS_DONE] / total if total else None

    @property
    def scan_share(self) -> Share | None:
        """Share of the window's time in the scan.

        Its thread may have stood ready without a processor, in the scan or elsewhere: the ends
        count none or all of that to the scan, the middle as much as of the thread's own processor
        time, since who computes for long is put off, and who wakes up is not. The ends also hold
        the sampling error, two standard deviations of a count. With processors to spare all three
        meet.
        """
        if self.samples is None or self.scanning is None:
            return None
        n, rate = self.scanning[0], self.samples.frequency_hz
        error_s, scan_s = 2 * n**0.5 / rate, n / rate
        thread = max(self._threads, key=lambda tid: _scans(self._threads[tid]), default=0)
        waited_s = min(self.waited_s.get(thread, 0.0), self.seconds) if n else 0.0
        high = min((scan_s + error_s + waited_s) / self.seconds, 1.0)
        low = max((scan_s - error_s) / self.seconds, 0.0)
        thread_s = max(self.scanning[1] / rate, 1 / rate)
        return Share(low, min(scan_s * (1 + waited_s / thread_s) / self.seconds, high), high)

    @property
    def _threads(self) -> Mapping[int, Mapping[tuple[str, str], int]]:
        return self.samples.threads if self.samples else {}


def watch(
    pid: int, seconds: float, images: Iterable[Path], *, runs_guest: bool = False
) -> Window | None:
    """Watch a process; None if it is gone, or ends meanwhile. Costs ``seconds`` and 0.3 s.

    ``images`` are the files whose position tells where a build-up is, the likeliest first.
    """
    files = [number for image in images for number in process.readers(pid, image)]
    with ExitStack() as stack:
        recorder, missing = _perf(stack, pid)
        before, start_s = process.usage(pid), time.perf_counter()
        times_s, places = _positions(pid, files, start_s + seconds)
        after, closed_s = process.usage(pid), time.perf_counter()
        took_s = closed_s - start_s
        state = process.state(pid)
        samples, missing = _samples(recorder, missing)
    if before is None or after is None:
        return None
    return Window(
        seconds=took_s,
        state=state,
        cpu_share=(after.cpu_s - before.cpu_s) / took_s,
        waited_s={t: s - before.waited_s.get(t, 0.0) for t, s in after.waited_s.items()},
        moved=_moved(times_s, places),
        read_speed=None if runs_guest else _read_speed(before, after, took_s),
        samples=samples,
        no_samples=missing,
        closed_s=closed_s,
    )


def _read_speed(before: process.Usage, after: process.Usage, took_s: float) -> float | None:
    if before.read_bytes is None or after.read_bytes is None:
        return None
    return (after.read_bytes - before.read_bytes) / took_s


def _perf(stack: ExitStack, pid: int) -> tuple[Recording | None, str]:
    try:
        recorder = stack.enter_context(recording(pid, FREQUENCY_HZ, callers=True))
        recorder.enable()
    except UserError as error:  # whatever ails perf, the rest can be seen
        return None, str(error)
    return recorder, ""


def _samples(recorder: Recording | None, missing: str) -> tuple[Samples | None, str]:
    try:
        return (recorder.samples() if recorder is not None else None), missing
    except UserError as error:
        return None, str(error)


def _positions(
    pid: int, files: Sequence[int], end_s: float
) -> tuple[list[float], list[list[int | None]]]:
    """Times, and at each the position of every file."""
    times_s, places = [], []
    while (now_s := time.perf_counter()) < end_s:
        times_s.append(now_s)
        places.append([process.position(pid, number) for number in files])
        time.sleep(_STEP_S)
    return times_s, places


def _moved(times_s: Sequence[float], places: Sequence[Sequence[int | None]]) -> Motion | None:
    """The motion of the one file that moves, and only forwards."""
    for column in zip(*places, strict=True):
        known = [place for place in column if place is not None]
        if len(known) == len(times_s) and (found := motion(times_s, known)):
            return found
    return None


def _scans(counts: Mapping[tuple[str, str], int]) -> int:
    return sum(n for (name, _), n in counts.items() if name == SCAN)
