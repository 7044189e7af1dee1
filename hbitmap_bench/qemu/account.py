"""Where the seconds of a run went: its own work, waiting for a core, the disk, the hypervisor.

Two readings of the kernel's counters, one before a run and one after it, and their differences.
All of them are ordinary files of ``/proc`` and clocks; what a host does not have is None.
"""

from __future__ import annotations

import os
import re
import resource
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
_READ: Final = re.compile(r"^read_bytes: (\d+)$", re.MULTILINE)
_PEAK: Final = re.compile(r"^VmHWM:\s*(\d+) kB$", re.MULTILINE)
_STALLED: Final = re.compile(r"^some .*total=(\d+)$", re.MULTILINE)
_STEAL_FIELD: Final = 8  # of the line "cpu" in /proc/stat, whose name is field 0
_MAJOR_FAULTS_FIELD: Final = 9  # of /proc/PID/stat behind the name: field 12 in proc(5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a row, and where its seconds went; None where the host does not tell.

    ``wall_s`` is by the clock, ``cpu_s`` what all threads of the daemon worked, ``waited_s`` how
    long they stood ready without a core. ``read_bytes`` came from the disk. ``steal_s`` is what a
    hypervisor took from all cores of the host, and ``*_pressure_s`` how long some task of the host
    was stalled meanwhile. ``cached_before`` and ``cached_after`` are the shares of the image's
    metadata in the page cache. ``loop_words_s`` is how fast a fixed loop ran right before and right
    after. ``disturbed`` says why the seconds are not the run's own work, or is None.

    A run of a sampled row is a pass: its wall and CPU seconds are scaled to the whole build-up, the
    other numbers are the pass's own.
    """

    wall_s: float
    cpu_s: float | None = None
    waited_s: float | None = None
    read_bytes: int | None = None
    major_faults: int | None = None
    steal_s: float | None = None
    cpu_pressure_s: float | None = None
    io_pressure_s: float | None = None
    memory_pressure_s: float | None = None
    cached_before: float | None = None
    cached_after: float | None = None
    loop_words_s: tuple[float, float] | None = None
    disturbed: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Counters at one time: of a process or thread since it began, of the host since it booted.

    ``waited_s`` is how long each thread stood ready without a core; a thread that has ended is
    gone from it. ``steal_s`` is what a hypervisor took from all cores together. ``pressure_s`` is
    how long at least one task of the host was stalled, by resource.
    """

    cpu_s: float
    waited_s: Mapping[int, float] | None
    read_bytes: int | None
    major_faults: int | None
    steal_s: float | None
    pressure_s: Mapping[str, float]


def process_totals(pid: int) -> Totals:
    """Totals of a process of ours, all its threads together, ended ones included. 0.2 ms.

    Raises ``ProcessLookupError`` where it is gone.
    """
    return Totals(
        cpu_s=_process_cpu_s(pid),
        waited_s=_waited_s(Path(f"/proc/{pid}/task")),
        read_bytes=_number(_READ, Path(f"/proc/{pid}/io")),
        major_faults=_major_faults(pid),
        steal_s=_steal_s(),
        pressure_s=_pressure_s(),
    )


def thread_totals() -> Totals:
    """Totals of the calling thread. 0.1 ms."""
    own = Path("/proc/thread-self")
    return Totals(
        cpu_s=time.thread_time(),
        waited_s=_thread_waited_s(own),
        read_bytes=_number(_READ, own / "io"),
        major_faults=resource.getrusage(resource.RUSAGE_THREAD).ru_majflt,
        steal_s=_steal_s(),
        pressure_s=_pressure_s(),
    )


def spent(before: Totals, after: Totals, *, wall_s: float) -> Run:
    """The run between two readings that took ``wall_s`` by the clock."""
    stalled_s = {
        name: _less(after.pressure_s.get(name), before.pressure_s.get(name))
        for name in ("cpu", "io", "memory")
    }
    return Run(
        wall_s=wall_s,
        cpu_s=after.cpu_s - before.cpu_s,
        waited_s=_waited_between(before.waited_s, after.waited_s),
        read_bytes=_less(after.read_bytes, before.read_bytes),
        major_faults=_less(after.major_faults, before.major_faults),
        steal_s=_less(after.steal_s, before.steal_s),
        cpu_pressure_s=stalled_s["cpu"],
        io_pressure_s=stalled_s["io"],
        memory_pressure_s=stalled_s["memory"],
    )


N = TypeVar("N", int, float)


def peak_bytes(pid: int) -> int | None:
    """The largest resident set that a process has had; None where the system does not tell."""
    kib = _number(_PEAK, Path(f"/proc/{pid}/status"))
    return None if kib is None else kib * 1024


def _less(after: N | None, before: N | None) -> N | None:
    return None if after is None or before is None else after - before


def _process_cpu_s(pid: int) -> float:
    """CPU seconds of a whole process, to the nanosecond.

    Linux makes the number of another process's CPU clock from its pid: all bits of the pid
    inverted, then three bits that say "of a process, by the scheduler" (clock_getcpuclockid(3)).
    """
    try:
        return time.clock_gettime(~pid << 3 | 2)
    except OSError as error:
        raise ProcessLookupError(f"process {pid} is gone") from error


def _waited_s(tasks: Path) -> dict[int, float] | None:
    found: dict[int, float] = {}
    with suppress(OSError):
        for task in tasks.iterdir():
            for waited in (_thread_waited_s(task) or {}).values():
                found[int(task.name)] = waited
    return found or None


def _thread_waited_s(task: Path) -> dict[int, float] | None:
    text = _text(task / "schedstat").split()
    return {0: int(text[1]) / 1e9} if len(text) > 1 else None


def _waited_between(
    before: Mapping[int, float] | None, after: Mapping[int, float] | None
) -> float | None:
    """Threads that began in between count from 0."""
    if before is None or after is None:
        return None
    return sum(waited - before.get(thread, 0.0) for thread, waited in after.items())


def _major_faults(pid: int) -> int | None:
    fields = _text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return int(fields[_MAJOR_FAULTS_FIELD]) if len(fields) > _MAJOR_FAULTS_FIELD else None


def _steal_s() -> float | None:
    fields = _text(Path("/proc/stat")).partition("\n")[0].split()
    return int(fields[_STEAL_FIELD]) * _TICK_S if len(fields) > _STEAL_FIELD else None


def _pressure_s() -> dict[str, float]:
    paths = {name: Path(f"/proc/pressure/{name}") for name in ("cpu", "io", "memory")}
    totals = {name: _number(_STALLED, path) for name, path in paths.items()}
    return {name: total / 1e6 for name, total in totals.items() if total is not None}


def _number(pattern: re.Pattern[str], path: Path) -> int | None:
    match = pattern.search(_text(path))
    return int(match[1]) if match else None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
